//! One connection from its upgrade to `on_close`: the only place that holds both a socket and the engine.
//!
//! A session is one task. [`run`] calls the handlers, one at a time, and decides what their outcome means; [`wire::Wire`]
//! does everything on the transport's side and works on while a handler waits.

mod alarm;
mod bounds;
mod buffers;
mod clock;
mod heartbeat;
mod next;
mod wheel;
mod wire;
mod writer;

use std::any::Any;
use std::borrow::Borrow;
use std::convert::identity;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use dreamsocket_protocol::{CloseCode, Role, Text};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use self::next::{Next, Turn, poll_next};
use self::wire::{Cut, Wire};
use crate::action::{Action, Step, continue_connection};
use crate::config::Config;
use crate::connection::Connection;
use crate::connection::span::note_open;
use crate::error::{BoxError, Verdict};
use crate::handler::{
    Begun, Handlers, OnClose, OnInit, OnMessage, Unusual, finish_init, finish_message,
};
use crate::message::{Cause, Closed, Message};
use crate::meter::Measured;
use crate::selector::Selector;

/// Whether anything of the application was dropped before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All handlers came to their end.
    Whole,
    /// A handler or `on_close` was dropped because its time was up.
    Cut,
}

/// A connection that is open, before its handlers run.
pub(crate) struct Session<T> {
    wire: Wire<T>,
    connection: Connection,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    /// `early` are the bytes that came with the upgrade request. They are copied, so that their memory can go.
    pub(crate) fn open(io: T, early: &[u8], role: Role, connection: Connection) -> Self {
        let wire = Wire::new(io, early, role, Arc::clone(&connection.shared));
        Self { wire, connection }
    }
}

/// Runs a connection to its end, `on_close` included. Also tells when the end was seen or a close began, which may be long
/// before. A client that reconnects lends both arguments to each of its connections.
///
/// Written as a block that uses its arguments where they lie: an `async fn` holds what it was given twice, and the size of
/// this future is most of what an idle connection costs.
#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` has room for its arguments twice"
)]
pub(crate) fn run<T, D, S, C, FI, FM, FC, M>(
    mut session: Session<T>,
    dependencies: impl Borrow<D> + Send,
    handlers: impl Borrow<Handlers<FI, FM, FC>> + Send,
) -> impl Future<Output = (Outcome, Closed, Instant)> + Send
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
    D: Send + Sync,
    S: Send,
    C: Send + 'static,
    FI: for<'a> OnInit<'a, D, S, C>,
    FM: for<'a> OnMessage<'a, D, S, C>,
    FC: for<'a> OnClose<'a, D, S, M>,
{
    async move {
        note_open(&session.connection);
        // What runs once is boxed, so that it takes no room in this future. The state may be large: it is looked at where it
        // lies.
        let mut looping = Looping::begin::<T, FI>(
            {
                let (dependencies, handlers) = (dependencies.borrow(), handlers.borrow());
                let Session { wire, connection } = &mut session;
                let start = || Box::pin(handlers.on_init.call(connection, dependencies));
                let limit = |config: &Config| Some(config.init_timeout);
                drive(wire, Measured::Init, limit, start, finish_init).await
            },
            &mut session.wire,
        );
        if looping.state.is_some() {
            // Whether the last handler returned normally, so that it is told of the end (L5).
            let normally = loop {
                let turned = Turning {
                    wire: &mut session.wire,
                    looping: Some(&mut looping),
                    connection: &session.connection,
                    dependencies: dependencies.borrow(),
                    on_message: &handlers.borrow().on_message,
                    handler: Handler::Over,
                };
                let driven = match turned.await {
                    Turned::On => continue,
                    Turned::Driven(driven) => driven,
                    Turned::Closed => break true,
                    Turned::Panicked(payload) => {
                        panicked(&mut session.wire, "a selector", payload);
                        break false;
                    }
                };
                if !looping.heed::<T, FM>(&mut session.wire, driven) {
                    break false;
                }
            };
            if let Err(payload) = guard(|| looping.selector = Selector::default()) {
                log_panic("a selector", payload);
            }
            finish(&mut session.wire).await;

            if normally
                && !session.wire.is_cut()
                && let Some(state) = &mut looping.state
            {
                let Session { wire, connection } = &mut session;
                let message = Message::ConnectionClosed(wire.closed());
                let (dependencies, handlers) = (dependencies.borrow(), handlers.borrow());
                let start = || {
                    handlers
                        .on_message
                        .call(state, message, connection, dependencies)
                };
                let limit = |config: &Config| config.handler_timeout;
                let driven = drive(wire, Measured::Message, limit, start, finish_message).await;
                looping.outcome = end_message::<T, FM, C>(&mut session.wire, driven);
            }
        }
        if looping.state.is_none() {
            finish(&mut session.wire).await;
        } else {
            // L2: `on_close` has `close_time` for itself, whatever time is up elsewhere.
            let wire = &mut session.wire;
            wire.shield();
            let (dependencies, handlers) = (dependencies.borrow(), handlers.borrow());
            let (closed, state) = (wire.closed(), &mut looping.state);
            let start = || {
                let state = state.take();
                Box::pin(async move {
                    if let Some(state) = state {
                        handlers.on_close.call(state, closed, dependencies).await;
                    }
                })
            };
            let limit = |config: &Config| Some(config.close_time);
            let driven = drive(wire, Measured::Close, limit, start, identity).await;
            if end_close::<FC>(driven) == Outcome::Cut {
                looping.outcome = Outcome::Cut;
            }
        }
        let ended = session.wire.end(looping.outcome);
        let_go("the drop of the dependencies", dependencies);
        ended
    }
}

