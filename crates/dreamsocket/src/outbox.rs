//! The queue of messages between the handles of a connection and its session: bounded in bytes, one short lock.
//!
//! Handles put messages in; only the session takes them out, encodes and writes them. It holds what is asked of the
//! session, too: pings, a close, the end of a drain. It must not know frames, sockets or handlers.
//!
//! **Room** is counted by a semaphore of bytes, which makes waiting fair and cancel-safe: a message's charge is taken
//! before it is queued and given back when the socket has accepted its last byte.
//!
//! **Waking**: the session sets `parked` under the lock when it is about to sleep and has found nothing to do. A handle
//! that adds something takes the flag back and wakes; so a handler that sends within its own session wakes nobody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use dreamsocket_protocol::{CloseCode, Text};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

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
    /// Free bytes of the bound. A send that waits holds some of them already.
    room: Semaphore,
    /// Bytes of the bound that messages take. Written under the lock, but for the session giving room back.
    buffered: AtomicUsize,
    limit: u32,
    /// Whether the session sleeps and wants to be woken. Set under the lock; taken back under the lock by whoever wakes,
    /// and without it by the session itself.
    parked: AtomicBool,
    /// Whether somebody found the outbox full since the socket last accepted a byte.
    refused: AtomicBool,
    /// Whether `wanted` holds anything. Written under the lock; read without it, so that looking costs nothing.
    is_wanted: AtomicBool,
    /// Told when sends begin to fail.
    closed: Notify,
}

