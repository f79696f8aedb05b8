//! Waiting until nothing is left to run, without moving the clock.
//!
//! Tokio does not say when a runtime is idle, so sessions and clients count how often they are polled: when none of them
//! was for some rounds of the scheduler, all that they wait for is a timer, the test, or somebody else's task.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;

thread_local! {
    /// How often sessions and clients of this thread were polled.
    static POLLED: Cell<u64> = const { Cell::new(0) };
}

/// After how many rounds without a poll of ours everything has settled. A chain of tasks that wake one another, none of
/// them a session, takes a round a link.
const QUIET_ROUNDS: u32 = 32;

/// How long something that is always ready is waited for.
const MAX_ROUNDS: u32 = 4_096;

/// Lets everything run that is ready, until sessions and clients all wait; the clock stands still.
///
/// Returns, too, if that never comes to an end, as with a selector that is always ready.
pub async fn settle() {
    let mut quiet = 0;
    let mut polled = POLLED.get();
    for _ in 0..MAX_ROUNDS {
        tokio::task::yield_now().await;
        if POLLED.get() == polled {
            quiet += 1;
        } else {
            quiet = 0;
            polled = POLLED.get();
        }
        if quiet == QUIET_ROUNDS {
            return;
        }
    }
}

/// A session or a client is polled.
pub(crate) fn note_poll() {
    POLLED.set(POLLED.get() + 1);
}

/// The future, each of whose polls is counted.
pub(super) fn counted<F: Future + Send + 'static>(
    future: F,
) -> impl Future<Output = F::Output> + Send {
    let mut future: Pin<Box<F>> = Box::pin(future);
    poll_fn(move |context| {
        note_poll();
        future.as_mut().poll(context)
    })
}
