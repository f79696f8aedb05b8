//! [`Sending`]: the future of a send, small, since the futures of handlers hold it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Outgoing, Refused, Ticket};
use crate::config::later;
use crate::connection::Shared;
use crate::error::SendError;

/// A message on its way into a connection's outbox; made by the `send_*` of [`Connection`](crate::Connection).
///
/// Nothing is sent before it is first polled. It may be dropped at any time: unless it was ready, nothing was sent.
///
/// # Panics
///
/// If it is polled when there is no room, outside a tokio runtime with its timer enabled. Then nothing was sent.
#[must_use = "nothing is sent unless it is awaited"]
pub struct Sending<'a> {
    shared: &'a Shared,
    progress: Progress,
}

enum Progress {
    /// Not polled yet.
    Fresh(Outgoing),
    /// There was no room. Boxed, since that is the rare case.
    InLine(Box<InLine>),
    Done,
}

struct InLine {
    ticket: Ticket,
    message: Option<Outgoing>,
    timeout: Pin<Box<Sleep>>,
}

impl<'a> Sending<'a> {
    pub(crate) fn new(shared: &'a Shared, message: Outgoing) -> Self {
        Self {
            shared,
            progress: Progress::Fresh(message),
        }
    }

    /// Stands in line for room, and waits there.
    #[cold]
    fn stand_in_line(
        &mut self,
        message: Outgoing,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let outbox = &self.shared.outbox;
        let charge = outbox.charge(message.payload().len());
        let until = later(Instant::now(), self.shared.facts.config.send_timeout);
        // First, since it panics where there is no timer: nobody would give the place up.
        let timeout = Box::pin(sleep_until(until));
        let ticket = outbox.stand_in_line(charge, context.waker())?;
        self.progress = Progress::InLine(Box::new(InLine {
            ticket,
            message: Some(message),
            timeout,
        }));
        self.poll_in_line(context)
    }

    #[cold]
    fn poll_in_line(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Progress::InLine(place) = &mut self.progress else {
            return Poll::Pending;
        };
        let outbox = &self.shared.outbox;
        let sent = outbox.poll_in_line(place.ticket, &mut place.message, context);
        if sent.is_ready() {
            self.progress = Progress::Done;
            return sent;
        }
        if place.timeout.as_mut().poll(context).is_ready() {
            // Its place in line is given up with it.
            self.give_up();
            return Poll::Ready(Err(SendError::TIMEOUT));
        }
        Poll::Pending
    }

    #[cold]
    fn give_up(&mut self) {
        if let Progress::InLine(place) = std::mem::replace(&mut self.progress, Progress::Done) {
            self.shared.outbox.give_up(place.ticket);
        }
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), SendError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.progress, Progress::Done) {
            Progress::Fresh(message) => match self.shared.outbox.try_push(message) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(Refused::Closed) => Poll::Ready(Err(SendError::SocketClosed)),
                Err(Refused::Full(message)) => self.stand_in_line(message, context),
            },
            in_line @ Progress::InLine(_) => {
                self.progress = in_line;
                self.poll_in_line(context)
            }
            // Polled after it was ready: the message is gone, and nothing more will come.
            Progress::Done => Poll::Pending,
        }
    }
}

impl Drop for Sending<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Progress::InLine(_) = self.progress {
            self.give_up();
        }
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("is_waiting", &matches!(self.progress, Progress::InLine(_)))
            .finish_non_exhaustive()
    }
}
