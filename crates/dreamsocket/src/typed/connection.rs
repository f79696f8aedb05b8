//! A connection that sends values.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Serialize;

use crate::error::SendError;
use crate::outbox::Sending;
use crate::typed::format::{Format, Json, Payload};

/// A [`Connection`](crate::Connection) that sends values of type `Out`, written as `F` says.
///
/// Everything else that a connection can do it does, too, since it derefs to one; raw messages included, which the peer may
/// not understand. Cheap to clone; a clone can be kept and used from any task.
pub struct Connection<Out, F = Json> {
    connection: crate::Connection,
    types: PhantomData<fn(Out, F)>,
}

impl<Out, F> Connection<Out, F> {
    pub(crate) const fn new(connection: crate::Connection) -> Self {
        Self {
            connection,
            types: PhantomData,
        }
    }
}

impl<Out: Serialize, F: Format> Connection<Out, F> {
    /// Sends a value: waits for room in the outbox, at most [`Config::send_timeout`](crate::Config::send_timeout).
    ///
    /// # Errors
    ///
    /// [`SendError::Unencodable`] if the value cannot be written; else as
    /// [`send_text`](crate::Connection::send_text).
    pub async fn send(&self, message: &Out) -> Result<(), SendError> {
        self.queue(message)?.await
    }

    /// Sends a value if there is room for it now; never waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Unencodable`] if the value cannot be written; else as
    /// [`try_send_text`](crate::Connection::try_send_text).
    pub fn try_send(&self, message: &Out) -> Result<(), SendError> {
        match F::encode(message).map_err(SendError::Unencodable)? {
            Payload::Text(text) => self.connection.try_send_text(text),
            Payload::Binary(bytes) => self.connection.try_send_binary(bytes),
        }
    }

    fn queue(&self, message: &Out) -> Result<Sending<'_>, SendError> {
        Ok(match F::encode(message).map_err(SendError::Unencodable)? {
            Payload::Text(text) => self.connection.send_text(text),
            Payload::Binary(bytes) => self.connection.send_binary(bytes),
        })
    }
}

impl<Out, F> Deref for Connection<Out, F> {
    type Target = crate::Connection;

    fn deref(&self) -> &crate::Connection {
        &self.connection
    }
}

impl<Out, F> Clone for Connection<Out, F> {
    fn clone(&self) -> Self {
        Self::new(self.connection.clone())
    }
}

impl<Out, F> fmt::Debug for Connection<Out, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connection.fmt(f)
    }
}
