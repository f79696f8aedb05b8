//! The same small server on each library, one file in `src/bin` for each.
//!
//! What is here is what the servers share because it is really the same: the command line, the runtime, the socket that
//! listens, the channels of a fan-out, and the loops of libraries whose WebSocket is a `Stream` and a `Sink`. It knows none
//! of the libraries.

mod args;
mod channels;
mod net;
mod sockets;

pub use args::{Args, Can, run};
pub use channels::{Channels, Path};
pub use net::{Listener, Transport, listen, tls_config};
pub use sockets::{Inbox, Socket, echo, listen_to, serve, take_part};

/// What a server ends with that can't go on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The largest message that a server takes. A message of 1 MiB has to pass, with what a library counts beside it.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;
