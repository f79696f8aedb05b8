//! TLS: which protocol is chosen, certificates that change under open connections, handshakes that never end, and what an
//! operator is told about files that do not fit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dreamsocket::rustls::pki_types::{CertificateDer, ServerName};
use dreamsocket::rustls::{ClientConfig, RootCertStore, ServerConfig};
use dreamsocket::{Config, Tls};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::app::{App, config};
use crate::client::{CLOSE, Client, TEXT, within};

/// A certificate of its own making for `localhost`, with its key.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Identity {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            pem: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    fn tls(&self) -> Tls {
        Tls::from_pem(self.pem.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// Trusts nothing but this.
    async fn connect(&self, app: &App, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        self.try_connect(app, alpn).await.unwrap()
    }

    async fn try_connect(
        &self,
        app: &App,
        alpn: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = self.trusting();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let io = TcpStream::connect(app.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, io)).await
    }

    fn trusting(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(dreamsocket::rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dreamsocket-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_websocket_over_tls_and_http1() {
    let identity = Identity::new();
    let mut app = App::start_with(config(), |server| server.tls(identity.tls())).await;
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let io = identity.connect(&app, alpn).await;
        assert_eq!(io.get_ref().1.alpn_protocol(), alpn.first().copied());
        let mut client = Client::new(io);
        client.upgrade("/").await;
        client.echo("hello").await;
        client.send(TEXT, b"address").await;
        let address = client.frame().await.unwrap();
        assert!(address.payload.starts_with(b"127.0.0.1:"), "{address:?}");
        client.send(CLOSE, &[3, 232]).await;
        assert_eq!(client.frame().await.unwrap().opcode, CLOSE);
        // The end is said (close_notify): without it this is an error, since what is missing could have been cut off.
        let mut rest = [0; 8];
        let count = within(tokio::io::AsyncReadExt::read(&mut client.io, &mut rest)).await;
        assert_eq!(count.unwrap(), 0);
        assert_eq!(app.note().await, "closed after 2: peer");
    }
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn a_websocket_over_tls_and_http2() {
    let identity = Identity::new();
    let mut app = App::start_with(config(), |server| server.tls(identity.tls())).await;
    let io = identity.connect(&app, &[b"h2", b"http/1.1"]).await;
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut browser = crate::http2::Browser::over(io).await;
    let mut first = browser.open("/").await;
    let mut second = browser.open("/").await;
    first.echo("one").await;
    second.echo("two").await;
    app.hub.drain();
    first.expect_close(1001).await;
    second.expect_close(1001).await;
    drop((first, second));
    assert_eq!(app.ended().await.clean, 2);
}

/// Where the server itself speaks TLS, `Host` without a port means 443, whatever the page's scheme.
#[tokio::test]
async fn a_page_without_tls_is_of_another_origin() {
    let identity = Identity::new();
    let app = App::start_with(config(), |server| server.tls(identity.tls())).await;
    for (origin, status) in [
        ("http://localhost", 403),
        ("http://localhost:443", 101),
        ("https://localhost:80", 403),
        ("https://localhost", 101),
    ] {
        let io = identity.connect(&app, &[]).await;
        let request = crate::client::handshake("/") + &format!("Origin: {origin}\r\n\r\n");
        let answer = Client::new(io).request(&request).await;
        assert_eq!(answer.status, status, "{origin}");
    }
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn a_page_without_tls_is_of_another_origin_over_http2() {
    let identity = Identity::new();
    let app = App::start_with(config(), |server| server.tls(identity.tls())).await;
    let io = identity.connect(&app, &[b"h2"]).await;
    let mut browser = crate::http2::Browser::over(io).await;
    for (origin, status) in [("http://localhost", 403), ("https://localhost", 200)] {
        let mut request = crate::http2::connect_request("/", &[("origin", origin)]);
        *request.uri_mut() = "https://localhost/".parse().unwrap();
        assert_eq!(browser.send(request).await.status(), status, "{origin}");
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_under_open_connections() {
    let (old, new) = (Identity::new(), Identity::new());
    let folder = Folder::new();
    let certificate = folder.write("cert.pem", &old.pem);
    let key = folder.write("key.pem", &old.key);
    let tls = Tls::from_pem_files(&certificate, &key).unwrap();
    let app = App::start_with(config(), |server| server.tls(tls.clone())).await;
    let mut client = Client::new(old.connect(&app, &[]).await);
    client.upgrade("/").await;

    // Half of a renewal is noticed, and what was there is still used.
    folder.write("cert.pem", &new.pem);
    let error = tls.reload().unwrap_err().to_string();
    assert!(
        error.contains("it is not the key of the certificate"),
        "{error}"
    );
    old.connect(&app, &[]).await;

    folder.write("key.pem", &new.key);
    tls.reload().unwrap();
    client.echo("still here").await;
    let seen = new.connect(&app, &[]).await;
    let shown = &seen.get_ref().1.peer_certificates().unwrap()[0];
    assert_eq!(shown, &new.certificate);
    assert!(old.try_connect(&app, &[]).await.is_err());
    client.echo("and still").await;
}

#[tokio::test]
async fn a_configuration_of_ones_own_keeps_its_protocols() {
    let identity = Identity::new();
    let provider = Arc::new(dreamsocket::rustls::crypto::ring::default_provider());
    let key =
        dreamsocket::rustls::pki_types::pem::PemObject::from_pem_slice(identity.key.as_bytes());
    let mut own = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], key.unwrap())
        .unwrap();
    own.alpn_protocols = vec![b"http/1.1".to_vec()];
    let app = App::start_with(config(), |server| server.tls(Arc::new(own))).await;
    let io = identity.connect(&app, &[b"h2", b"http/1.1"]).await;
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn handshakes_that_never_end_are_cut_and_hold_up_nobody() {
    let identity = Identity::new();
    let short = config().with_tls_timeout(Duration::from_millis(200));
    let app = App::start_with(short, |server| server.tls(identity.tls())).await;
    let mut stuck = Vec::new();
    for said in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01"].repeat(10) {
        let mut client = Client::connect(app.address).await;
        client.write(said).await;
        stuck.push(client);
    }
    let mut client = Client::new(identity.connect(&app, &[]).await);
    client.upgrade("/").await;
    client.echo("not held up").await;
    for mut client in stuck {
        client.expect_end().await;
    }
    client.echo("still here").await;
}

#[tokio::test]
async fn plain_http_on_the_port_of_tls_ends_and_nothing_else() {
    let identity = Identity::new();
    let app = App::start_with(Config::default(), |server| server.tls(identity.tls())).await;
    let mut client = Client::connect(app.address).await;
    client
        .write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut rest = Vec::new();
    let _ = within(tokio::io::AsyncReadExt::read_to_end(
        &mut client.io,
        &mut rest,
    ))
    .await;
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    identity.connect(&app, &[]).await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_handshakes() {
    let identity = Identity::new();
    let mut app = App::start_with(crate::app::long(), |server| server.tls(identity.tls())).await;
    let _stuck = Client::connect(app.address).await;
    identity.connect(&app, &[]).await;
    app.drain().await;
}

#[test]
fn what_is_wrong_with_the_files_is_said_in_a_line() {
    let folder = Folder::new();
    let (identity, other) = (Identity::new(), Identity::new());
    let certificate = folder.write("cert.pem", &identity.pem);
    let key = folder.write("key.pem", &identity.key);
    let other_key = folder.write("other.pem", &other.key);
    let empty = folder.write("empty.pem", "");
    let broken = folder.write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    );
    let missing = folder.0.join("missing.pem");
    let check = |certificate: &PathBuf, key: &PathBuf, named: &PathBuf, words: &str| {
        let error = Tls::from_pem_files(certificate, key)
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
        assert!(error.contains(&*named.to_string_lossy()), "{error}");
        assert!(!error.contains('\n'), "{error}");
    };
    assert!(Tls::from_pem_files(&certificate, &key).is_ok());
    check(&missing, &key, &missing, "cannot read");
    check(&certificate, &missing, &missing, "cannot read");
    check(&folder.0, &key, &folder.0, "cannot read");
    check(&empty, &key, &empty, "no certificate in");
    check(&certificate, &empty, &empty, "no private key in");
    // Each in the other's place.
    check(&key, &key, &key, "no certificate in");
    check(
        &certificate,
        &certificate,
        &certificate,
        "no private key in",
    );
    check(&broken, &key, &broken, "is not valid PEM");
    check(
        &certificate,
        &other_key,
        &other_key,
        "it is not the key of the certificate",
    );
}

#[cfg(feature = "client")]
#[tokio::test]
async fn the_librarys_own_client_speaks_wss() {
    use dreamsocket::client::{Connect, ConnectError, Received};

    let identity = Identity::new();
    let app = App::start_with(config(), |server| server.tls(identity.tls())).await;
    let url = format!("wss://localhost:{}/", app.address.port());
    let mut socket = Connect::new(url.as_str())
        .with_tls(identity.trusting())
        .open()
        .await
        .unwrap();
    socket.send_text("hello").await.unwrap();
    assert_eq!(socket.receive().await, Some(Received::Text("hello".into())));
    socket.close(1000, "").await.unwrap();

    // Nobody vouches for a certificate of our own making, unless we say so.
    let error = Connect::new(url).open().await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
}
