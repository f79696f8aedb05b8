//! What is attacked: a WebSocket that echoes, and some that are slow. It counts how connections ended.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::io::BufRead;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use dreamsocket::{
    Action, BoxError, Cause, Closed, Config, Connection, Fault, Hub, Message, Selector, Server,
    Tls, continue_connection, upgrade_websocket,
};
use http::StatusCode;
use hyper::body::Frame;

/// How WebSockets ended, by what `on_close` was told.
type Ends = Arc<Mutex<BTreeMap<String, u64>>>;

/// The server in its own process. It ends with its standard input.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve(config: Config, tls: Option<Tls>) {
    let hub = Hub::new(config);
    let ends = Ends::default();
    let router = Router::new()
        .route("/", any(echoing))
        .route("/hanging", any(hanging))
        .route("/endless", any(endless))
        .with_state(Arc::clone(&ends));
    let mut server = Server::new(router).with_hub(hub.clone());
    if let Some(tls) = tls {
        server = server.tls(tls);
    }
    let server = server.bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", server.local_addr());
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines() {
            println!("report:{}", report(&hub, &ends));
        }
        std::process::exit(0);
    });
    server.run_until_drained().await.unwrap();
}

/// Everything that was counted and is not zero, and the memory in bytes.
fn report(hub: &Hub, ends: &Ends) -> String {
    let counts = hub.counts();
    let mut report = ends.lock().unwrap().clone();
    report.insert("opened".into(), counts.opened());
    report.insert("resident".into(), memory("VmRSS:"));
    report.insert("peak".into(), memory("VmHWM:"));
    for cause in [
        Cause::Peer,
        Cause::Stopped,
        Cause::Failed,
        Cause::Panicked,
        Cause::Lost,
        Cause::Protocol,
        Cause::Limit,
        Cause::Lagged,
        Cause::Drained,
        Cause::TimedOut,
    ] {
        report.insert(format!("closed {cause}"), counts.closed(cause));
    }
    for status in [400, 403, 405, 426, 429, 500, 501, 503] {
        let count = counts.refused(StatusCode::from_u16(status).unwrap());
        report.insert(format!("refused {status}"), count);
    }
    for fault in [Fault::Slow, Fault::Tls, Fault::Http, Fault::Crowded] {
        report.insert(format!("fault {fault:?}"), counts.faults(fault));
    }
    let entries = report.iter().filter(|(_, count)| **count > 0);
    entries
        .map(|(name, count)| format!("{name}={count};"))
        .collect()
}

/// A line of /proc/self/status.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

async fn echoing(State(ends): State<Ends>, request: Request) -> Response {
    upgrade_websocket(request, ends, on_init, on_message, on_close)
}

async fn hanging(State(ends): State<Ends>, request: Request) -> Response {
    upgrade_websocket(request, ends, hang, on_message, on_close)
}

async fn endless() -> Body {
    Body::new(Endless)
}

/// More than anybody reads.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = Bytes::from_static(&[b'x'; 16 * 1024]);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

async fn on_init(_: &Connection, _: &Ends) -> ((), Option<Selector>) {
    ((), None)
}

async fn hang(_: &Connection, _: &Ends) -> ((), Option<Selector>) {
    pending().await
}

async fn on_message(
    _: &mut (),
    message: Message,
    connection: &Connection,
    _: &Ends,
) -> Result<Action, BoxError> {
    match message {
        Message::Text(text) => match &*text {
            "hang" => pending().await,
            // As much as the peer takes, and more. No zeros: memory that is only zeros may be none.
            "fill" => loop {
                connection.send_binary(vec![b'x'; 64 * 1024]).await?;
            },
            _ => connection.send_text(text).await?,
        },
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        _ => {}
    }
    Ok(continue_connection())
}

async fn on_close((): (), closed: Closed, ends: &Ends) {
    let end = format!("on_close {} {}", closed.cause, u16::from(closed.code));
    *ends.lock().unwrap().entry(end).or_default() += 1;
}
