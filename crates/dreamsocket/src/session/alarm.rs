//! One timer for all deadlines of a connection.
//!
//! The wire sets it to the earliest deadline and moves it lazily: a deadline that moves later leaves it alone, and when it
//! goes off early it is set again. So traffic, which moves the heartbeat all the time, does not touch the timer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready when `deadline` has passed; the task is woken then.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // Also to a later one: the timer may be due and not have gone off yet, and nobody asks again when it does.
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context)
    }
}
