//! TCP sockets set up for load: many source addresses, no delay, and a reset at the end, which leaves no port waiting.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mio::net::TcpStream;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// The smallest segments that Linux agrees to, and a small buffer. On loopback a server's socket would otherwise take 2.5 MiB for
/// a peer that reads nothing, since it has room for some segments, and those are of 64 KiB there.
const STALLED_SEGMENT: u32 = 88;
const STALLED_BUFFER: usize = 2 * 1024;

/// Source addresses `127.0.0.1` to `127.0.0.8`: each brings ports of its own.
const SOURCES: usize = 8;

/// Begins to connect; the socket is writable when it is through. One that is `stalled` will not read, and is soon full.
pub(super) fn connect(to: SocketAddr, number: usize, stalled: bool) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    if stalled {
        socket.set_tcp_mss(STALLED_SEGMENT)?;
        socket.set_recv_buffer_size(STALLED_BUFFER)?;
    }
    if let Some(source) = source(to, number) {
        socket
            .bind(&SocketAddr::from((source, 0)).into())
            .with_context(|| format!("no port on {source}"))?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error).with_context(|| format!("connecting to {to}")),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn source(to: SocketAddr, number: usize) -> Option<Ipv4Addr> {
    matches!(to.ip(), IpAddr::V4(address) if address.is_loopback())
        .then(|| Ipv4Addr::new(127, 0, 0, (number % SOURCES + 1) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_spread_on_loopback_only() {
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!(source(local, 0), Some(Ipv4Addr::new(127, 0, 0, 1)));
        assert_eq!(source(local, 9), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(source(SocketAddr::from(([10, 0, 0, 1], 80)), 0), None);
    }
}
