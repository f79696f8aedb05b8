//! What the library counts and measures for the feature `metrics`. Without the feature the same names do nothing, so that
//! those who call them need not know which of the two it is.

#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(not(feature = "metrics"))]
pub(crate) use self::off::{Meter, note_accept_pause, note_fault, note_missed, note_refused};
#[cfg(feature = "metrics")]
pub(crate) use self::on::{Meter, note_accept_pause, note_fault, note_missed, note_refused};

/// Which handler is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measured {
    Init,
    Message,
    Close,
}

/// Why an upgrade was refused; what the label `reason` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The request is no valid handshake.
    Handshake,
    /// It came from a page of another origin.
    Origin,
    /// It asked for a host that this server does not answer for.
    Host,
    /// It offers no subprotocol that the server speaks.
    Subprotocol,
    /// The transport underneath cannot upgrade.
    Transport,
    /// There are as many WebSockets as may be.
    Full,
    /// The server shuts down.
    Draining,
    /// Its address has too much.
    Address,
}
