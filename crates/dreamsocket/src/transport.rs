//! What is under an upgraded connection: the bare TCP stream where there is one, else whatever hyper has.
//!
//! Apart from the upgrade, since both ends of a connection come out of hyper the same way.

mod small_writes;

use bytes::Bytes;
use http::Version;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade as auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub(crate) use self::small_writes::{PIECE, SmallWrites};
use crate::server::{Rewind, Watched};
#[cfg(feature = "simulation")]
use crate::simulation::Stream;

/// A transport to open a session on.
pub(crate) enum Transport<O> {
    /// The bare stream, with the bytes that came with the request.
    Tcp(TcpStream, Bytes),
    /// The same of a simulated network.
    #[cfg(feature = "simulation")]
    Simulated(Stream, Bytes),
    Other(O),
}

/// Takes the bare TCP stream out of hyper's wrappers where there is one (`Server`, `axum::serve`, bare hyper on
/// `TokioIo<TcpStream>`); anything else is used through hyper's traits. `version` is that of the request.
pub(crate) fn downcast(
    upgraded: Upgraded,
    version: Version,
) -> Transport<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    let upgraded = match bare(upgraded) {
        Ok((io, early)) => return Transport::Tcp(io, early),
        Err(upgraded) => upgraded,
    };
    #[cfg(feature = "simulation")]
    let upgraded = match bare(upgraded) {
        Ok((io, early)) => return Transport::Simulated(io, early),
        Err(upgraded) => upgraded,
    };
    let piece = (version == Version::HTTP_2).then_some(PIECE);
    Transport::Other(SmallWrites::new(TokioIo::new(upgraded), piece))
}

/// The stream that is under all of hyper's wrappers, if it is of this type, with the bytes that came early.
fn bare<T>(upgraded: Upgraded) -> Result<(T, Bytes), Upgraded>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let upgraded = match auto::downcast::<TokioIo<T>>(upgraded) {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let upgraded = match upgraded.downcast::<TokioIo<Rewind<Watched<T>>>>() {
        Ok(parts) => {
            // hyper has read the whole request, so nothing of the prefix is left unless it came behind.
            let (prefix, io) = parts.io.into_inner().into_parts();
            let early = if prefix.is_empty() {
                parts.read_buf
            } else {
                [parts.read_buf, prefix].concat().into()
            };
            return Ok((io.into_inner(), early));
        }
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<T>>()?;
    Ok((parts.io.into_inner(), parts.read_buf))
}
