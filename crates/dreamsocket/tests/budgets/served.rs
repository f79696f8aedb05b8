//! What is served: echoes, with nothing, with a topic and with a state that is large.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use dreamsocket::{
    Action, Broadcaster, Compression, Config, Connection, Hub, Message, Selector, SendError,
    Server, Topic, continue_connection, upgrade_websocket,
};
use tokio::sync::Notify;

use crate::ALLOCATOR;

/// Bytes of the state of `/state`.
pub(crate) const STATE: usize = 1000;

/// How often all that is ready gets its turn before something is counted.
const TURNS: usize = 100;

/// The server in its own process. It ends with its standard input.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve() {
    let config = Config::default()
        .with_compression(Compression::shared())
        // On, and longer than any test takes, also on a machine that is busy.
        .with_heartbeat(Some(Duration::from_secs(3600)))
        .with_max_connections(usize::MAX)
        .with_max_sockets(usize::MAX);
    let hub = Hub::new(config);
    let router = Router::new()
        .route("/", any(echoing))
        .route("/state", any(with_state))
        .route("/topic", any(with_topic))
        .with_state(Broadcaster::new().topic("news"));
    let server = Server::new(router).with_hub(hub.clone());
    let server = server.bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", server.local_addr());
    let asked = Arc::new(Notify::new());
    tokio::spawn(answer(hub, Arc::clone(&asked)));
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).unwrap() > 0 {
            line.clear();
            asked.notify_one();
        }
        std::process::exit(0);
    });
    server.run_until_drained().await.unwrap();
}

/// Reports, when asked to, what is counted once everything that is ready has had its turn.
async fn answer(hub: Hub, asked: Arc<Notify>) {
    loop {
        asked.notified().await;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let stats = ALLOCATOR.stats();
        let live = stats.bytes_allocated - stats.bytes_deallocated;
        let allocations = stats.allocations + stats.reallocations;
        println!("report: {} {live} {allocations}", hub.connections());
    }
}

async fn echoing(request: Request) -> Response {
    upgrade_websocket(request, (), on_init, on_message, on_close)
}

async fn on_init(_: &Connection, (): &()) -> ((), Option<Selector>) {
    ((), None)
}

async fn with_state(request: Request) -> Response {
    upgrade_websocket(request, (), on_init_with_state, on_message, on_close)
}

async fn on_init_with_state(_: &Connection, (): &()) -> ([u8; STATE], Option<Selector>) {
    ([1; STATE], None)
}

async fn on_message<S, D>(
    _: &mut S,
    message: Message,
    connection: &Connection,
    _: &D,
) -> Result<Action, SendError> {
    match message {
        Message::Text(text) => connection.send_text(text).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        _ => {}
    }
    Ok(continue_connection())
}

async fn on_close<S, D>(_: S, _: &D) {}

async fn with_topic(State(topic): State<Topic<u64>>, request: Request) -> Response {
    upgrade_websocket(request, topic, subscribe, on_news, on_close)
}

async fn subscribe(_: &Connection, topic: &Topic<u64>) -> ((), Option<Selector<u64>>) {
    ((), Some(topic.subscribe().into()))
}

async fn on_news(
    (): &mut (),
    message: Message<u64>,
    connection: &Connection,
    _: &Topic<u64>,
) -> Result<Action<u64>, SendError> {
    match message {
        Message::Text(text) => connection.send_text(text).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        Message::Custom(number) => connection.send_text(number.to_string()).await?,
        _ => {}
    }
    Ok(continue_connection())
}
