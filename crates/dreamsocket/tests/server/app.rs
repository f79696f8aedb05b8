//! What the tests serve: a WebSocket whose messages say what its handler does.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use dreamsocket::{
    Action, BoxError, Closed, Config, Connection, DrainReport, Hub, Message, Selector, Server,
    continue_connection, upgrade_websocket,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::within;

/// How many bytes the answer at `/large` has: more than any buffer.
pub(crate) const LARGE: usize = 640 * 1024;

/// Short bounds, so that what must end does so soon.
pub(crate) fn config() -> Config {
    Config::default()
        .with_drain_time(Duration::from_millis(500))
        .with_close_time(Duration::from_millis(500))
}

/// Bounds that no test comes to: what ends does so for another reason.
pub(crate) fn long() -> Config {
    Config::default()
        .with_drain_time(Duration::from_secs(60))
        .with_close_time(Duration::from_secs(60))
}

#[derive(Clone)]
pub(crate) struct Dependencies {
    hub: Hub,
    /// What handlers note.
    notes: UnboundedSender<String>,
    /// What `wait` waits for.
    gate: watch::Receiver<bool>,
}

/// A server under test, and what its handlers note.
pub(crate) struct App {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) hub: Hub,
    pub(crate) notes: UnboundedReceiver<String>,
    /// True lets waiting handlers go on.
    pub(crate) gate: watch::Sender<bool>,
    running: JoinHandle<std::io::Result<DrainReport>>,
}

impl App {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_with(config, |server| server).await
    }

    pub(crate) async fn start_with(
        config: Config,
        change: impl FnOnce(Server<Router>) -> Server<Router>,
    ) -> Self {
        let hub = Hub::new(config);
        let (router, notes, gate) = router(&hub);
        let server = change(Server::new(router).with_hub(hub.clone()))
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        Self {
            address: server.local_addr(),
            hub,
            notes,
            gate,
            running: tokio::spawn(server.run_until_drained()),
        }
    }

    pub(crate) async fn note(&mut self) -> String {
        within(self.notes.recv()).await.unwrap()
    }

    pub(crate) async fn ended(&mut self) -> DrainReport {
        within(&mut self.running).await.unwrap().unwrap()
    }

    pub(crate) async fn drain(&mut self) -> DrainReport {
        self.hub.drain();
        self.ended().await
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.running.abort();
    }
}

pub(crate) fn router(hub: &Hub) -> (Router, UnboundedReceiver<String>, watch::Sender<bool>) {
    let (sender, notes) = unbounded_channel();
    let (gate, receiver) = watch::channel(false);
    let dependencies = Dependencies {
        hub: hub.clone(),
        notes: sender,
        gate: receiver,
    };
    let router = Router::new()
        .route("/", any(websocket))
        .route("/hanging", any(hanging))
        .route("/hello", get(async || "hello"))
        .route("/large", get(async || "x".repeat(LARGE)))
        .route("/wait", get(wait))
        .route("/late", any(late))
        .route("/late-response", any(late_response))
        .route("/panic", get(panics))
        .with_state(dependencies);
    (router, notes, gate)
}

async fn wait(State(mut dependencies): State<Dependencies>) -> &'static str {
    dependencies.notes.send("waiting".into()).unwrap();
    dependencies.gate.wait_for(|open| *open).await.unwrap();
    "waited"
}

/// Decides to upgrade only when the gate opens.
async fn late(State(dependencies): State<Dependencies>, request: Request) -> Response {
    wait(State(dependencies.clone())).await;
    websocket(State(dependencies), request).await
}

/// Upgrades at once, and sends the answer when the gate opens, as a middleware may do.
async fn late_response(State(dependencies): State<Dependencies>, request: Request) -> Response {
    let response = websocket(State(dependencies.clone()), request).await;
    wait(State(dependencies)).await;
    response
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

async fn websocket(State(dependencies): State<Dependencies>, request: Request) -> Response {
    upgrade_websocket(request, dependencies, on_init, on_message, on_close)
}

async fn on_init(_: &Connection, _: &Dependencies) -> (u32, Option<Selector>) {
    (0, None)
}

async fn hanging(State(dependencies): State<Dependencies>, request: Request) -> Response {
    upgrade_websocket(request, dependencies, hang, on_message, on_close)
}

/// An `on_init` that never ends.
async fn hang(_: &Connection, dependencies: &Dependencies) -> (u32, Option<Selector>) {
    let _ = dependencies.notes.send("hanging".into());
    std::future::pending().await
}

async fn on_message(
    count: &mut u32,
    message: Message,
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<Action, BoxError> {
    let Message::Text(text) = message else {
        return Ok(continue_connection());
    };
    *count += 1;
    match &*text {
        "hang" => {
            dependencies.notes.send("hanging".into())?;
            let never: Infallible = std::future::pending().await;
            match never {}
        }
        "wait" => {
            dependencies.notes.send("waiting".into())?;
            dependencies.gate.clone().wait_for(|open| *open).await?;
            dependencies.notes.send("waited".into())?;
        }
        "drained" => {
            dependencies.notes.send("waiting".into())?;
            let report = dependencies.hub.drained().await;
            dependencies.notes.send(format!("drained: {report}"))?;
        }
        "fill" => {
            dependencies.notes.send("filling".into())?;
            loop {
                connection.send_binary(vec![0; 64 * 1024]).await?;
            }
        }
        "drain" => dependencies.hub.drain(),
        "panic" => panic!("on purpose"),
        "address" => {
            let address = connection.peer_addr().map(|address| address.to_string());
            connection
                .send_text(address.unwrap_or_else(|| "none".into()))
                .await?;
        }
        _ => connection.send_text(text).await?,
    }
    Ok(continue_connection())
}

async fn on_close(count: u32, closed: Closed, dependencies: &Dependencies) {
    let _ = dependencies
        .notes
        .send(format!("closed after {count}: {}", closed.cause));
    if count == 7 {
        // More than `close_time`.
        std::future::pending::<()>().await;
    }
}

/// A listener on a free port of this machine.
pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}