#[derive(Debug)]
struct Inner {
    queue: VecDeque<Outgoing>,
    phase: Phase,
    /// Sends that wait for room; a close frame lets those pass that waited before it was queued.
    waiting: usize,
    wanted: Wanted,
    waker: Option<Waker>,
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
                queue: VecDeque::new(),
                phase: Phase::Open,
                waiting: 0,
                wanted: Wanted::default(),
                waker: None,
            }),
            room: Semaphore::new(limit as usize),
            buffered: AtomicUsize::new(0),
            limit,
            parked: AtomicBool::new(false),
            refused: AtomicBool::new(false),
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
        self.buffered.load(Ordering::Relaxed)
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

    pub(crate) async fn send(&self, message: Outgoing, timeout: Duration) -> Result<(), SendError> {
        match self.try_push(message) {
            Ok(()) => Ok(()),
            Err(Refused::Closed) => Err(SendError::SocketClosed),
            // Boxed, so that the futures of handlers stay small: waiting is the rare case.
            Err(Refused::Full(message)) => Box::pin(self.wait_and_push(message, timeout)).await,
        }
    }

    fn try_push(&self, message: Outgoing) -> Result<(), Refused> {
        let charge = self.charge(message.payload().len());
        let inner = self.lock();
        if inner.phase != Phase::Open {
            return Err(Refused::Closed);
        }
        // The semaphore gives nothing to newcomers while somebody waits, so this does not overtake.
        let Ok(permit) = self.room.try_acquire_many(charge) else {
            self.refused.store(true, Ordering::Relaxed);
            return Err(Refused::Full(message));
        };
        self.push(inner, message, permit);
        Ok(())
    }

    async fn wait_and_push(&self, message: Outgoing, timeout: Duration) -> Result<(), SendError> {
        let charge = self.charge(message.payload().len());
        let _waiting = Waiting::enter(self)?;
        let permit = match tokio::time::timeout(timeout, self.room.acquire_many(charge)).await {
            Err(_) => return Err(SendError::TIMEOUT),
            Ok(Err(_)) => return Err(SendError::SocketClosed),
            Ok(Ok(permit)) => permit,
        };
        let inner = self.lock();
        if inner.phase == Phase::Closed {
            return Err(SendError::SocketClosed);
        }
        self.push(inner, message, permit);
        Ok(())
    }

    fn push(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        message: Outgoing,
        permit: SemaphorePermit<'_>,
    ) {
        self.buffered
            .fetch_add(permit.num_permits(), Ordering::Relaxed);
        permit.forget();
        inner.queue.push_back(message);
        self.wake(inner);
    }

    /// Wakes the session if it sleeps, after the lock is released.
    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        if self.parked.load(Ordering::Relaxed) {
            self.parked.store(false, Ordering::Relaxed);
            let waker = inner.waker.take();
            drop(inner);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    pub(crate) fn ping(&self) -> Result<(), SendError> {
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return Err(SendError::SocketClosed);
        }
        if inner.wanted.pings >= CONTROL_RESERVE {
            return Err(SendError::Full);
        }
        inner.wanted.pings += 1;
        self.is_wanted.store(true, Ordering::Release);
        self.wake(inner);
        Ok(())
    }

    /// Asks for a close behind everything accepted so far. The first one stands.
    pub(crate) fn request_close(&self, request: CloseRequest) {
        let mut inner = self.lock();
        if inner.phase != Phase::Open || (request.at.is_some() && inner.wanted.close.is_some()) {
            return;
        }
        if request.at.is_none() {
            inner.phase = Phase::Closing;
        }
        inner.wanted.close = Some(request);
        self.is_wanted.store(true, Ordering::Release);
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
        inner.wanted.forwards.push(forwarding);
        self.is_wanted.store(true, Ordering::Release);
        self.wake(inner);
    }

    /// Has the session look at what it forwards.
    pub(crate) fn nudge(&self) {
        let inner = self.lock();
        self.is_wanted.store(true, Ordering::Release);
        self.wake(inner);
    }

    /// Takes room for a message that does not come through the queue, if there is any now.
    pub(crate) fn try_charge(&self, charge: u32) -> bool {
        match self.room.try_acquire_many(charge) {
            Ok(permit) => {
                self.buffered
                    .fetch_add(permit.num_permits(), Ordering::Relaxed);
                permit.forget();
                true
            }
            Err(_) => false,
        }
    }

    /// Hands other bounds to the session.
    pub(crate) fn set_bounds(&self, config: Arc<Config>) {
        let mut inner = self.lock();
        let replaced = inner.wanted.bounds.replace(config);
        self.is_wanted.store(true, Ordering::Release);
        self.wake(inner);
        drop(replaced);
    }

    /// Tells the session when running handlers are to be dropped.
    pub(crate) fn cut_at(&self, at: Instant) {
        let mut inner = self.lock();
        inner.wanted.cut_at = Some(at);
        self.is_wanted.store(true, Ordering::Release);
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

    /// The connection is over: all sends fail, and what waits is dropped.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        let was_open = inner.phase == Phase::Open;
        inner.phase = Phase::Closed;
        let queue = std::mem::take(&mut inner.queue);
        let forwards = std::mem::take(&mut inner.wanted.forwards);
        self.buffered.store(0, Ordering::Relaxed);
        drop(inner);
        // Payloads may be foreign memory whose release runs foreign code.
        drop((queue, forwards));
        self.room.close();
        if was_open {
            self.closed.notify_waiters();
        }
    }

    /// Takes what is asked of the session, and all queued messages if `taken` is empty.
    pub(crate) fn take(&self, taken: &mut VecDeque<Outgoing>) -> Option<Wanted> {
        let mut inner = self.lock();
        if taken.is_empty() {
            std::mem::swap(&mut inner.queue, taken);
        }
        self.is_wanted
            .swap(false, Ordering::Relaxed)
            .then(|| std::mem::take(&mut inner.wanted))
    }

    /// Whether anything is asked of the session.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// Gives the room of written messages back.
    pub(crate) fn release(&self, charge: usize) {
        self.refused.store(false, Ordering::Relaxed);
        self.buffered.fetch_sub(charge, Ordering::Relaxed);
        self.room.add_permits(charge);
    }

    /// Whether somebody waits for room, or found none since the socket last took a byte.
    pub(crate) fn is_full(&self) -> bool {
        self.refused.load(Ordering::Relaxed) || self.lock().waiting > 0
    }

    /// The socket took bytes, though not yet a whole batch.
    pub(crate) fn made_progress(&self) {
        self.refused.store(false, Ordering::Relaxed);
    }

    /// Whether everything that has to go before a close frame has been taken.
    pub(crate) fn is_drained(&self) -> bool {
        let inner = self.lock();
        inner.queue.is_empty() && inner.waiting == 0
    }

    /// The session runs: nobody needs to wake it.
    pub(crate) fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// The session is about to sleep. False if there is something to do.
    pub(crate) fn park(&self, context: &Context<'_>, takes_messages: bool) -> bool {
        let mut inner = self.lock();
        if self.is_wanted() || (takes_messages && !inner.queue.is_empty()) {
            return false;
        }
        match &inner.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => inner.waker = Some(context.waker().clone()),
        }
        self.parked.store(true, Ordering::Relaxed);
        true
    }
}

enum Refused {
    Closed,
    Full(Outgoing),
}

/// A send that waits for room, counted so that a close frame does not overtake it.
struct Waiting<'a>(&'a Outbox);

impl<'a> Waiting<'a> {
    fn enter(outbox: &'a Outbox) -> Result<Self, SendError> {
        let mut inner = outbox.lock();
        if inner.phase != Phase::Open {
            return Err(SendError::SocketClosed);
        }
        inner.waiting += 1;
        Ok(Self(outbox))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.waiting -= 1;
        // A close frame may wait for this.
        if inner.phase == Phase::Closing {
            self.0.wake(inner);
        }
    }
}
