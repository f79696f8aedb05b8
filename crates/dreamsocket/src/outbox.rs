//! The queue of messages between the handles of a connection and its session: bounded in bytes, one short lock.
//!
//! Handles put messages in; only the session takes them out, encodes and writes them. It holds what is asked of the
//! session, too: pings, a close, the end of a drain. It must not know frames, sockets or handlers.
//!
//! **Room** is a count of bytes: a message's charge is taken before it is queued and given back when the socket has accepted
//! its last byte. Who finds none waits in line (`outbox/sending.rs`).
//!
//! **Waking**: the session sets `parked` under the lock when it is about to sleep and has found nothing to do. A handle
//! that adds something takes the flag back and wakes; so a handler that sends within its own session wakes nobody.

mod line;
mod queue;
mod sending;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use dreamsocket_protocol::{CloseCode, Text};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::line::{Line, Place, Ticket};
pub(crate) use self::queue::Queue;
pub use self::sending::Sending;

use crate::config::{CONTROL_RESERVE, Config, ENTRY_CHARGE};
use crate::error::SendError;
use crate::forward::Forwarding;
use crate::message::Cause;
use crate::prepared::Prepared;

/// A message on its way out, by reference.
#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    Text(Text),
    Binary(Bytes),
    Prepared(Prepared),
}

impl Outgoing {
    pub(crate) fn payload(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
            Self::Prepared(prepared) => prepared.payload(),
        }
    }
}

/// A close that somebody other than the session asked for.
#[derive(Debug, Clone)]
pub(crate) struct CloseRequest {
    pub(crate) code: CloseCode,
    pub(crate) reason: Text,
    pub(crate) cause: Cause,
    /// When it is to be carried out: a drain may be spread over time.
    pub(crate) at: Option<Instant>,
}

/// What the session finds when it looks.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) close: Option<CloseRequest>,
    pub(crate) pings: u32,
    pub(crate) cut_at: Option<Instant>,
    pub(crate) forwards: Vec<Forwarding>,
    pub(crate) bounds: Option<Arc<Config>>,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    /// Bytes of the bound that are taken: by messages, and by sends that waited and were granted theirs. Never more than
    /// `limit`. Changed under the lock; read without it.
    taken: AtomicUsize,
    limit: u32,
    /// Whether the session sleeps and wants to be woken. Set under the lock; taken back under the lock by whoever wakes,
    /// and without it by the session itself.
    parked: AtomicBool,
    /// Whether somebody found the outbox full since the socket last accepted a byte.
    refused: AtomicBool,
    /// Whether there is a line of sends that wait. Written under the lock.
    is_awaited: AtomicBool,
    /// Whether `wanted` holds anything. Written under the lock; read without it, so that looking costs nothing.
    is_wanted: AtomicBool,
    /// Told when sends begin to fail.
    closed: Notify,
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    phase: Phase,
    /// Sends that wait for room; a close frame lets those pass that waited before it was queued. Boxed, since there are
    /// seldom any.
    line: Option<Box<Line>>,
    wanted: Option<Box<Wanted>>,
    waker: Option<Waker>,
}

impl Inner {
    /// Whether somebody waits for room, and comes first. Who has been granted theirs does not.
    fn is_awaited(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.is_waiting())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A close is queued: what is in the queue and who waits already go before it.
    Closing,
    /// Nothing is written any more.
    Closed,
}

impl Outbox {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            inner: Mutex::new(Inner {
                queue: Queue::default(),
                phase: Phase::Open,
                line: None,
                wanted: None,
                waker: None,
            }),
            taken: AtomicUsize::new(0),
            limit,
            parked: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            is_awaited: AtomicBool::new(false),
            is_wanted: AtomicBool::new(false),
            closed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here runs foreign code under the lock, so a poisoned one is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a message of that size is charged. One larger than the whole bound takes all of it: it is admitted alone.
    pub(crate) fn charge(&self, payload: usize) -> u32 {
        u32::try_from(payload.saturating_add(ENTRY_CHARGE))
            .unwrap_or(u32::MAX)
            .min(self.limit)
    }

