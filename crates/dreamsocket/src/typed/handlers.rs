//! Typed handlers as plain ones: what the loop runs decodes a message and hands it on.
//!
//! The adapters have no size, as the handlers have none. Only what `on_init` returns is boxed on the way, once a connection: it
//! borrows the typed connection, which moves beside the state after it.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use dreamsocket_protocol::CloseCode;
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;

use crate::action::{Action, IntoAction, IntoInit, continue_connection};
use crate::error::BoxError;
use crate::handler;
use crate::message::{self, Closed};
use crate::selector::Selector;
use crate::typed::connection::Connection;
use crate::typed::format::{Format, Payload};
use crate::typed::message::{Message, Undecodable};
use crate::undecodable::OnUndecodable;

/// `async fn(&Connection<Out>, &D) -> (S, Option<Selector<C>>)`, or a `Result` of it.
#[doc(hidden)]
#[expect(unnameable_types, reason = "nobody implements or names it")]
pub trait OnInit<'a, D, S, Out, F, C>: Copy + Send + Sync + 'static {
    type Future: Future<Output = Self::Output> + Send + 'a;
    type Output: IntoInit<S, C>;
    fn call(&self, connection: &'a Connection<Out, F>, dependencies: &'a D) -> Self::Future;
}

impl<'a, H, Fut, D, S, Out, F, C> OnInit<'a, D, S, Out, F, C> for H
where
    H: Fn(&'a Connection<Out, F>, &'a D) -> Fut + Copy + Send + Sync + 'static,
    Fut: handler::HandlerFuture + Send + 'a,
    Fut::Output: IntoInit<S, C>,
    D: 'a,
    Out: 'a,
    F: 'a,
{
    type Future = Fut;
    type Output = Fut::Output;

    fn call(&self, connection: &'a Connection<Out, F>, dependencies: &'a D) -> Fut {
        self(connection, dependencies)
    }
}

/// `async fn(&mut S, Message<In, C>, &Connection<Out>, &D) -> Action<C>`, or a `Result` of it.
#[doc(hidden)]
#[expect(unnameable_types, reason = "nobody implements or names it")]
pub trait OnMessage<'a, D, S, In, Out, F, C>: Send + Sync + 'static {
    type Future: Future<Output = Self::Output> + Send + 'a;
    type Output: IntoAction<C>;
    fn call(
        &self,
        state: &'a mut S,
        message: Message<In, C>,
        connection: &'a Connection<Out, F>,
        dependencies: &'a D,
    ) -> Self::Future;
}

