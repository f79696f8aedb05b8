//! What a server listens on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dreamsocket::{Config, DrainReport, Hub, Listener, Server};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::app::{self, App};
use crate::client::{Client, within};

#[tokio::test]
async fn port_0_is_a_free_port_that_can_be_read() {
    let app = App::start(Config::default()).await;
    assert_ne!(app.address.port(), 0);
    Client::open(app.address, "/").await.echo("hello").await;
}

/// Clients can connect as soon as the address can be read.
#[tokio::test]
async fn connections_wait_between_bind_and_run() {
    let (router, ..) = app::router(&Hub::new(Config::default()));
    let server = Server::new(router).bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(server.local_addr()).await;
    let running = tokio::spawn(server.run_until_drained());
    client.upgrade("/").await;
    running.abort();
}

#[tokio::test]
async fn the_peers_address_is_known_to_requests_and_connections() {
    let app = App::start(Config::default()).await;
    let mut client = Client::open(app.address, "/").await;
    let address = client.io.local_addr().unwrap();
    client.send(crate::client::TEXT, b"address").await;
    client.expect_text(&address.to_string()).await;

    let router = axum::Router::new().route(
        "/",
        axum::routing::get(
            async |axum::Extension(dreamsocket::PeerAddr(peer)): axum::Extension<_>| {
                peer.to_string()
            },
        ),
    );
    let server = Server::new(router).bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(server.local_addr()).await;
    let running = tokio::spawn(server.run_until_drained());
    let answer = client
        .request("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(answer.body, client.io.local_addr().unwrap().to_string());
    running.abort();
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_is_named_in_one_line() {
    let taken = app::listener().await;
    let address = taken.local_addr().unwrap();
    let bind = async |address: &str| {
        let server = Server::new(axum::Router::new());
        server.bind(address).await.map(|_| ()).unwrap_err()
    };
    let error = bind(&address.to_string()).await;
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let line = error.to_string();
    assert!(
        line.starts_with(&format!("cannot listen on {address}: ")),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);

    // TEST-NET-1 is nobody's address.
    let error = bind("192.0.2.1:80").await;
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    assert!(
        error
            .to_string()
            .starts_with("cannot listen on 192.0.2.1:80: ")
    );

    let error = bind("no port here").await;
    assert!(
        error
            .to_string()
            .starts_with("cannot resolve \"no port here\": "),
        "{error}"
    );
}

#[tokio::test]
async fn a_listener_of_the_standard_library_is_taken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (router, ..) = app::router(&Hub::new(Config::default()));
    let server = Server::new(router).listen_on(listener).unwrap();
    let address: SocketAddr = server.local_addr();
    let running = tokio::spawn(server.run_until_drained());
    Client::open(address, "/").await.echo("hello").await;
    running.abort();
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_are_served_and_drained() {
    let directory = std::env::temp_dir().join(format!("dreamsocket-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for is_std in [false, true] {
        let path = directory.join(format!("{is_std}.sock"));
        let hub = Hub::new(app::long());
        let (router, ..) = app::router(&hub);
        let server = Server::new(router).with_hub(hub.clone());
        let server = if is_std {
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            server.listen_on(listener).unwrap()
        } else {
            let listener = tokio::net::UnixListener::bind(&path).unwrap();
            server.listen_on(listener).unwrap()
        };
        assert_eq!(server.local_addr().as_pathname(), Some(&*path));
        let running = tokio::spawn(server.run_until_drained());
        let mut client = Client::new(tokio::net::UnixStream::connect(&path).await.unwrap());
        client.upgrade("/").await;
        client.echo("hello").await;
        client.send(crate::client::TEXT, b"address").await;
        client.expect_text("none").await;
        hub.drain();
        client.expect_close(1001).await;
        let report: DrainReport = within(running).await.unwrap().unwrap();
        assert_eq!((report.clean, report.cut), (1, 0));
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// A listener that hands out what a test gives it, errors included.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) accepts: mpsc::UnboundedReceiver<io::Result<DuplexStream>>,
    pub(crate) calls: Arc<AtomicUsize>,
}

impl Listener for Scripted {
    type Io = DuplexStream;
    type Addr = &'static str;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match self.accepts.recv().await {
            Some(accept) => Ok((accept?, Some(([192, 0, 2, 7], 1234).into()))),
            None => Err(io::Error::other("gone")),
        }
    }

    fn local_addr(&self) -> io::Result<&'static str> {
        Ok("memory")
    }
}

/// On the paused clock, so that pauses take no time and can be told from turns.
#[tokio::test(start_paused = true)]
async fn accepting_goes_on_after_errors_and_pauses_where_they_last() {
    let (script, accepts) = mpsc::unbounded_channel();
    let calls = Arc::new(AtomicUsize::new(0));
    let hub = Hub::new(Config::default());
    let (router, ..) = app::router(&hub);
    let listener = Scripted {
        accepts,
        calls: Arc::clone(&calls),
    };
    let server = Server::new(router)
        .with_hub(hub.clone())
        .listen_on(listener)
        .unwrap();
    assert_eq!(server.local_addr(), "memory");
    let running = tokio::spawn(server.run_until_drained());

    let started = tokio::time::Instant::now();
    let reset = || Err(io::ErrorKind::ConnectionReset.into());
    for _ in 0..1000 {
        script.send(reset()).unwrap();
    }
    let (client, io) = tokio::io::duplex(1024);
    script.send(Ok(io)).unwrap();
    let mut client = Client::new(client);
    client.upgrade("/").await;
    assert_eq!(
        started.elapsed().as_millis(),
        0,
        "no pause for the peers' errors"
    );
    client.send(crate::client::TEXT, b"address").await;
    client.expect_text("192.0.2.7:1234").await;

    // EMFILE: 24 where this is tested; any error that is not the peer's does as well.
    for _ in 0..10 {
        script.send(Err(io::Error::from_raw_os_error(24))).unwrap();
    }
    let (second, io) = tokio::io::duplex(1024);
    script.send(Ok(io)).unwrap();
    Client::new(second).upgrade("/").await;
    assert!(started.elapsed().as_millis() >= 1000, "ten pauses");

    // A listener that only fails is no busy loop, and does not keep a drain from coming through.
    drop(script);
    let before = calls.load(Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert!(calls.load(Ordering::Relaxed) - before <= 51);
    hub.drain();
    client.expect_close(1001).await;
    running.await.unwrap().unwrap();
}