/// What came of the `on_message` that was told of the end.
fn end_message<T, FM, C>(wire: &mut Wire<T>, driven: Driven<Unusual<C>>) -> Outcome
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = driven.outcome();
    match driven {
        Driven::Done(unusual) => match unusual.map(|unusual| *unusual) {
            Some(Err(error)) => fail(wire, "on_message", error),
            // It is ignored (L5); the selector in it is the application's.
            ignored => {
                if let Err(payload) = guard(|| drop(ignored)) {
                    log_panic("a selector", payload);
                }
            }
        },
        Driven::Panicked(payload) => log_panic(std::any::type_name::<FM>(), payload),
        Driven::Cut(_) => tracing::warn!("on_message was dropped after the end: its time was up"),
    }
    outcome
}

/// What came of `on_close`.
fn end_close<FC>(driven: Driven<()>) -> Outcome {
    let outcome = driven.outcome();
    match driven {
        Driven::Done(()) => {}
        Driven::Panicked(payload) => log_panic(std::any::type_name::<FC>(), payload),
        Driven::Cut(_) => tracing::warn!(
            handler = std::any::type_name::<FC>(),
            "on_close was dropped: its time was up"
        ),
    }
    outcome
}

/// What the loop keeps from one message to the next.
struct Looping<S, C> {
    /// `None` if `on_init` returned none, and once `on_close` has it.
    state: Option<S>,
    selector: Selector<C>,
    turn: Turn,
    outcome: Outcome,
}

impl<S, C> Looping<S, C> {
    /// Does what `on_message` returned. False if it was the last.
    #[cold]
    fn heed<T, FM>(&mut self, wire: &mut Wire<T>, driven: Driven<Unusual<C>>) -> bool
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        match driven {
            Driven::Done(unusual) => match unusual.map_or(Ok(continue_connection()), |it| *it) {
                Ok(Action(Step::Stop { code, reason })) => wire.close(Cause::Stopped, code, reason),
                Ok(Action(step)) => match guard(|| apply(step, &mut self.selector)) {
                    Ok(()) => return true,
                    Err(payload) => panicked(wire, "a selector", payload),
                },
                Err(error) => fail(wire, "on_message", error),
            },
            Driven::Panicked(payload) => panicked(wire, std::any::type_name::<FM>(), payload),
            Driven::Cut(cut) => {
                cut_short(wire, std::any::type_name::<FM>(), cut);
                self.outcome = Outcome::Cut;
            }
        }
        false
    }

    /// After `on_init`.
    fn begin<T, FI>(begun: Driven<Begun<S, C>>, wire: &mut Wire<T>) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let outcome = begun.outcome();
        let mut started = None;
        match begun {
            Driven::Done(Ok(state)) => started = Some(state),
            Driven::Done(Err(error)) => fail(wire, "on_init", error),
            Driven::Panicked(payload) => panicked(wire, std::any::type_name::<FI>(), payload),
            Driven::Cut(cut) => cut_short(wire, std::any::type_name::<FI>(), cut),
        }
        let (state, selector) = started.unzip();
        Self {
            state,
            selector: selector.flatten().unwrap_or_default(),
            turn: Turn::default(),
            outcome,
        }
    }
}