    /// Bytes accepted and not yet taken by the socket.
    pub(crate) fn buffered(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many bytes may be accepted and not yet taken.
    pub(crate) const fn limit(&self) -> usize {
        self.limit as usize
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().phase != Phase::Open
    }

    /// Resolves when sends begin to fail.
    pub(crate) async fn closed(&self) {
        let notified = self.closed.notified();
        let mut notified = std::pin::pin!(notified);
        notified.as_mut().enable();
        if !self.is_closed() {
            notified.await;
        }
    }

    pub(crate) fn try_send(&self, message: Outgoing) -> Result<(), SendError> {
        self.try_push(message).map_err(|refused| match refused {
            Refused::Closed => SendError::SocketClosed,
            Refused::Full(_) => SendError::Full,
        })
    }

    /// Queues a message if there is room and nobody waits for it already.
    #[inline]
    fn try_push(&self, message: Outgoing) -> Result<(), Refused> {
        let charge = self.charge(message.payload().len());
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return Err(Refused::Closed);
        }
        if inner.is_awaited() || !self.try_take(&inner, charge) {
            self.refused.store(true, Ordering::Relaxed);
            return Err(Refused::Full(message));
        }
        inner.queue.push(message);
        self.wake(inner);
        Ok(())
    }

    /// Takes room, if there is enough.
    #[inline]
    fn try_take(&self, _: &Inner, charge: u32) -> bool {
        let taken = self.taken.load(Ordering::Relaxed) + charge as usize;
        let is_room = taken <= self.limit as usize;
        if is_room {
            self.taken.store(taken, Ordering::Relaxed);
        }
        is_room
    }

    fn give_back(&self, _: &Inner, charge: usize) {
        let taken = self.taken.load(Ordering::Relaxed);
        self.taken
            .store(taken.saturating_sub(charge), Ordering::Relaxed);
    }

