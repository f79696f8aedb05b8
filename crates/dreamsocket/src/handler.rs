//! The three handlers as traits, so that plain `async fn`s which borrow can be passed as they are.
//!
//! One trait a handler, each implemented for every fitting function and for nothing else. Nobody implements or names
//! them; they are public because `upgrade_websocket` names them in its bounds.

use std::future::Future;

use crate::action::{Action, IntoAction, IntoInit, Step};
use crate::connection::Connection;
use crate::error::BoxError;
use crate::message::{Closed, Message};
use crate::selector::Selector;

/// What an `async fn` gives when it is called: any future. A name of its own, since the compiler's words for what is none do
/// not say `async`.
///
/// Whether it is `Send` is asked beside it: behind this the compiler would not say what keeps it from that.
#[diagnostic::on_unimplemented(
    message = "a handler has to be an `async fn`, and this one returns `{Self}` at once",
    label = "not an `async fn`",
    note = "write `async fn` instead of `fn`"
)]
#[doc(hidden)]
pub trait HandlerFuture: Future {}

#[diagnostic::do_not_recommend]
impl<F: Future> HandlerFuture for F {}

/// `async fn(&Connection, &D) -> (S, Option<Selector<C>>)`, or a `Result` of it.
#[doc(hidden)]
pub trait OnInit<'a, D, S, C>: Send + Sync + 'static {
    type Future: Future<Output = Self::Output> + Send + 'a;
    type Output: IntoInit<S, C>;
    fn call(&self, connection: &'a Connection, dependencies: &'a D) -> Self::Future;
}

impl<'a, F, Fut, D, S, C> OnInit<'a, D, S, C> for F
where
    F: Fn(&'a Connection, &'a D) -> Fut + Send + Sync + 'static,
    Fut: HandlerFuture + Send + 'a,
    Fut::Output: IntoInit<S, C>,
    D: 'a,
{
    type Future = Fut;
    type Output = Fut::Output;

    fn call(&self, connection: &'a Connection, dependencies: &'a D) -> Fut {
        self(connection, dependencies)
    }
}

/// `async fn(&mut S, Message<C>, &Connection, &D) -> Action<C>`, or a `Result` of it.
#[doc(hidden)]
pub trait OnMessage<'a, D, S, C>: Send + Sync + 'static {
    type Future: Future<Output = Self::Output> + Send + 'a;
    type Output: IntoAction<C>;
    fn call(
        &self,
        state: &'a mut S,
        message: Message<C>,
        connection: &'a Connection,
        dependencies: &'a D,
    ) -> Self::Future;
}

impl<'a, F, Fut, D, S, C> OnMessage<'a, D, S, C> for F
where
    F: Fn(&'a mut S, Message<C>, &'a Connection, &'a D) -> Fut + Send + Sync + 'static,
    Fut: HandlerFuture + Send + 'a,
    Fut::Output: IntoAction<C>,
    S: 'a,
    D: 'a,
{
    type Future = Fut;
    type Output = Fut::Output;

    fn call(
        &self,
        state: &'a mut S,
        message: Message<C>,
        connection: &'a Connection,
        dependencies: &'a D,
    ) -> Fut {
        self(state, message, connection, dependencies)
    }
}

/// `async fn(S, &D)` or `async fn(S, Closed, &D)`; `Marker` tells which.
///
/// With two shapes rustc can't show the one that it expected, so this says it.
#[diagnostic::on_unimplemented(
    message = "this is not an `on_close` for state `{S}` and dependencies `{D}`",
    label = "not an `on_close`",
    note = "expected `async fn({S}, &{D})` or `async fn({S}, Closed, &{D})`, which returns nothing",
    note = "the handlers are passed in the order `on_init, on_message, on_close`"
)]
#[doc(hidden)]
pub trait OnClose<'a, D, S, Marker>: Send + Sync + 'static {
    type Future: Future<Output = ()> + Send + 'a;
    fn call(&self, state: S, closed: Closed, dependencies: &'a D) -> Self::Future;
}

/// Marks an `on_close` without the [`Closed`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Plain(());

/// Marks an `on_close` with the [`Closed`].
#[doc(hidden)]
#[derive(Debug)]
pub struct WithClosed(());

impl<'a, F, Fut, D, S> OnClose<'a, D, S, Plain> for F
where
    F: Fn(S, &'a D) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'a,
    D: 'a,
{
    type Future = Fut;

    fn call(&self, state: S, _: Closed, dependencies: &'a D) -> Fut {
        self(state, dependencies)
    }
}

impl<'a, F, Fut, D, S> OnClose<'a, D, S, WithClosed> for F
where
    F: Fn(S, Closed, &'a D) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'a,
    D: 'a,
{
    type Future = Fut;

    fn call(&self, state: S, closed: Closed, dependencies: &'a D) -> Fut {
        self(state, closed, dependencies)
    }
}

/// The three handlers of a connection. All are functions without a size, so this has none either.
#[derive(Debug)]
pub(crate) struct Handlers<FI, FM, FC> {
    pub(crate) on_init: FI,
    pub(crate) on_message: FM,
    pub(crate) on_close: FC,
}

impl<FI, FM, FC> Handlers<FI, FM, FC> {
    /// Refuses, while the program is built, handlers that capture.
    ///
    /// A capture makes a closure larger than nothing. The assertion is evaluated when the function is
    /// instantiated, hence by `cargo build` and `cargo test`; `cargo check` does not get that far.
    pub(crate) const fn new(on_init: FI, on_message: FM, on_close: FC) -> Self {
        const {
            assert!(
                size_of::<FI>() == 0,
                "`on_init` captures something, or is a function pointer: pass an `async fn` by its name, and put what it \
                 needs into the dependencies, which it is handed as its last argument"
            );
            assert!(
                size_of::<FM>() == 0,
                "`on_message` captures something, or is a function pointer: pass an `async fn` by its name, and put what \
                 it needs into the dependencies, which it is handed as its last argument"
            );
            assert!(
                size_of::<FC>() == 0,
                "`on_close` captures something, or is a function pointer: pass an `async fn` by its name, and put what it \
                 needs into the dependencies, which it is handed as its last argument"
            );
        }
        Self {
            on_init,
            on_message,
            on_close,
        }
    }
}

/// What `on_init` returned: the state, and perhaps a selector.
pub(crate) type Begun<S, C> = Result<(S, Option<Selector<C>>), BoxError>;

/// Turns what `on_init` returned into its parts.
pub(crate) fn finish_init<S, C>(output: impl IntoInit<S, C>) -> Begun<S, C> {
    output.into_init()
}

/// What `on_message` returned that is more than "go on". Boxed, so that the loop moves one word a message.
pub(crate) type Unusual<C> = Option<Box<Result<Action<C>, BoxError>>>;

/// Turns what `on_message` returned into an action; `None` is to continue.
#[inline(always)]
pub(crate) fn finish_message<C>(output: impl IntoAction<C>) -> Unusual<C> {
    let result = output.into_action();
    if matches!(result, Ok(Action(Step::Continue))) {
        // There is nothing in it to drop, and looking for that takes as long as the rest.
        std::mem::forget(result);
        return None;
    }
    Some(Box::new(result))
}
