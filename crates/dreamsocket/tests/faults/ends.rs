//! The two ends: a client that sends numbered messages, and a server that sends each back. Both check that what comes is the
//! next one and whole, and write down how it ends.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use dreamsocket::client::{Connect, ConnectError, Connected};
use dreamsocket::{
    Action, Closed, Compression, Config, Connection, Hub, Message, Selector, SendError, Server,
    Text, continue_connection, stop_connection, upgrade_websocket,
};

use crate::book::{Book, Seen, Side};

/// How many messages of a client are under way at once.
const WINDOW: u64 = 8;

/// Makes a hang a failure. Long, since a busy machine is no bug.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(Duration::from_secs(120), future).await {
            Ok(output) => output,
            Err(_) => panic!("still waiting at {caller}"),
        }
    }
}

/// Both ends find out within some seconds that the other is gone.
pub(crate) fn config() -> Config {
    Config::default()
        .with_heartbeat(Some(Duration::from_secs(2)))
        .with_compression(Compression::shared())
}

/// A server whose ends write into this book.
pub(crate) async fn serve(book: Book) -> (SocketAddr, Hub) {
    let router = Router::new()
        .route("/{client}", any(websocket))
        .with_state(book);
    let server = Server::new(router).with_config(config());
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let (address, hub) = (server.local_addr(), server.hub().clone());
    tokio::spawn(server.run_until_drained());
    (address, hub)
}

async fn websocket(
    State(book): State<Book>,
    Path(client): Path<u64>,
    request: Request,
) -> Response {
    let end = End {
        book,
        side: Side::Server,
        client,
        messages: u64::MAX,
    };
    upgrade_websocket(request, end, on_init, on_message, on_close)
}

/// What the handlers of one end need.
#[derive(Debug, Clone)]
struct End {
    book: Book,
    side: Side,
    client: u64,
    /// How many messages the client wants back before it stops.
    messages: u64,
}

/// A client of this number, which stops when so many messages have come back. It connects to `address` as the change says.
pub(crate) async fn connect(
    book: &Book,
    address: SocketAddr,
    client: u64,
    messages: u64,
    change: impl FnOnce(Connect) -> Connect,
) -> Result<Connected, ConnectError> {
    let end = End {
        book: book.clone(),
        side: Side::Client,
        client,
        messages,
    };
    let connect = Connect::new(format!("ws://{address}/{client}"))
        .with_config(config())
        .with_handshake_timeout(Duration::from_secs(6));
    let running = change(connect).run(end, on_init, on_message, on_close);
    within(running).await
}

/// How far an end is.
struct Run {
    /// Which of the client's connections this is, at this end.
    connection: usize,
    /// The number of the next message.
    next: u64,
}

/// The client's message of this number: short ones and long ones, none of which compresses well.
fn message(client: u64, number: u64) -> String {
    let mut text = format!("{number}:");
    let mut word = client << 32 | number;
    for _ in 0..1 + number * 7 % 60 {
        // Knuth's, of MMIX.
        word = word
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{word:016x}"));
    }
    text
}

async fn on_init(connection: &Connection, end: &End) -> Result<(Run, Option<Selector>), SendError> {
    let run = Run {
        connection: end.book.begin(end.side, end.client),
        next: 0,
    };
    if end.side == Side::Client {
        for number in 0..WINDOW.min(end.messages) {
            send(connection, message(end.client, number)).await?;
        }
    }
    Ok((run, None))
}

async fn on_message(
    run: &mut Run,
    message: Message,
    connection: &Connection,
    end: &End,
) -> Result<Action, SendError> {
    match message {
        Message::Text(text) => {
            let expected = self::message(end.client, run.next);
            run.next += 1;
            end.write(run, |seen| {
                if seen.told > 0 || text.as_str() != expected {
                    seen.wrong.push(text.as_str().chars().take(40).collect());
                } else {
                    seen.received += 1;
                }
            });
            if end.side == Side::Server {
                send(connection, text).await?;
            } else if run.next == end.messages {
                return Ok(stop_connection());
            } else if run.next + WINDOW <= end.messages {
                let next = self::message(end.client, run.next + WINDOW - 1);
                send(connection, next).await?;
            }
        }
        Message::ConnectionClosed(_) => end.write(run, |seen| seen.told += 1),
        other => end.write(run, |seen| seen.wrong.push(format!("{other:?}"))),
    }
    Ok(continue_connection())
}

/// That the connection is over is no error here, or `ConnectionClosed` would not come (L5).
async fn send(connection: &Connection, text: impl Into<Text>) -> Result<(), SendError> {
    match connection.send_text(text).await {
        Err(error) if error.is_closed() => Ok(()),
        sent => sent,
    }
}

async fn on_close(run: Run, closed: Closed, end: &End) {
    end.write(&run, |seen| seen.closes.push(closed));
}

impl End {
    fn write(&self, run: &Run, change: impl FnOnce(&mut Seen)) {
        self.book
            .write(self.side, self.client, run.connection, change);
    }
}
