//! From a host's name to a connected stream: DNS, TCP and TLS, each within its time.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::error::{ConnectError, Phase};
use super::opening::{Offer, Opened};
#[cfg(feature = "tls")]
use super::tls::{self, TlsInfo};
use crate::config::later;
#[cfg(feature = "simulation")]
use crate::simulation::{Dialable, Network};

/// Makes one connection after another to the same server.
pub(super) trait Dial: Send + Sync + 'static {
    fn dial(&self) -> impl Future<Output = Result<Dialed, ConnectError>> + Send;

    /// Where to.
    fn uri(&self) -> &Uri;
}

/// A connection whose handshake has succeeded.
pub(super) struct Dialed {
    pub(super) opened: Opened,
    pub(super) peer_addr: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Box<TlsInfo>>,
}

/// How long each phase may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) dns: Duration,
    pub(super) connect: Duration,
    pub(super) tls: Duration,
    pub(super) handshake: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            dns: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
        }
    }
}

/// Where a URL leads.
#[derive(Debug)]
pub(super) struct Target {
    /// A name or an address, without the brackets of IPv6.
    host: String,
    port: u16,
    pub(super) is_tls: bool,
}

impl Target {
    /// What is missing in the URL is found by the handshake's own check.
    pub(super) fn of(uri: &Uri) -> Self {
        let scheme = uri.scheme_str().unwrap_or_default();
        let is_tls = ["wss", "https"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(scheme));
        let host = uri.host().unwrap_or_default();
        Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            is_tls,
        }
    }
}

/// Dials over the network.
pub(super) struct Dialer {
    pub(super) offer: Offer,
    pub(super) target: Target,
    pub(super) timeouts: Timeouts,
    /// There if the target wants TLS.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<std::sync::Arc<tokio_rustls::rustls::ClientConfig>>,
    /// What to dial over instead of the system's.
    #[cfg(feature = "simulation")]
    pub(super) network: Option<std::sync::Arc<dyn Network>>,
}

impl Dial for Dialer {
    async fn dial(&self) -> Result<Dialed, ConnectError> {
        let Target { host, port, .. } = &self.target;
        #[cfg(feature = "simulation")]
        if let Some(network) = &self.network {
            let connecting = async {
                let connected = network.connect(host, *port).await;
                connected.map_err(ConnectError::Connect)
            };
            let opened = match within(Phase::Connect, self.timeouts.connect, connecting).await? {
                Dialable::Bare(stream) => self.offer.open(stream).await?,
                Dialable::Wrapped(stream) => self.offer.open(stream).await?,
            };
            return Ok(Dialed {
                opened,
                peer_addr: None,
                #[cfg(feature = "tls")]
                tls: None,
            });
        }
        let addresses = within(Phase::Dns, self.timeouts.dns, resolve(host, *port)).await?;
        let stream = connect(&addresses, self.timeouts.connect).await?;
        let peer_addr = stream.peer_addr().ok();
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let handshake = tls::handshake(tls, host, stream);
            let stream = within(Phase::Tls, self.timeouts.tls, handshake).await?;
            let info = TlsInfo::of(stream.get_ref().1);
            return Ok(Dialed {
                opened: self.offer.open(stream).await?,
                peer_addr,
                tls: Some(Box::new(info)),
            });
        }
        Ok(Dialed {
            opened: self.offer.open(stream).await?,
            peer_addr,
            #[cfg(feature = "tls")]
            tls: None,
        })
    }

    fn uri(&self) -> &Uri {
        &self.offer.uri
    }
}

/// Runs a phase within its time.
async fn within<R>(
    phase: Phase,
    limit: Duration,
    work: impl Future<Output = Result<R, ConnectError>>,
) -> Result<R, ConnectError> {
    match timeout_at(later(Instant::now(), limit), work).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut { phase, limit }),
    }
}

/// All addresses of a host, in the order of the system's resolver; an address itself is not asked for.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(ConnectError::Dns(error)),
    }
}

/// Tries the addresses in turn. Each may take an equal part of what is left of the time, so that one that never answers
/// does not use up the time of the others.
async fn connect(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, ConnectError> {
    let end = later(Instant::now(), limit);
    let mut last = None;
    for (index, &address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let parts = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let deadline = now + end.saturating_duration_since(now) / parts;
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Whole batches are written; waiting for more would only add delay.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
    }
    match last {
        Some(error) => Err(ConnectError::Connect(error)),
        None if addresses.is_empty() => {
            let line = "the name has no address";
            Err(ConnectError::Dns(io::Error::new(
                io::ErrorKind::NotFound,
                line,
            )))
        }
        None => Err(ConnectError::TimedOut {
            phase: Phase::Connect,
            limit,
        }),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[cfg(target_os = "linux")]
    const SOON: Duration = Duration::from_millis(50);

    /// An address that answers nothing: its queue of connections is full, and then Linux drops what asks for one.
    #[cfg(target_os = "linux")]
    async fn silent() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = tokio::time::timeout(SOON, TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        (address, listener, waiting)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn addresses_are_tried_in_turn_and_share_the_time() {
        let (silent, _listener, _waiting) = silent().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let refused = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = refused.local_addr().unwrap();
        drop(refused);

        let stream = connect(&[silent, refusing, good], SOON * 3).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(stream.nodelay().unwrap());
        let error = connect(&[silent], SOON).await.unwrap_err();
        let line = "connecting took longer than 50ms";
        assert_eq!(error.to_string(), line);
        let error = connect(&[silent, refusing], SOON).await.unwrap_err();
        assert!(matches!(error, ConnectError::Connect(_)));
        let error = connect(&[], SOON).await.unwrap_err();
        assert!(matches!(error, ConnectError::Dns(_)));
    }

    #[test]
    fn a_target_has_the_schemes_port_and_no_brackets() {
        fn check(url: &str, host: &str, port: u16, is_tls: bool) {
            let target = Target::of(&url.parse().unwrap());
            assert_eq!(
                (&*target.host, target.port, target.is_tls),
                (host, port, is_tls)
            );
        }
        check("ws://example.com/", "example.com", 80, false);
        check("wss://example.com", "example.com", 443, true);
        check("https://example.com:8443/a?b", "example.com", 8443, true);
        check("ws://[::1]:9001/", "::1", 9001, false);
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_that_takes_too_long_is_named() {
        let never = std::future::pending::<Result<(), ConnectError>>();
        let error = within(Phase::Dns, Duration::from_secs(5), never)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "resolving the host's name took longer than 5s"
        );
    }

    #[tokio::test]
    async fn an_address_needs_no_resolver() {
        for (host, expected) in [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")] {
            let addresses = resolve(host, 80).await.unwrap();
            assert_eq!(addresses, [expected.parse().unwrap()]);
        }
    }
}