    /// Stands in line for room.
    fn stand_in_line(&self, charge: u32, waker: &Waker) -> Result<Ticket, SendError> {
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return Err(SendError::SocketClosed);
        }
        let ticket = inner.line.get_or_insert_default().join(charge, waker);
        self.is_awaited.store(true, Ordering::Relaxed);
        self.grant(inner);
        Ok(ticket)
    }

    /// Queues the message of a send that waited, once it is its turn and there is room. The place in line is given up when
    /// this is ready.
    fn poll_in_line(
        &self,
        ticket: Ticket,
        message: &mut Option<Outgoing>,
        context: &Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let mut inner = self.lock();
        if inner.phase == Phase::Closed {
            return Poll::Ready(Err(SendError::SocketClosed));
        }
        match inner
            .line
            .as_mut()
            .and_then(|line| line.look(ticket, context.waker()))
        {
            Some(Place::Waiting) => Poll::Pending,
            Some(Place::Granted) => {
                if let Some(message) = message.take() {
                    inner.queue.push(message);
                }
                self.leave(&mut inner, ticket);
                self.wake(inner);
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(SendError::SocketClosed)),
        }
    }

    /// A send that waited was dropped or has waited too long.
    fn give_up(&self, ticket: Ticket) {
        let mut inner = self.lock();
        if let Some(granted) = self.leave(&mut inner, ticket) {
            self.give_back(&inner, granted as usize);
        }
        let wakers = self.granted(&mut inner);
        // A close frame may wait for this, or a forwarded message for the room; the session may have looked already and be
        // about to sleep.
        self.wanted(&mut inner);
        self.wake(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes a place out of the line; what it was granted.
    fn leave(&self, inner: &mut Inner, ticket: Ticket) -> Option<u32> {
        let line = inner.line.as_mut()?;
        let granted = line.leave(ticket);
        if line.is_empty() {
            inner.line = None;
            self.is_awaited.store(false, Ordering::Relaxed);
        }
        granted
    }

    /// Gives the room that there is to those who wait, in order.
    fn grant(&self, mut inner: MutexGuard<'_, Inner>) {
        let wakers = self.granted(&mut inner);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn granted(&self, inner: &mut Inner) -> Vec<Waker> {
        let Some(mut line) = inner.line.take() else {
            return Vec::new();
        };
        let wakers = line.grant(|charge| self.try_take(inner, charge));
        inner.line = Some(line);
        wakers
    }

    /// Wakes the session if it sleeps, after the lock is released.
    #[inline]
    fn wake(&self, inner: MutexGuard<'_, Inner>) {
        if self.parked.load(Ordering::Relaxed) {
            self.wake_parked(inner);
        }
    }

    #[cold]
    fn wake_parked(&self, mut inner: MutexGuard<'_, Inner>) {
        self.parked.store(false, Ordering::Relaxed);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn ping(&self) -> Result<(), SendError> {
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return Err(SendError::SocketClosed);
        }
        let wanted = self.wanted(&mut inner);
        if wanted.pings >= CONTROL_RESERVE {
            return Err(SendError::Full);
        }
        wanted.pings += 1;
        self.wake(inner);
        Ok(())
    }

    /// Asks for a close behind everything accepted so far. The first one stands.
    pub(crate) fn request_close(&self, request: CloseRequest) {
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return;
        }
        let wanted = self.wanted(&mut inner);
        if request.at.is_some() && wanted.close.is_some() {
            return;
        }
        let is_now = request.at.is_none();
        wanted.close = Some(request);
        if is_now {
            inner.phase = Phase::Closing;
        }
        self.wake(inner);
        self.closed_if_closing();
    }

    fn closed_if_closing(&self) {
        if self.is_closed() {
            self.closed.notify_waiters();
        }
    }

    /// Hands a channel to the session. On a connection that is closing it is dropped.
    pub(crate) fn forward(&self, forwarding: Forwarding) {
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            drop(inner);
            // Unsubscribing takes locks of the broadcaster's.
            return drop(forwarding);
        }
        self.wanted(&mut inner).forwards.push(forwarding);
        self.wake(inner);
    }

    /// Has the session look at what it forwards.
    pub(crate) fn nudge(&self) {
        let mut inner = self.lock();
        self.wanted(&mut inner);
        self.wake(inner);
    }

    /// Takes as much room as there is, up to so much, for messages that do not come through the queue; none if somebody
    /// waits for it.
    pub(crate) fn lease(&self, wanted: usize) -> usize {
        let inner = self.lock();
        if inner.is_awaited() {
            return 0;
        }
        let taken = self.taken.load(Ordering::Relaxed);
        let leased = wanted.min((self.limit as usize).saturating_sub(taken));
        self.taken.store(taken + leased, Ordering::Relaxed);
        leased
    }

    /// Hands other bounds to the session.
    pub(crate) fn set_bounds(&self, config: Arc<Config>) {
        let mut inner = self.lock();
        let replaced = self.wanted(&mut inner).bounds.replace(config);
        self.wake(inner);
        drop(replaced);
    }

    /// Tells the session when running handlers are to be dropped.
    pub(crate) fn cut_at(&self, at: Instant) {
        let mut inner = self.lock();
        self.wanted(&mut inner).cut_at = Some(at);
        self.wake(inner);
    }

    /// The session queues a close: new sends fail from here on, those that wait are let in before it.
    pub(crate) fn begin_close(&self) {
        let mut inner = self.lock();
        if inner.phase == Phase::Open {
            inner.phase = Phase::Closing;
            drop(inner);
            self.closed.notify_waiters();
        }
    }

    /// The connection is over: all sends fail. What waits is left to the caller to drop, since payloads may be foreign memory
    /// whose release runs foreign code.
    #[must_use = "foreign code may run where it is dropped"]
    pub(crate) fn end(&self) -> Leftovers {
        let mut inner = self.lock();
        let was_open = inner.phase == Phase::Open;
        inner.phase = Phase::Closed;
        let queue = std::mem::take(&mut inner.queue);
        let forwards = inner
            .wanted
            .as_mut()
            .map(|wanted| std::mem::take(&mut wanted.forwards));
        let line = inner.line.take();
        self.is_awaited.store(false, Ordering::Relaxed);
        self.taken.store(0, Ordering::Relaxed);
        drop(inner);
        line.into_iter().for_each(|line| line.wake_all());
        if was_open {
            self.closed.notify_waiters();
        }
        Leftovers(queue, forwards)
    }

    /// Takes what is asked of the session, and all queued messages if `taken` is empty. So much room is given back with it.
    pub(crate) fn take(&self, taken: &mut Queue, freed: usize) -> Option<Box<Wanted>> {
        let mut inner = self.lock();
        if taken.is_empty() {
            std::mem::swap(&mut inner.queue, taken);
        }
        let mut wanted = inner.wanted.take();
        if let Some(wanted) = &mut wanted
            && !inner.queue.is_empty()
        {
            // They were sent before, and are taken later.
            for forwarding in &mut wanted.forwards {
                forwarding.set_behind(true);
            }
        }
        if wanted.is_some() {
            self.is_wanted.store(false, Ordering::Relaxed);
        }
        self.release_locked(inner, freed);
        wanted
    }

    /// Where requests to the session are put, which will look.
    fn wanted<'a>(&self, inner: &'a mut Inner) -> &'a mut Wanted {
        self.is_wanted.store(true, Ordering::Release);
        inner.wanted.get_or_insert_default()
    }

    /// Whether anything is asked of the session.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// Gives the room of written messages back, and to those who wait for it.
    #[inline]
    fn release_locked(&self, inner: MutexGuard<'_, Inner>, freed: usize) {
        if freed > 0 {
            self.give_back(&inner, freed);
            if inner.line.is_some() {
                self.grant(inner);
            }
        }
    }

    /// Gives room back.
    pub(crate) fn release(&self, freed: usize) {
        if freed > 0 {
            self.release_locked(self.lock(), freed);
        }
    }

    /// Whether somebody waits for room, or found none since the socket last took a byte.
    pub(crate) fn is_full(&self) -> bool {
        self.refused.load(Ordering::Relaxed) || self.is_awaited.load(Ordering::Relaxed)
    }

    /// The socket took bytes.
    pub(crate) fn made_progress(&self) {
        self.refused.store(false, Ordering::Relaxed);
    }

    /// Whether everything that has to go before a close frame has been taken.
    pub(crate) fn is_drained(&self) -> bool {
        let inner = self.lock();
        inner.queue.is_empty() && inner.line.is_none()
    }

    /// The session runs: nobody needs to wake it.
    pub(crate) fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// The session is about to sleep. False if there is something to do. So much room is given back with it; what is empty
    /// keeps no memory for its queue, which goes to the thread's pool.
    pub(crate) fn park(&self, context: &Context<'_>, takes_messages: bool, freed: usize) -> bool {
        let mut inner = self.lock();
        if self.is_wanted() || (takes_messages && !inner.queue.is_empty()) {
            self.release_locked(inner, freed);
            return false;
        }
        if inner.queue.is_empty() && inner.queue.capacity() > 0 {
            std::mem::take(&mut inner.queue).give_back();
        }
        match &inner.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => inner.waker = Some(context.waker().clone()),
        }
        self.parked.store(true, Ordering::Relaxed);
        self.release_locked(inner, freed);
        true
    }
}

