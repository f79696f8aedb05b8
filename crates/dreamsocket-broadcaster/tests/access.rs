//! Who may come to a broker, and how (B10): credentials in the URL, TLS by a client that is brought along.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::time::Duration;

use brokers::{Nats, Redis};
use dreamsocket_broadcaster::{Broadcaster, Delivery, RemoteOptions};
use tokio::time;

async fn check(node: &Broadcaster<String>) {
    let topic = node.topic("lobby");
    let mut channel = topic.subscribe();
    topic.publish_confirmed("hello".to_owned()).await.unwrap();
    let received = time::timeout(Duration::from_secs(5), channel.recv()).await;
    assert_eq!(
        received.unwrap(),
        Some(Delivery::Message("hello".to_owned()))
    );
}

async fn nats(url: String) -> Result<Broadcaster<String>, String> {
    let node = Broadcaster::connect_nats(&url, RemoteOptions::new()).await;
    node.map_err(|error| format!("{error:?}"))
}

async fn redis(url: String) -> Result<Broadcaster<String>, String> {
    let node = Broadcaster::connect_redis(&url, RemoteOptions::new()).await;
    node.map_err(|error| format!("{error:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_a_nats_url_has_the_credentials() {
    let server = Nats::start_with("--user ada --pass s@cret").await;
    let address = server.address();
    check(
        &nats(format!("nats://ada:s%40cret@{address}"))
            .await
            .unwrap(),
    )
    .await;
    for wrong in ["", "ada:wrong@"] {
        let error = nats(format!("nats://{wrong}{address}")).await.unwrap_err();
        assert!(!error.contains("wrong"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_a_nats_url_has_a_token() {
    let server = Nats::start_with("--auth secret").await;
    let address = server.address();
    check(&nats(format!("nats://secret@{address}")).await.unwrap()).await;
    assert!(nats(format!("nats://wrong@{address}")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_a_redis_url_has_the_credentials() {
    let server = Redis::start_with("--requirepass secret").await;
    let address = server.address();
    check(&redis(format!("redis://:secret@{address}")).await.unwrap()).await;
    for wrong in ["", ":wrong@"] {
        let error = redis(format!("redis://{wrong}{address}"))
            .await
            .unwrap_err();
        assert!(!error.contains("wrong"), "{error}");
    }
}

/// A certificate for this machine, in a folder that goes with it.
struct Identity {
    folder: PathBuf,
    certificate: String,
}

impl Identity {
    fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let name = format!("dreamsocket-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let certificate = made.cert.pem();
        std::fs::write(folder.join("certificate"), &certificate).unwrap();
        std::fs::write(folder.join("key"), made.signing_key.serialize_pem()).unwrap();
        Self {
            folder,
            certificate,
        }
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().unwrap().to_owned()
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_a_nats_client_brings_tls() {
    let identity = Identity::new("nats");
    let (certificate, key) = (identity.path("certificate"), identity.path("key"));
    let tls = format!("--tls --tlscert {certificate} --tlskey {key}");
    let server = Nats::start_with(&tls).await;
    let client = async_nats::ConnectOptions::new()
        .add_root_certificates(certificate.into())
        .connect(format!("tls://localhost:{}", server.address().port()))
        .await
        .unwrap();
    let broadcaster = Broadcaster::with_nats(client, RemoteOptions::new()).await;
    check(&broadcaster.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_a_redis_client_brings_tls() {
    let identity = Identity::new("redis");
    let (certificate, key) = (identity.path("certificate"), identity.path("key"));
    let tls = format!(
        "--port 0 --tls-port PORT --tls-auth-clients no --tls-cert-file {certificate} \
         --tls-key-file {key} --tls-ca-cert-file {certificate}"
    );
    let server = Redis::start_with(&tls).await;
    let certificates = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(identity.certificate.clone().into_bytes()),
    };
    let url = format!("rediss://localhost:{}", server.address().port());
    let client = redis::Client::build_with_tls(url, certificates).unwrap();
    let node = Broadcaster::with_redis(&client, RemoteOptions::new()).await;
    check(&node.unwrap()).await;
}