/// How a handler's future ended.
enum Driven<R> {
    Done(R),
    Panicked(Box<dyn Any + Send>),
    Cut(Cut),
}

impl<R> Driven<R> {
    const fn outcome(&self) -> Outcome {
        match self {
            Self::Cut(_) => Outcome::Cut,
            Self::Done(_) | Self::Panicked(_) => Outcome::Whole,
        }
    }
}

pin_project! {
    /// Runs one handler to its end, and the wire beside it whenever the handler waits (L3).
    struct Drive<'a, T, F, L, E> {
        wire: &'a mut Wire<T>,
        #[pin]
        handler: Handler<F>,
        // How long it may take.
        limit: L,
        // Turns what it returned into what the session needs, before anything else is awaited.
        finish: E,
    }
}

pin_project! {
    #[project = HandlerProjected]
    enum Handler<F> {
        Running { #[pin] future: F },
        // It panicked before there was a future.
        Panicked { payload: Option<Box<dyn Any + Send>> },
        Over,
    }
}

#[inline(always)]
fn drive<'a, T, F, L, E, R>(
    wire: &'a mut Wire<T>,
    measured: Measured,
    limit: L,
    start: impl FnOnce() -> F,
    finish: E,
) -> Drive<'a, T, F, L, E>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Future,
    L: Fn(&Config) -> Option<Duration>,
    E: Fn(F::Output) -> R,
{
    wire.handler_begins(measured);
    let handler = match guard(start) {
        Ok(future) => Handler::Running { future },
        Err(payload) => Handler::Panicked {
            payload: Some(payload),
        },
    };
    Drive {
        wire,
        handler,
        limit,
        finish,
    }
}

impl<T, F, L, E, R> Future for Drive<'_, T, F, L, E>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Future,
    L: Fn(&Config) -> Option<Duration>,
    E: Fn(F::Output) -> R,
{
    type Output = Driven<R>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Driven<R>> {
        let mut this = self.project();
        this.wire.awake();
        // What the future still holds when it is done may panic when it is dropped, too.
        let polled = guard(|| match this.handler.as_mut().project() {
            HandlerProjected::Running { future } => {
                let output = ready!(future.poll(context));
                this.handler.set(Handler::Over);
                Poll::Ready(Driven::Done((this.finish)(output)))
            }
            HandlerProjected::Panicked { payload } => {
                payload.take().map_or(Poll::Pending, |payload| {
                    Poll::Ready(Driven::Panicked(payload))
                })
            }
            HandlerProjected::Over => Poll::Pending,
        });
        let driven = match polled {
            Ok(Poll::Ready(driven)) => {
                this.wire.handler_ended();
                return Poll::Ready(driven);
            }
            Err(payload) => Driven::Panicked(payload),
            Ok(Poll::Pending) => {
                let limit = (this.limit)(this.wire.config());
                Driven::Cut(ready!(this.wire.poll_beside(context, limit)))
            }
        };
        this.wire.handler_ended();
        Poll::Ready(match guard(|| this.handler.set(Handler::Over)) {
            Ok(()) => driven,
            Err(payload) => Driven::Panicked(payload),
        })
    }
}

pin_project! {
    /// One turn of the loop: waits for a message, and runs `on_message` to its end.
    ///
    /// One future for both, and written by hand, so that a message goes from the engine into the handler's future without
    /// being moved from one to the other.
    struct Turning<'a, T, D, S, C, FM, F> {
        wire: &'a mut Wire<T>,
        // `None` once the handler has the state.
        looping: Option<&'a mut Looping<S, C>>,
        connection: &'a Connection,
        dependencies: &'a D,
        on_message: &'a FM,
        #[pin]
        handler: Handler<F>,
    }
}