/// What was in an outbox when it ended.
pub(crate) struct Leftovers(
    #[expect(dead_code, reason = "it is only dropped")] Queue,
    #[expect(dead_code, reason = "it is only dropped")] Option<Vec<Forwarding>>,
);

/// Why a message was not queued at once.
enum Refused {
    Closed,
    Full(Outgoing),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outbox that one message fills, which is taken and not written, and a send that waits.
    fn full() -> (Outbox, Ticket) {
        let outbox = Outbox::new(100);
        let message = Outgoing::Binary(Bytes::from_static(&[0; 36]));
        outbox.try_send(message).unwrap();
        assert!(outbox.take(&mut Queue::default(), 0).is_none());
        let ticket = outbox.stand_in_line(70, Waker::noop()).unwrap();
        (outbox, ticket)
    }

    /// The session looks once more before it sleeps.
    fn expect_noticed(outbox: &Outbox) {
        let context = Context::from_waker(Waker::noop());
        assert!(!outbox.park(&context, true, 0));
        assert!(outbox.take(&mut Queue::default(), 0).is_some());
        assert!(outbox.is_drained());
        assert!(outbox.park(&context, true, 0));
    }

    #[test]
    fn an_outbox_that_sleeps_empty_keeps_no_memory_for_its_queue() {
        let outbox = Outbox::new(1_000);
        let mut taken = Queue::default();
        for _ in 0..2 {
            let message = Outgoing::Binary(Bytes::from_static(b"twice"));
            outbox.try_send(message).unwrap();
            outbox.take(&mut taken, 0);
            taken.clear();
        }
        assert!(outbox.lock().queue.capacity() > 0);
        assert!(outbox.park(&Context::from_waker(Waker::noop()), true, 0));
        assert_eq!(outbox.lock().queue.capacity(), 0);
    }

    #[test]
    fn the_session_is_woken_where_it_was_polled_last() {
        #[derive(Default)]
        struct Woken(AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let outbox = Outbox::new(100);
        let tasks = [Arc::<Woken>::default(), Arc::default()];
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            assert!(outbox.park(&Context::from_waker(&waker), true, 0));
        }
        outbox.ping().unwrap();
        let woken = tasks.map(|task| task.0.load(Ordering::Relaxed));
        assert_eq!(woken, [false, true]);
    }

    #[test]
    fn a_send_that_is_given_up_lets_the_close_behind_it_go() {
        let (outbox, ticket) = full();
        outbox.begin_close();
        assert!(!outbox.is_drained());
        outbox.give_up(ticket);
        expect_noticed(&outbox);
    }

    #[test]
    fn a_send_that_is_given_up_leaves_its_room_to_what_is_forwarded() {
        let (outbox, ticket) = full();
        outbox.release(100);
        assert_eq!(outbox.lease(100), 30);
        outbox.release(30);
        outbox.give_up(ticket);
        expect_noticed(&outbox);
        assert_eq!(outbox.lease(100), 100);
    }
}
