//! The end: what a drain gives to clients, to handlers, and to whoever waits for the report.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use dreamsocket::{Config, Hub, Server};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::app::{self, App, config, listener, long};
use crate::client::{CLOSE, Client, TEXT, handshake, within};

#[tokio::test]
async fn every_websocket_is_closed_with_1001_and_each_on_close_runs() {
    let mut app = App::start(long()).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::open(app.address, "/").await;
        client.echo("hello").await;
        clients.push(client);
    }
    assert_eq!(app.hub.connections(), 20);
    app.hub.drain();
    app.hub.drain();
    for client in &mut clients {
        client.expect_close(1001).await;
    }
    let report = app.ended().await;
    assert_eq!((report.clean, report.cut), (20, 0));
    assert_eq!(
        report.to_string(),
        "20 WebSockets ended cleanly, 0 were cut"
    );
    for _ in 0..20 {
        assert_eq!(app.note().await, "closed after 1: drained");
    }
    assert_eq!(app.hub.connections(), 0);
    assert!(
        TcpStream::connect(app.address).await.is_err(),
        "nobody listens any more"
    );
}

/// A peer that does not answer the close frame is not waited for longer than `close_time`.
#[tokio::test]
async fn a_peer_that_ignores_the_close_does_not_hold_the_drain_up() {
    let mut app = App::start(config()).await;
    let mut client = Client::open(app.address, "/").await;
    client.echo("hello").await;
    let report = app.drain().await;
    assert_eq!(
        (report.clean, report.cut),
        (1, 0),
        "all handlers came to their end"
    );
    assert_eq!(app.note().await, "closed after 1: drained");
}

#[tokio::test]
async fn a_running_handler_finishes_within_the_drain_time() {
    let mut app = App::start(long()).await;
    let mut client = Client::open(app.address, "/").await;
    client.send(TEXT, b"wait").await;
    assert_eq!(app.note().await, "waiting");
    app.hub.drain();
    client.expect_close(1001).await;
    app.gate.send_replace(true);
    assert_eq!(app.note().await, "waited");
    assert_eq!(app.note().await, "closed after 1: drained");
    let report = app.ended().await;
    assert_eq!((report.clean, report.cut), (1, 0));
}

#[tokio::test]
async fn l2_a_handler_that_never_returns_is_cut_and_counted_and_on_close_runs() {
    let mut app = App::start(config()).await;
    let mut hanging = Client::open(app.address, "/").await;
    let mut idle = Client::open(app.address, "/").await;
    idle.echo("hello").await;
    hanging.send(TEXT, b"hang").await;
    assert_eq!(app.note().await, "hanging");
    app.hub.drain();
    idle.expect_close(1001).await;
    hanging.expect_close(1001).await;
    let report = app.ended().await;
    assert_eq!((report.clean, report.cut), (1, 1));
    let mut notes = [app.note().await, app.note().await];
    notes.sort();
    assert_eq!(notes, ["closed after 1: drained"; 2]);
}

/// Without a state there is no `on_close`.
#[tokio::test]
async fn l2_an_on_init_that_never_returns_is_cut_and_counted() {
    let mut app = App::start(config()).await;
    let mut client = Client::open(app.address, "/hanging").await;
    assert_eq!(app.note().await, "hanging");
    app.hub.drain();
    client.expect_close(1001).await;
    let report = app.ended().await;
    assert_eq!((report.clean, report.cut), (0, 1));
    assert!(app.notes.try_recv().is_err());
}

/// The socket takes nothing any more, so neither the handler's sends nor the close frame can leave.
#[tokio::test]
async fn a_peer_that_never_reads_does_not_hold_the_drain_up() {
    let mut app = App::start(config().with_close_time(Duration::from_secs(2))).await;
    let mut client = Client::open(app.address, "/").await;
    client.send(TEXT, b"fill").await;
    assert_eq!(app.note().await, "filling");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let report = app.drain().await;
    assert_eq!(app.note().await, "closed after 1: drained");
    assert_eq!(
        (report.clean, report.cut),
        (0, 1),
        "its handler still waited for room"
    );
}

#[tokio::test]
async fn an_on_close_that_never_returns_is_cut_and_counted() {
    let mut app = App::start(config()).await;
    let mut client = Client::open(app.address, "/").await;
    for _ in 0..7 {
        client.echo("hello").await;
    }
    app.hub.drain();
    client.expect_close(1001).await;
    assert_eq!(app.note().await, "closed after 7: drained");
    let report = app.ended().await;
    assert_eq!((report.clean, report.cut), (0, 1));
}