/// How a turn ended.
enum Turned<C> {
    /// The loop goes on.
    On,
    Driven(Driven<Unusual<C>>),
    Closed,
    /// A source of the selector did.
    Panicked(Box<dyn Any + Send>),
}

impl<'a, T, D, S, C, FM> Future for Turning<'a, T, D, S, C, FM, FM::Future>
where
    T: AsyncRead + AsyncWrite + Unpin,
    FM: OnMessage<'a, D, S, C>,
{
    type Output = Turned<C>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Turned<C>> {
        let mut this = self.project();
        this.wire.awake();
        let mut next = None;
        if let Some(Looping { selector, turn, .. }) = this.looping {
            match ready!(poll_next(this.wire, selector, turn, context)) {
                Next::Message(message) => {
                    this.wire.handler_begins(Measured::Message);
                    next = Some(message);
                }
                Next::Closed => return Poll::Ready(Turned::Closed),
                Next::Panicked(payload) => return Poll::Ready(Turned::Panicked(payload)),
            }
        }
        // What the future still holds when it is done may panic when it is dropped, too.
        let polled = guard(|| {
            if let (Some(message), Some(looping)) = (next, this.looping.take())
                && let Some(state) = &mut looping.state
            {
                let future =
                    this.on_message
                        .call(state, message, this.connection, this.dependencies);
                this.handler.set(Handler::Running { future });
            }
            let HandlerProjected::Running { future } = this.handler.as_mut().project() else {
                return Poll::Pending;
            };
            let output = ready!(future.poll(context));
            this.handler.set(Handler::Over);
            Poll::Ready(finish_message(output))
        });
        let driven = match polled {
            Ok(Poll::Ready(output)) => {
                this.wire.handler_ended();
                return Poll::Ready(match output {
                    None => Turned::On,
                    unusual => Turned::Driven(Driven::Done(unusual)),
                });
            }
            Err(payload) => Driven::Panicked(payload),
            Ok(Poll::Pending) => {
                let limit = this.wire.config().handler_timeout;
                Driven::Cut(ready!(this.wire.poll_beside(context, limit)))
            }
        };
        this.wire.handler_ended();
        Poll::Ready(Turned::Driven(
            match guard(|| this.handler.set(Handler::Over)) {
                Ok(()) => driven,
                Err(payload) => Driven::Panicked(payload),
            },
        ))
    }
}

/// Waits until the closing handshake is done or its time is up.
fn finish<T: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<T>) -> impl Future<Output = ()> {
    poll_fn(|context| {
        wire.awake();
        loop {
            wire.poll_work(context);
            if wire.is_finished() {
                return Poll::Ready(());
            }
            if wire.park(context) {
                return Poll::Pending;
            }
        }
    })
}

/// Runs code of the application's, which may panic. What it leaves half-done is the application's, too, and ends with the
/// connection.
pub(crate) fn guard<R>(code: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(code))
}

/// Carries out what concerns the selector. What is replaced or removed is dropped.
fn apply<C>(step: Step<C>, selector: &mut Selector<C>) {
    match step {
        Step::Replace(new) => *selector = new,
        Step::Add(more) => selector.add(more),
        Step::Remove(key) => selector.remove(&key),
        Step::Continue | Step::Stop { .. } => {}
    }
}

/// A handler returned an error: close as it says, and log it once.
fn fail<T: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<T>, handler: &str, error: BoxError) {
    // The error's own `source`, `Display` and drop are code of the application's.
    let is_ending = wire.is_ending();
    let judged = guard(move || {
        let judged = judge(is_ending, handler, &error);
        drop(error);
        judged
    });
    match judged {
        Ok((cause, code, reason)) => wire.close(cause, code, reason),
        Err(payload) => panicked(wire, handler, payload),
    }
}

