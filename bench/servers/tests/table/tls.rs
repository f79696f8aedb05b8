//! The echo over TLS.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::running::web_sockets_with;
use crate::{check_echo, open};

#[tokio::test]
async fn tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));

    for server in web_sockets_with(|server| server.tls) {
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let running = server.start(&["--tls-cert", cert, "--tls-key", key]);
        let tcp = TcpStream::connect(&running.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let transport = connector.connect(name, tcp).await.unwrap();
        check_echo(open(transport, "wss://localhost/echo").await).await;
    }
}
