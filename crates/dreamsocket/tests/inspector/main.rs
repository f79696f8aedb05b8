//! The inspector: the shape of its JSON, order, search and bounds, whom its close button obeys; and what a hub lists.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test's helper fails the test"
)]

mod closing;
mod crowd;
mod json;
mod live;
mod mounted;
mod stage;