#[tokio::test]
async fn l10_drained_awaited_in_a_handler_ends_with_the_drain_time() {
    let mut app = App::start(config()).await;
    let mut client = Client::open(app.address, "/").await;
    client.send(TEXT, b"drained").await;
    assert_eq!(app.note().await, "waiting");
    let report = app.drain().await;
    assert_eq!((report.clean, report.cut), (0, 1));
    assert_eq!(app.note().await, "closed after 1: drained");
}

#[tokio::test]
async fn a_request_that_is_being_answered_is_finished() {
    let mut app = App::start(long()).await;
    let mut idle = Client::connect(app.address).await;
    let hello = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(idle.request(hello).await.status, 200);
    let mut silent = Client::connect(app.address).await;
    let mut busy = Client::connect(app.address).await;
    busy.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(app.note().await, "waiting");
    app.hub.drain();
    idle.expect_end().await;
    silent.expect_end().await;
    app.gate.send_replace(true);
    let answer = busy.answer().await;
    assert_eq!(answer.body, "waited");
    assert_eq!(answer.header("connection"), "close");
    busy.expect_end().await;
    app.ended().await;
}

#[tokio::test]
async fn a_request_that_is_never_answered_ends_with_the_drain_time() {
    let mut app = App::start(config().with_close_time(Duration::from_secs(60))).await;
    let mut stuck = Client::connect(app.address).await;
    stuck
        .write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(app.note().await, "waiting");
    let mut half = Client::connect(app.address).await;
    half.write(b"GET /hello HT").await;
    let report = app.drain().await;
    assert_eq!(report.to_string(), "0 WebSockets ended cleanly, 0 were cut");
    stuck.expect_end().await;
    half.expect_end().await;
}

/// The 101 is on its way when the drain starts: it arrives, and so does the close.
#[tokio::test]
async fn an_upgrade_that_was_let_in_before_the_drain_gets_its_close() {
    let mut app = App::start(long()).await;
    let mut client = Client::connect(app.address).await;
    client
        .write((handshake("/late-response") + "\r\n").as_bytes())
        .await;
    assert_eq!(app.note().await, "waiting");
    app.hub.drain();
    app.gate.send_replace(true);
    assert_eq!(client.answer().await.status, 101);
    client.expect_close(1001).await;
    assert_eq!(app.note().await, "closed after 0: drained");
    assert_eq!(app.ended().await.clean, 1);
}

#[tokio::test]
async fn drain_spread_closes_one_after_the_other() {
    let spread = long().with_drain_spread(Duration::from_millis(800));
    let mut app = App::start(spread).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::open(app.address, "/").await);
    }
    for client in &mut clients {
        client.echo("before").await;
    }
    let started = Instant::now();
    app.hub.drain();
    // In which order is nobody's business.
    let mut closing = JoinSet::new();
    for mut client in clients {
        closing.spawn(async move {
            client.expect_close(1001).await;
            started.elapsed()
        });
    }
    let mut ends = within(closing.join_all()).await;
    ends.sort();
    // A timer never fires early, so this holds on any machine; that the first is closed at once is the next test's.
    for (index, end) in (0..).zip(ends) {
        assert!(
            end >= index * Duration::from_millis(200),
            "{index}: {end:?}"
        );
    }
    assert_eq!(app.ended().await.clean, 4);
}

/// A close of the application's own does not wait for its turn in a spread drain, and messages go on until then.
#[tokio::test]
async fn a_spread_drain_leaves_connections_working_until_their_turn() {
    let spread = long().with_drain_spread(Duration::from_secs(30));
    let mut app = App::start(spread).await;
    let mut first = Client::open(app.address, "/").await;
    let mut second = Client::open(app.address, "/").await;
    first.echo("before").await;
    second.echo("before").await;
    app.hub.drain();
    // One of the two is closed at once.
    let frame = tokio::select! {
        frame = first.frame() => frame,
        frame = second.frame() => {
            std::mem::swap(&mut first, &mut second);
            frame
        }
    };
    assert_eq!(frame.map(|frame| frame.opcode), Some(CLOSE));
    drop(first);
    assert_eq!(app.note().await, "closed after 1: drained");
    second.echo("still here").await;
    second.send(CLOSE, &1000_u16.to_be_bytes()).await;
    second.expect_close(1000).await;
    assert_eq!(app.note().await, "closed after 2: peer");
    assert_eq!(app.ended().await.clean, 2);
}

#[tokio::test]
async fn a_drain_without_a_server_and_without_connections_ends_at_once() {
    let hub = Hub::new(long());
    hub.drain();
    let report = within(hub.drained()).await;
    assert_eq!((report.clean, report.cut), (0, 0));
}

