//! The end of a hub for those who only watch it: told to them, and waited for until they have passed it on.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Hub;

/// How long watchers may take to leave.
const PATIENCE: Duration = Duration::from_secs(1);

impl Hub {
    /// Becomes true when a drain is over. As long as this is held, whoever waits for the drain waits on, for a moment.
    pub(crate) fn farewell(&self) -> watch::Receiver<bool> {
        self.inner.farewell.subscribe()
    }

    /// Tells that the drain is over, and waits for watchers to leave: a second, and not beyond the drain's end.
    pub(super) async fn see_off(&self, end: Instant) {
        self.inner.farewell.send_replace(true);
        let deadline = end.min(Instant::now() + PATIENCE);
        // Those who take longer see no end.
        let _ = timeout_at(deadline, self.inner.farewell.closed()).await;
    }
}
