//! `wss://`: the same loop over rustls, and certificates that are not trusted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use dreamsocket::client::{Connect, ConnectError};
use dreamsocket::{Listener, Server};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore, ServerConfig, crypto};
use tokio_rustls::server::TlsStream;

use crate::peer::within;
use crate::recorder::Recorder;
use crate::server::router;

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(Self::Io, Option<SocketAddr>)> {
        let (stream, addr) = self.tcp.accept().await?;
        Ok((self.acceptor.accept(stream).await?, Some(addr)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// A server with a certificate of its own for `localhost`, and a client's configuration that trusts it.
async fn serve() -> (String, ClientConfig) {
    let provider = Arc::new(crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Replaced: the handshake speaks HTTP/1.1.
    client.alpn_protocols = vec![b"h2".to_vec()];

    let listener = TlsListener {
        tcp: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        acceptor: TlsAcceptor::from(Arc::new(server)),
    };
    let server = Server::new(router()).listen_on(listener).unwrap();
    let url = format!("wss://localhost:{}/echo", server.local_addr().port());
    tokio::spawn(server.run_until_drained());
    (url, client)
}

#[tokio::test]
async fn an_echo_over_tls_by_a_name_with_two_addresses() {
    let (url, client) = serve().await;
    let mut recorder = Recorder::new();
    let connect = Connect::new(url).with_tls(client);
    let connected = recorder.run(connect.clone()).await.unwrap();
    recorder.expect("init 0").await;
    connected
        .connection()
        .send_binary(vec![7; 300_000])
        .await
        .unwrap();
    recorder.expect("binary 300000").await;
    connected.stop();
    recorder.expect("closed 1000 stopped clean after 2").await;

    let mut socket = within(connect.open()).await.unwrap();
    let tls = socket.tls().unwrap();
    assert_eq!(tls.protocol_version, Some(ProtocolVersion::TLSv1_3));
    assert!(tls.cipher_suite.is_some());
    // The listener above knows no ALPN.
    assert_eq!(tls.alpn_protocol, None);
    assert_eq!(tls.peer_certificates.len(), 1);
    assert!(within(socket.close(1000, "")).await.unwrap().clean);
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_refused() {
    let (url, _) = serve().await;
    let error = Recorder::new().run(Connect::new(url)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
    assert!(!error.is_temporary());
}