/// `Duration::MAX` is a way to say 'for ever' that must not overflow a clock.
#[tokio::test]
async fn the_longest_durations_are_fine() {
    let config = Config::default()
        .with_drain_time(Duration::MAX)
        .with_drain_spread(Duration::ZERO)
        .with_head_timeout(Duration::MAX);
    let mut app = App::start(config).await;
    let mut client = Client::open(app.address, "/").await;
    client.echo("hello").await;
    app.hub.drain();
    client.expect_close(1001).await;
    assert_eq!(app.ended().await.clean, 1);
}

/// Under axum's own server, whose graceful shutdown alone never returns while half a request is open.
#[tokio::test]
async fn hub_run_around_axum_serve_returns_with_half_a_request_open() {
    let hub = Hub::new(config());
    let (router, mut notes, _gate) = app::router(&hub);
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let running = tokio::spawn({
        let hub = hub.clone();
        async move {
            let server = axum::serve(listener, router.layer(hub.layer()))
                .with_graceful_shutdown(hub.drain_on_signal());
            hub.run(server).await
        }
    });
    let mut half = Client::connect(address).await;
    half.write(b"GET /hello HTTP/1.1\r\nHo").await;
    let mut client = Client::open(address, "/").await;
    client.echo("hello").await;
    hub.drain();
    client.expect_close(1001).await;
    let report = within(running).await.unwrap().unwrap();
    assert_eq!((report.clean, report.cut), (1, 0));
    assert_eq!(notes.recv().await.unwrap(), "closed after 1: drained");
}

/// A server that ends by itself starts the drain; its error is the result.
#[tokio::test]
async fn hub_run_drains_when_the_server_ends_and_returns_its_error() {
    let mut app = App::start(long()).await;
    let mut client = Client::open(app.address, "/").await;
    client.echo("hello").await;
    let hub = app.hub.clone();
    let running = tokio::spawn(async move {
        hub.run(async { Err(std::io::Error::other("the listener broke")) })
            .await
    });
    client.expect_close(1001).await;
    let error = within(running).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the listener broke");
    app.ended().await;
}

/// Dropping what `run` returned ends the HTTP side at once and leaves the WebSockets to the hub.
#[tokio::test]
async fn dropping_a_running_server_ends_its_http_connections() {
    let hub = Hub::new(long());
    let (router, mut notes, _gate) = app::router(&hub);
    let server = Server::new(router)
        .with_hub(hub.clone())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = server.local_addr();
    let running = tokio::spawn(server.run_until_drained());
    let mut websocket = Client::open(address, "/").await;
    let mut stuck = Client::connect(address).await;
    stuck
        .write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(notes.recv().await.unwrap(), "waiting");
    running.abort();
    stuck.expect_end().await;
    assert!(TcpStream::connect(address).await.is_err());
    websocket.echo("still here").await;
    hub.drain();
    websocket.expect_close(1001).await;
    assert_eq!(within(hub.drained()).await.clean, 1);
}

/// Accepting is a task of its own, but its listener does not outlive what `run` returned, nor the start of a drain.
#[tokio::test]
async fn the_listener_is_closed_at_once() {
    for is_dropped in [true, false] {
        let hub = Hub::new(long());
        let (router, ..) = app::router(&hub);
        let server = Server::new(router).with_hub(hub.clone());
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr();
        let connect = || std::net::TcpStream::connect(address);
        let mut running = Box::pin(server.run_until_drained());
        assert!(poll_once(running.as_mut()).await.is_none());
        assert!(connect().is_ok());
        if is_dropped {
            drop(running);
        } else {
            hub.drain();
            let _ = poll_once(running.as_mut()).await;
        }
        // Nothing else ran in this thread meanwhile.
        assert!(connect().is_err());
    }
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| match Pin::new(&mut future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Two servers, one hub: one drain ends both.
#[tokio::test]
async fn servers_can_share_a_hub() {
    let hub = Hub::new(long());
    let mut servers = Vec::new();
    for _ in 0..2 {
        let (router, ..) = app::router(&hub);
        let server = Server::new(router).with_hub(hub.clone());
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let mut client = Client::connect(server.local_addr()).await;
        let running = tokio::spawn(server.run_until_drained());
        client.upgrade("/").await;
        servers.push((client, running));
    }
    assert_eq!(hub.connections(), 2);
    hub.drain();
    for (client, _) in &mut servers {
        client.expect_close(1001).await;
    }
    for (_, running) in servers {
        assert_eq!(within(running).await.unwrap().unwrap().clean, 2);
    }
}