/// What an error means for the close.
fn judge(is_ending: bool, handler: &str, error: &BoxError) -> (Cause, CloseCode, Text) {
    let logged: &dyn std::error::Error = &**error;
    if is_ending {
        tracing::debug!(
            error = logged,
            "{handler} failed while the connection was closing"
        );
        return (Cause::Failed, CloseCode::INTERNAL, Text::default());
    }
    match Verdict::of(logged) {
        Verdict::Close(code, reason) => {
            tracing::debug!(error = logged, "{handler} closes the connection");
            (Cause::Failed, code, reason)
        }
        Verdict::Lagged => {
            tracing::debug!(error = logged, "{handler} failed: the peer does not read");
            (Cause::Lagged, CloseCode::TRY_AGAIN_LATER, Text::default())
        }
        Verdict::Failed => {
            tracing::error!(error = logged, "{handler} failed");
            (Cause::Failed, CloseCode::INTERNAL, Text::default())
        }
    }
}

fn panicked<T: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<T>,
    place: &str,
    payload: Box<dyn Any + Send>,
) {
    log_panic(place, payload);
    wire.close(Cause::Panicked, CloseCode::INTERNAL, Text::default());
}

/// Drops what is the application's. A panic of it is logged, and ends nothing of ours.
pub(crate) fn let_go<R>(place: &str, value: R) {
    if let Err(payload) = guard(|| drop(value)) {
        log_panic(place, payload);
    }
}

/// L8: place and type at `error`; the payload, which may hold anything, only at `debug`.
pub(crate) fn log_panic(place: &str, payload: Box<dyn Any + Send>) {
    let (kind, text) = if let Some(text) = payload.downcast_ref::<&'static str>() {
        ("&str", *text)
    } else if let Some(text) = payload.downcast_ref::<String>() {
        ("String", text.as_str())
    } else {
        ("another type", "")
    };
    tracing::error!(handler = place, payload = kind, "a handler panicked");
    tracing::debug!(handler = place, payload = text, "what it panicked with");
    // Its drop may panic, too; then that one's payload is not worth another try.
    if let Err(again) = guard(|| drop(payload)) {
        std::mem::forget(again);
    }
}