impl<'a, H, Fut, D, S, In, Out, F, C> OnMessage<'a, D, S, In, Out, F, C> for H
where
    H: Fn(&'a mut S, Message<In, C>, &'a Connection<Out, F>, &'a D) -> Fut + Send + Sync + 'static,
    Fut: handler::HandlerFuture + Send + 'a,
    Fut::Output: IntoAction<C>,
    S: 'a,
    D: 'a,
    Out: 'a,
    F: 'a,
{
    type Future = Fut;
    type Output = Fut::Output;

    fn call(
        &self,
        state: &'a mut S,
        message: Message<In, C>,
        connection: &'a Connection<Out, F>,
        dependencies: &'a D,
    ) -> Fut {
        self(state, message, connection, dependencies)
    }
}

/// The state as the loop has it.
#[derive(Debug)]
pub(crate) struct State<S, Out, F> {
    own: S,
    connection: Connection<Out, F>,
}

/// An `on_init` for the loop.
#[derive(Debug)]
pub(crate) struct Init<H, Out, F> {
    handler: H,
    types: PhantomData<fn(Out, F)>,
}

/// An `on_message` for the loop.
#[derive(Debug)]
pub(crate) struct Handle<H, In, Out, F> {
    handler: H,
    types: PhantomData<fn(In, Out, F)>,
}

/// An `on_close` for the loop.
#[derive(Debug)]
pub(crate) struct Closing<H, Out, F> {
    handler: H,
    types: PhantomData<fn(Out, F)>,
}

#[expect(clippy::type_complexity, reason = "three adapters, each named once")]
pub(crate) const fn adapt<FI, FM, FC, In, Out, F>(
    on_init: FI,
    on_message: FM,
    on_close: FC,
) -> (
    Init<FI, Out, F>,
    Handle<FM, In, Out, F>,
    Closing<FC, Out, F>,
) {
    (
        Init {
            handler: on_init,
            types: PhantomData,
        },
        Handle {
            handler: on_message,
            types: PhantomData,
        },
        Closing {
            handler: on_close,
            types: PhantomData,
        },
    )
}

type Begun<S, C> = Result<(S, Option<Selector<C>>), BoxError>;

impl<'a, H, D, S, Out, F, C> handler::OnInit<'a, D, State<S, Out, F>, C> for Init<H, Out, F>
where
    H: for<'b> OnInit<'b, D, S, Out, F, C>,
    D: Sync + 'a,
    S: Send + 'a,
    Out: 'static,
    F: Format,
    C: Send + 'a,
{
    type Future = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;
    type Output = Begun<State<S, Out, F>, C>;

    fn call(&self, connection: &'a crate::Connection, dependencies: &'a D) -> Self::Future {
        let handler = self.handler;
        let connection = Connection::new(connection.clone());
        Box::pin(async move {
            let output = handler.call(&connection, dependencies).await;
            let (own, selector) = output.into_init()?;
            Ok((State { own, connection }, selector))
        })
    }
}

impl<'a, H, D, S, In, Out, F, C> handler::OnMessage<'a, D, State<S, Out, F>, C>
    for Handle<H, In, Out, F>
where
    H: OnMessage<'a, D, S, In, Out, F, C>,
    D: 'a,
    S: 'a,
    In: DeserializeOwned + 'static,
    Out: 'static,
    F: Format,
    C: Send + 'static,
{
    type Future = Handling<H::Future, C>;
    type Output = Result<Action<C>, BoxError>;

    fn call(
        &self,
        state: &'a mut State<S, Out, F>,
        message: message::Message<C>,
        connection: &'a crate::Connection,
        dependencies: &'a D,
    ) -> Self::Future {
        let message = match message {
            message::Message::Text(text) => decode::<In, F, C>(Payload::Text(text), connection),
            message::Message::Binary(bytes) => {
                decode::<In, F, C>(Payload::Binary(bytes), connection)
            }
            message::Message::Custom(custom) => Ok(Message::Custom(custom)),
            message::Message::Missed(missed) => Ok(Message::Missed(missed)),
            message::Message::ConnectionClosed(closed) => Ok(Message::ConnectionClosed(closed)),
        };
        match message {
            Ok(message) => Handling::Running {
                handler: self.handler.call(
                    &mut state.own,
                    message,
                    &state.connection,
                    dependencies,
                ),
            },
            Err(action) => Handling::Decided {
                action: Some(action),
            },
        }
    }
}

/// The message, or what is done without the handler.
fn decode<In: DeserializeOwned, F: Format, C>(
    payload: Payload,
    connection: &crate::Connection,
) -> Result<Message<In, C>, Action<C>> {
    let error = match F::decode(&payload) {
        Ok(message) => return Ok(Message::Received(message)),
        Err(error) => error,
    };
    let reason = F::explain(&error);
    tracing::debug!(
        reason,
        bytes = payload.as_bytes().len(),
        "a message does not decode"
    );
    match connection.config().undecodable {
        OnUndecodable::Tell => Ok(Message::Undecodable(Undecodable::new(
            reason, error, payload,
        ))),
        OnUndecodable::Close => {
            connection.reject(CloseCode::INVALID_PAYLOAD, reason);
            Err(continue_connection())
        }
        OnUndecodable::Ignore => Err(continue_connection()),
    }
}

pin_project! {
    /// A handler that runs, or what was decided without it.
    #[project = HandlingParts]
    #[derive(Debug)]
    pub(crate) enum Handling<Fut, C> {
        Running { #[pin] handler: Fut },
        Decided { action: Option<Action<C>> },
    }
}

impl<Fut, C> Future for Handling<Fut, C>
where
    Fut: Future,
    Fut::Output: IntoAction<C>,
{
    type Output = Result<Action<C>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            HandlingParts::Running { handler } => {
                Poll::Ready(ready!(handler.poll(cx)).into_action())
            }
            HandlingParts::Decided { action } => {
                Poll::Ready(Ok(action.take().unwrap_or_else(continue_connection)))
            }
        }
    }
}

impl<'a, H, D, S, Out, F, M> handler::OnClose<'a, D, State<S, Out, F>, M> for Closing<H, Out, F>
where
    H: handler::OnClose<'a, D, S, M>,
    Out: 'static,
    F: Format,
{
    type Future = H::Future;

    fn call(&self, state: State<S, Out, F>, closed: Closed, dependencies: &'a D) -> H::Future {
        self.handler.call(state.own, closed, dependencies)
    }
}
