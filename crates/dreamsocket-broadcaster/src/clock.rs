//! The time: tokio's where tokio is there, so that tests can pause it.

use std::time::Instant;

#[cfg(feature = "remote")]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(not(feature = "remote"))]
pub(crate) fn now() -> Instant {
    Instant::now()
}
