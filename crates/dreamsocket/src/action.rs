//! What `on_message` answers: [`Action`]. A pure type; the session carries it out.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;

use dreamsocket_protocol::{CloseCode, Text};

use crate::error::BoxError;
use crate::selector::Selector;

/// The next step of a connection, returned by `on_message`.
///
/// Opaque: made by [`continue_connection`], [`continue_connection_with_selector`], [`continue_connection_adding`],
/// [`continue_connection_removing`], [`stop_connection`] and [`stop_connection_with`].
#[must_use = "an action does nothing unless `on_message` returns it"]
pub struct Action<C = Infallible>(pub(crate) Step<C>);

pub(crate) enum Step<C> {
    Continue,
    Replace(Selector<C>),
    Add(Selector<C>),
    Remove(Cow<'static, str>),
    Stop { code: CloseCode, reason: Text },
}

impl<C> fmt::Debug for Action<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Step::Continue => f.write_str("Continue"),
            Step::Replace(selector) => f.debug_tuple("Replace").field(selector).finish(),
            Step::Add(selector) => f.debug_tuple("Add").field(selector).finish(),
            Step::Remove(key) => f.debug_tuple("Remove").field(key).finish(),
            Step::Stop { code, reason } => f
                .debug_struct("Stop")
                .field("code", code)
                .field("reason", reason)
                .finish(),
        }
    }
}

/// Continues with the selector as it is.
pub const fn continue_connection<C>() -> Action<C> {
    Action(Step::Continue)
}

/// Continues with another selector, which takes the place of the present one: what waits in the old sources goes with
/// them (L7). An empty selector ends all custom messages.
pub fn continue_connection_with_selector<C>(selector: impl Into<Selector<C>>) -> Action<C> {
    Action(Step::Replace(selector.into()))
}

/// Continues with more sources; the present ones and their messages stay as they are (L7).
///
/// A source whose key is there already takes the place of that one. Sources without a key are always added.
pub fn continue_connection_adding<C>(selector: impl Into<Selector<C>>) -> Action<C> {
    Action(Step::Add(selector.into()))
}

/// Continues without the source of that key; the others stay as they are (L7). A key that is not there changes nothing.
pub fn continue_connection_removing<C>(key: impl Into<Cow<'static, str>>) -> Action<C> {
    Action(Step::Remove(key.into()))
}

/// Closes the connection with 1000, after everything that was sent before.
pub fn stop_connection<C>() -> Action<C> {
    Action(Step::Stop {
        code: CloseCode::NORMAL,
        reason: Text::default(),
    })
}

/// Closes the connection with a code and a reason, after everything that was sent before.
///
/// A code that must not be sent (RFC 6455 §7.4) closes with 1011 and is logged as an error; a reason longer than 123
/// bytes is cut at a character.
pub fn stop_connection_with<C>(code: impl Into<CloseCode>, reason: impl Into<Text>) -> Action<C> {
    Action(Step::Stop {
        code: code.into(),
        reason: reason.into(),
    })
}

/// What `on_message` may return: an [`Action`], or a [`Result`] of one with any error.
#[diagnostic::on_unimplemented(
    message = "`on_message` cannot return `{Self}`",
    label = "`on_message` returns this",
    note = "return `Action<{C}>` or `Result<Action<{C}>, E>`, where `E` is an error type such as `BoxError`",
    note = "an action is made by `continue_connection()`, `stop_connection()` and their kin"
)]
pub trait IntoAction<C> {
    #[doc(hidden)]
    fn into_action(self) -> Result<Action<C>, BoxError>;
}

impl<C> IntoAction<C> for Action<C> {
    #[inline(always)]
    fn into_action(self) -> Result<Self, BoxError> {
        Ok(self)
    }
}

impl<C, E: Into<BoxError>> IntoAction<C> for Result<Action<C>, E> {
    #[inline(always)]
    fn into_action(self) -> Result<Action<C>, BoxError> {
        self.map_err(Into::into)
    }
}

/// What `on_init` may return: the state and perhaps a [`Selector`], or a [`Result`] of them with any error.
#[diagnostic::on_unimplemented(
    message = "`on_init` cannot return `{Self}`",
    label = "`on_init` returns this",
    note = "return `(State, Option<Selector<{C}>>)` or a `Result` of it, with an error type such as `BoxError`"
)]
pub trait IntoInit<S, C> {
    #[doc(hidden)]
    fn into_init(self) -> Result<(S, Option<Selector<C>>), BoxError>;
}

impl<S, C> IntoInit<S, C> for (S, Option<Selector<C>>) {
    fn into_init(self) -> Result<(S, Option<Selector<C>>), BoxError> {
        Ok(self)
    }
}

impl<S, C, E: Into<BoxError>> IntoInit<S, C> for Result<(S, Option<Selector<C>>), E> {
    fn into_init(self) -> Result<(S, Option<Selector<C>>), BoxError> {
        self.map_err(Into::into)
    }
}