fn cut_short<T: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<T>, handler: &str, cut: Cut) {
    match cut {
        Cut::TimedOut => {
            tracing::error!(handler, "a handler took longer than it may and was dropped");
            wire.close(Cause::TimedOut, CloseCode::INTERNAL, Text::default());
        }
        Cut::Drained => {
            tracing::warn!(handler, "a handler was dropped: the drain time is up");
            wire.close(Cause::Drained, CloseCode::GOING_AWAY, Text::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;

    use tokio::io::ReadBuf;

    use super::*;
    use crate::connection::Facts;
    use crate::connection::counts::ConnectionCounts;
    use crate::{Broadcaster, Closed, Forward, OnMissed, Prepared, Topic};

    /// A peer that breaks the protocol and then sends without end, over a transport that is ready without end.
    struct Flood {
        reads: u32,
    }

    impl AsyncRead for Flood {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            assert!(self.reads < 10_000, "nobody else gets a turn");
            let room = buffer.remaining();
            buffer.put_slice(&vec![0; room]);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Flood {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn on_init(_: &Connection, _: &()) -> ((), Option<Selector>) {
        ((), None)
    }

    async fn on_message((): &mut (), _: Message, _: &Connection, _: &()) -> Action {
        continue_connection()
    }

    async fn on_close((): (), closed: Closed, _: &()) {
        assert_eq!(closed.code, CloseCode::PROTOCOL);
    }

    /// A peer that sends two messages and a close, over a transport that takes a byte, fails once and takes everything then.
    #[derive(Default)]
    struct Fragile {
        is_read: bool,
        writes: u32,
        written_after: Arc<std::sync::Mutex<Vec<u8>>>,
    }

    impl AsyncRead for Fragile {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if std::mem::replace(&mut self.is_read, true) {
                return Poll::Pending;
            }
            // Masked with a key of zeros: "1", "2", and a close with 1000.
            buffer.put_slice(b"\x81\x81\0\0\0\x001\x81\x81\0\0\0\x002\x88\x82\0\0\0\0\x03\xe8");
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Fragile {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes += 1;
            Poll::Ready(match self.writes {
                1 => Ok(1),
                2 => Err(io::ErrorKind::BrokenPipe.into()),
                _ => {
                    self.written_after.lock().unwrap().extend_from_slice(bytes);
                    Ok(bytes.len())
                }
            })
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn echo_and_wait(
        (): &mut (),
        message: Message,
        connection: &Connection,
        _: &(),
    ) -> Result<Action, BoxError> {
        if let Message::Text(text) = message {
            connection.send_text(text).await?;
            tokio::task::yield_now().await;
        }
        Ok(continue_connection())
    }

    async fn on_close_of_the_peers((): (), closed: Closed, _: &()) {
        assert_eq!((closed.cause, closed.clean), (Cause::Peer, false));
    }

    #[tokio::test(start_paused = true)]
    async fn l6_nothing_follows_half_a_frame() {
        let connection = Connection::new(Facts::of(Arc::default()));
        let fragile = Fragile::default();
        let written_after = Arc::clone(&fragile.written_after);
        let session = Session::open(fragile, &[], Role::Server, connection);
        let handlers = Handlers::new(on_init, echo_and_wait, on_close_of_the_peers);
        let begin = tokio::time::Instant::now();
        let (outcome, ..) = run(session, (), handlers).await;
        assert_eq!(outcome, Outcome::Whole);
        assert!(begin.elapsed().is_zero(), "nothing is to be waited for");
        assert_eq!(*written_after.lock().unwrap(), *b"");
    }

    /// A peer that sends a message, over a transport during whose first flush another task sends one.
    struct Busy {
        connection: Connection,
        is_read: bool,
        has_sent: bool,
        written: Arc<std::sync::Mutex<Vec<u8>>>,
    }

    impl AsyncRead for Busy {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if std::mem::replace(&mut self.is_read, true) {
                return Poll::Pending;
            }
            buffer.put_slice(b"\x81\x81\0\0\0\x001");
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Busy {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.written.lock().unwrap().extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if !std::mem::replace(&mut self.has_sent, true) {
                self.connection.try_send_text("2").unwrap();
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn on_any_close((): (), _: Closed, _: &()) {}

    async fn echo(
        (): &mut (),
        message: Message,
        connection: &Connection,
        _: &(),
    ) -> Result<Action, BoxError> {
        if let Message::Text(text) = message {
            connection.send_text(text).await?;
        }
        Ok(continue_connection())
    }

    /// Sends twice what it gets, and one message by way of a topic when it begins.
    async fn subscribe(
        connection: &Connection,
        topic: &Topic<Prepared>,
    ) -> (Forward, Option<Selector>) {
        let forward = connection.forward(topic.subscribe(), |_| OnMissed::End);
        topic.publish(Prepared::text("four")).unwrap();
        (forward, None)
    }

    async fn echo_twice(
        _: &mut Forward,
        message: Message,
        connection: &Connection,
        _: &Topic<Prepared>,
    ) -> Result<Action, BoxError> {
        if let Message::Text(text) = message {
            connection.send_text(text.clone()).await?;
            connection.send_text(text).await?;
        }
        Ok(continue_connection())
    }

    async fn unsubscribe(_: Forward, _: &Topic<Prepared>) {}

    #[tokio::test(start_paused = true)]
    async fn messages_and_bytes_are_counted_each_way_and_control_frames_are_not() {
        use tokio::io::AsyncWriteExt;

        let connection = Connection::new(Facts::of(Arc::default()));
        // Masked with a key of zeros: "12" in two fragments, a ping, "345".
        let sends = b"\x01\x81\0\0\0\x001\x80\x81\0\0\0\x002\x89\x80\0\0\0\0\x81\x83\0\0\0\x00345";
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(sends).await.unwrap();
        let session = Session::open(near, &[], Role::Server, connection.clone());
        let topic = Broadcaster::new().topic("news");
        let handlers = Handlers::new(subscribe, echo_twice, unsubscribe);
        let session = tokio::spawn(run(session, topic, handlers));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let counts = connection.shared.counters.read();
        session.abort();
        let expected = ConnectionCounts {
            messages_in: 2,
            bytes_in: 5,
            messages_out: 5,
            bytes_out: 14,
        };
        assert_eq!(counts, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn s2_what_is_sent_when_the_session_has_looked_and_does_not_sleep_yet_goes_out() {
        let connection = Connection::new(Facts::of(Arc::default()));
        let written = Arc::<std::sync::Mutex<Vec<u8>>>::default();
        let busy = Busy {
            connection: connection.clone(),
            is_read: false,
            has_sent: false,
            written: Arc::clone(&written),
        };
        let session = Session::open(busy, &[], Role::Server, connection);
        let handlers = Handlers::new(on_init, echo, on_any_close);
        let session = tokio::spawn(run(session, (), handlers));
        // Long before anything else would wake it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*written.lock().unwrap(), *b"\x81\x011\x81\x012");
        session.abort();
    }

    /// A peer that is silent until the last moment: what it sends then comes when the session has just looked.
    struct Late {
        last: tokio::time::Instant,
        looks: u32,
        sends: &'static [u8],
    }

    impl AsyncRead for Late {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.looks += u32::from(tokio::time::Instant::now() >= self.last);
            if self.looks != 2 {
                return Poll::Pending;
            }
            buffer.put_slice(self.sends);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Late {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l9_a_peer_is_dead_only_if_nothing_of_it_can_be_read() {
        // A pong is a sign of life for two more pings; an end is no silence.
        for (sends, lasts, reason) in [(&b"\x8a\x80\0\0\0\0"[..], 180, "timed out"), (b"", 90, "")]
        {
            let begin = tokio::time::Instant::now();
            let late = Late {
                last: begin + Duration::from_secs(90),
                looks: 0,
                sends,
            };
            let connection = Connection::new(Facts::of(Arc::default()));
            let session = Session::open(late, &[], Role::Server, connection);
            let handlers = Handlers::new(on_init, on_message, on_any_close);
            let (_, closed, _) = run(session, (), handlers).await;
            assert_eq!(closed.cause, Cause::Lost);
            assert_eq!(closed.reason, reason);
            assert_eq!(begin.elapsed(), Duration::from_secs(lasts));
        }
    }

    /// A peer that sends two messages, and whose end comes when the session has just looked.
    struct Ending {
        is_read: bool,
        late: Late,
    }

    impl AsyncRead for Ending {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.is_read {
                return Pin::new(&mut self.late).poll_read(context, buffer);
            }
            self.is_read = true;
            // Masked with a key of zeros: "1" and "2".
            buffer.put_slice(b"\x81\x81\0\0\0\x001\x81\x81\0\0\0\x002");
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Ending {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn count(_: &Connection, _: &()) -> (u32, Option<Selector>) {
        (0, None)
    }

    /// Stays with each message until the connection is closed.
    async fn stay(messages: &mut u32, message: Message, connection: &Connection, _: &()) -> Action {
        if let Message::Text(_) = message {
            *messages += 1;
            connection.closed().await;
        }
        continue_connection()
    }

    async fn on_close_after_two(messages: u32, _: Closed, _: &()) {
        assert_eq!(messages, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn l3_an_end_that_comes_at_the_last_moment_is_known_before_messages_are_handled() {
        let begin = tokio::time::Instant::now();
        let late = Late {
            last: begin + Duration::from_secs(90),
            looks: 0,
            sends: b"",
        };
        let config = Config::default().with_handler_timeout(None);
        let connection = Connection::new(Facts::of(Arc::new(config)));
        let ending = Ending {
            is_read: false,
            late,
        };
        let session = Session::open(ending, &[], Role::Server, connection);
        let handlers = Handlers::new(count, stay, on_close_after_two);
        let session = run(session, (), handlers);
        let (_, closed, _) = tokio::time::timeout(Duration::from_secs(3_600), session)
            .await
            .unwrap();
        assert_eq!((closed.cause, &*closed.reason), (Cause::Lost, ""));
        assert_eq!(begin.elapsed(), Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn l4_a_flood_behind_a_violation_starves_nobody_and_ends_with_close_time() {
        let config = Arc::new(Config::default());
        let connection = Connection::new(Facts::of(Arc::clone(&config)));
        let flood = Flood { reads: 0 };
        let session = Session::open(flood, &[], Role::Server, connection);
        let session = tokio::spawn(run(
            session,
            (),
            Handlers::new(on_init, on_message, on_close),
        ));
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(session.await.unwrap().0, Outcome::Whole);
    }
}
