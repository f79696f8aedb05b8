//! `wss://`: TLS by rustls with ring, and [`TlsInfo`], what was agreed on.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    CipherSuite, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, crypto,
};

use super::error::ConnectError;

/// What a TLS handshake agreed on, from [`Socket::tls`](crate::client::Socket::tls): for tools and diagnostics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version of TLS.
    pub protocol_version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub cipher_suite: Option<CipherSuite>,
    /// The protocol that the server chose by ALPN: `http/1.1`, or none if the server knows no ALPN.
    pub alpn_protocol: Option<Vec<u8>>,
    /// The server's certificate, and those behind it that it sent, as DER.
    pub peer_certificates: Vec<CertificateDer<'static>>,
}

impl TlsInfo {
    pub(super) fn of(connection: &ClientConnection) -> Self {
        let suite = connection.negotiated_cipher_suite();
        let certificates = connection.peer_certificates().unwrap_or_default();
        Self {
            protocol_version: connection.protocol_version(),
            cipher_suite: suite.map(|suite| suite.suite()),
            alpn_protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificates: certificates.to_vec(),
        }
    }
}

/// Trusts the certificate authorities that Mozilla does.
pub(super) fn default_config() -> Result<ClientConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    roots
        .roots
        .extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

pub(super) async fn handshake(
    config: &Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
        .map_err(ConnectError::Tls)
}
