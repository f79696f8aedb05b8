//! The bounds of HTTP: how long a head may take, how large it may be, how many sockets there may be.

use std::sync::Arc;
use std::time::Duration;

use dreamsocket::{Fault, Hub, Server};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::app::{self, App, config, long};
use crate::client::{CLOSE, Client, handshake};
use crate::listeners::Scripted;

#[tokio::test]
async fn a_client_that_sends_its_head_slowly_is_cut_off() {
    let app = App::start(long().with_head_timeout(Duration::from_millis(300))).await;
    // One says nothing at all, one stops after half a head, one goes on and on byte by byte.
    let mut mute = Client::connect(app.address).await;
    let mut half = Client::connect(app.address).await;
    half.write(b"GET / HTTP/1.1\r\nHost: loc").await;
    let slow = Client::connect(app.address).await;
    let (_, mut writer) = slow.io.into_split();
    let dripping = async {
        for byte in b"GET / HTTP/1.1\r\nX: "
            .iter()
            .chain(std::iter::repeat(&b'x'))
        {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    crate::client::within(dripping).await;
    mute.expect_end().await;
    half.expect_end().await;
}

#[tokio::test]
async fn an_idle_connection_is_kept_alive_only_as_long_as_a_head_may_take() {
    let app = App::start(long().with_head_timeout(Duration::from_millis(300))).await;
    let mut client = Client::connect(app.address).await;
    let request = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(client.request(request).await.body, "hello");
    assert_eq!(client.request(request).await.body, "hello");
    client.expect_end().await;
    // What every browser does is nobody's fault; half a head is.
    assert_eq!(app.hub.counts().faults(Fault::Slow), 0);
    let mut client = Client::connect(app.address).await;
    assert_eq!(client.request(request).await.body, "hello");
    client.write(b"GET / HTTP/1.1\r\nHost: loc").await;
    client.expect_end().await;
    assert_eq!(app.hub.counts().faults(Fault::Slow), 1);
}

/// What tells HTTP/1.1 from HTTP/2 is a part of the head.
#[tokio::test(start_paused = true)]
async fn the_first_byte_does_not_begin_the_time_anew() {
    let hub = Hub::new(long().with_head_timeout(Duration::from_secs(10)));
    let (router, ..) = app::router(&hub);
    let (script, accepts) = mpsc::unbounded_channel();
    let listener = Scripted {
        accepts,
        calls: Arc::default(),
    };
    let server = Server::new(router).with_hub(hub.clone());
    let running = tokio::spawn(server.listen_on(listener).unwrap().run_until_drained());
    let hello = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let (client, io) = tokio::io::duplex(1024);
    script.send(Ok(io)).unwrap();
    let mut slow = Client::new(client);
    let (client, io) = tokio::io::duplex(1024);
    script.send(Ok(io)).unwrap();
    let mut in_time = Client::new(client);
    let started = Instant::now();
    sleep(Duration::from_secs(9)).await;
    slow.write(&hello[..1]).await;
    in_time.write(&hello[..1]).await;
    in_time.write(&hello[1..]).await;
    assert_eq!(in_time.answer().await.body, "hello");
    slow.expect_end().await;
    assert_eq!(started.elapsed().as_secs(), 10);
    assert_eq!(hub.counts().faults(Fault::Slow), 1);
    // The next head has its own time.
    sleep(Duration::from_secs(5)).await;
    in_time.write(hello).await;
    assert_eq!(in_time.answer().await.body, "hello");
    running.abort();
}

/// The head's timeout is over with the head: neither a slow handler nor a WebSocket is cut off.
#[tokio::test]
async fn only_the_head_is_timed() {
    let mut app = App::start(long().with_head_timeout(Duration::from_millis(100))).await;
    let mut websocket = Client::open(app.address, "/").await;
    let mut client = Client::connect(app.address).await;
    client
        .write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(app.note().await, "waiting");
    tokio::time::sleep(Duration::from_millis(400)).await;
    app.gate.send_replace(true);
    assert_eq!(client.answer().await.body, "waited");
    websocket.echo("still here").await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    for (max_head, size, status) in [
        (1000, 1000, 101),
        (1000, 1001, 431),
        (16 * 1024, 16 * 1024, 101),
        (16 * 1024, 16 * 1024 + 1, 431),
        (40 * 1024, 40 * 1024, 101),
        (40 * 1024, 40 * 1024 + 1, 431),
        // Larger than any buffer: what is not read must not keep the answer from the client.
        (1000, 50_000, 431),
    ] {
        let app = App::start(config().with_max_head(max_head)).await;
        let mut request = handshake("/") + "X-Filler: ";
        request += &"x".repeat(size - request.len() - 4);
        request += "\r\n\r\n";
        let mut client = Client::connect(app.address).await;
        let answer = client.request(&request).await;
        assert_eq!(answer.status, status, "{size} bytes with {max_head}");
    }
}

#[tokio::test]
async fn too_many_headers_are_431() {
    let app = App::start(config()).await;
    let request = handshake("/") + &"X: x\r\n".repeat(100) + "\r\n";
    let answer = Client::connect(app.address).await.request(&request).await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn accepting_pauses_at_the_cap_and_goes_on() {
    let app = App::start(long().with_max_sockets(2)).await;
    let mut websocket = Client::open(app.address, "/").await;
    let mut http = Client::connect(app.address).await;
    let hello = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(http.request(hello).await.status, 200);

    // Both places are taken: by a socket that hyper serves, and by one that is a session's. The system takes the
    // third, and nobody answers.
    let mut third = Client::connect(app.address).await;
    third.write(hello.as_bytes()).await;
    websocket.echo("the others go on").await;
    assert_eq!(http.request(hello).await.status, 200);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), third.answer())
            .await
            .is_err()
    );

    assert!(app.hub.counts().accept_pauses() >= 1);

    // An HTTP connection that ends makes room.
    drop(http);
    assert_eq!(third.answer().await.body, "hello");
    let mut fourth = Client::connect(app.address).await;
    fourth.write(hello.as_bytes()).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(200), fourth.answer())
            .await
            .is_err()
    );

    // So does a WebSocket.
    websocket.send(CLOSE, &1000_u16.to_be_bytes()).await;
    websocket.expect_close(1000).await;
    assert_eq!(fourth.answer().await.body, "hello");
}

/// A drain gets through while accepting pauses.
#[tokio::test]
async fn a_drain_ends_a_server_at_its_cap() {
    let mut app = App::start(long().with_max_sockets(1)).await;
    let mut websocket = Client::open(app.address, "/").await;
    let mut waiting = Client::connect(app.address).await;
    websocket.echo("full").await;
    app.hub.drain();
    websocket.expect_close(1001).await;
    assert_eq!(app.ended().await.clean, 1);
    waiting.expect_end().await;
}
