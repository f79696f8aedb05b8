//! SIGTERM while thousands of clients send: what was answered was processed, every `on_close` runs, the exit is clean.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use dreamsocket::{
    Action, BoxError, Closed, Config, Connection, Hub, Message, Selector, Server,
    continue_connection, upgrade_websocket,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{CLOSE, Client, TEXT, masked};
use crate::process::{Process, is_child};

/// How many clients send when the signal comes.
const CLIENTS: usize = 5_000;

/// How many wait for handlers that never return.
const HANGING: usize = 1_000;

/// How many messages of a client are under way at once.
const WINDOW: u64 = 4;

/// How many connect at once; the others wait, as the listener's queue is not endless.
const CONNECTING: usize = 200;

/// Makes a hang a failure. Long, since a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(180);

/// The default drain time. A client has as long as it wants to answer a close, since a busy machine is no bug.
fn config() -> Config {
    Config::default().with_close_time(Duration::from_secs(60))
}

// The server.

/// A line for each call of `on_close`.
type Lines = Arc<Mutex<Vec<String>>>;

struct Dependencies {
    client: usize,
    lines: Lines,
}

#[derive(Default)]
struct Served {
    /// How many messages `on_message` was given.
    processed: u64,
    /// How many answers the connection has accepted.
    answered: u64,
}

/// What a `main` does that counts.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn serve(config: Config) {
    let hub = Hub::new(config);
    let lines = Lines::default();
    let router = Router::new()
        .route("/{client}", any(websocket))
        .route("/hanging/{client}", any(hanging))
        .with_state(Arc::clone(&lines));
    let server = Server::new(router).with_hub(hub.clone());
    let server = server.bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", server.local_addr());
    let draining = hub.drain_on_signal();
    let since = tokio::spawn(async move {
        draining.await;
        Instant::now()
    });
    let report = server.run().await.unwrap();
    let since = since.await.unwrap();
    println!("{report} within {} ms", since.elapsed().as_millis());
    println!("opened {}", hub.counts().opened());
    for line in lines.lock().unwrap().iter() {
        println!("{line}");
    }
}

async fn websocket(
    State(lines): State<Lines>,
    Path(client): Path<usize>,
    request: Request,
) -> Response {
    let dependencies = Dependencies { client, lines };
    upgrade_websocket(request, dependencies, on_init, on_message, on_close)
}

async fn hanging(
    State(lines): State<Lines>,
    Path(client): Path<usize>,
    request: Request,
) -> Response {
    let dependencies = Dependencies { client, lines };
    upgrade_websocket(request, dependencies, on_init, hang, on_close)
}

async fn on_init(_: &Connection, _: &Dependencies) -> (Served, Option<Selector>) {
    (Served::default(), None)
}

async fn on_message(
    served: &mut Served,
    message: Message,
    connection: &Connection,
    _: &Dependencies,
) -> Result<Action, BoxError> {
    if let Message::Text(text) = message {
        served.processed += 1;
        connection.send_text(text).await?;
        served.answered += 1;
    }
    Ok(continue_connection())
}

/// Answers the first message, and never comes to an end.
async fn hang(
    served: &mut Served,
    message: Message,
    connection: &Connection,
    dependencies: &Dependencies,
) -> Result<Action, BoxError> {
    let _ = on_message(served, message, connection, dependencies).await?;
    std::future::pending().await
}

async fn on_close(served: Served, closed: Closed, dependencies: &Dependencies) {
    let line = format!(
        "closed {} {} {} {}",
        dependencies.client, served.processed, served.answered, closed.cause
    );
    dependencies.lines.lock().unwrap().push(line);
}

// The clients.

/// What they have in common.
struct Crowd {
    address: SocketAddr,
    path: &'static str,
    connecting: Semaphore,
    /// How many are there, how many have had their first answer, and how many were told 1001.
    open: watch::Sender<usize>,
    answered: watch::Sender<usize>,
    told: watch::Sender<usize>,
}

/// Each client, and how many answers it got.
type Clients = JoinSet<(usize, u64)>;

impl Crowd {
    fn start(address: SocketAddr, path: &'static str, clients: usize) -> (Arc<Self>, Clients) {
        let crowd = Arc::new(Self {
            address,
            path,
            connecting: Semaphore::new(CONNECTING),
            open: watch::Sender::new(0),
            answered: watch::Sender::new(0),
            told: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let crowd = Arc::clone(&crowd);
            tasks.spawn(async move { (number, crowd.send(number, clients).await) });
        }
        (crowd, tasks)
    }

    /// Once all are there, sends numbers as fast as they come back, until the server closes; how many came back.
    async fn send(&self, number: usize, clients: usize) -> u64 {
        let path = format!("{}{number}", self.path);
        let permit = self.connecting.acquire().await.unwrap();
        let mut client = Client::open(self.address, &path).await;
        drop(permit);
        self.open.send_modify(|open| *open += 1);
        until(&self.open, clients).await;
        let mut sent = 0;
        let mut answered = 0;
        loop {
            while sent < answered + WINDOW {
                let text = masked(TEXT, sent.to_string().as_bytes());
                // The server may be gone; then there is no next frame.
                let _ = client.io.write_all(&text).await;
                sent += 1;
            }
            let frame = client
                .frame()
                .await
                .expect("a close frame, not just the end");
            if frame.opcode == CLOSE {
                assert_eq!(frame.payload[..2], 1001_u16.to_be_bytes());
                self.told.send_modify(|told| *told += 1);
                let answer = masked(CLOSE, &frame.payload[..2]);
                let _ = client.io.write_all(&answer).await;
                while client.read().await.unwrap_or(false) {}
                return answered;
            }
            assert_eq!(frame.payload, answered.to_string().as_bytes());
            answered += 1;
            if answered == 1 {
                self.answered.send_modify(|answered| *answered += 1);
            }
        }
    }
}

async fn until(counter: &watch::Sender<usize>, count: usize) {
    let mut counter = counter.subscribe();
    counter.wait_for(|counted| *counted == count).await.unwrap();
}

/// With a process of its own for the server.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn in_parent(test: impl Future<Output = ()>) {
    // Here, and in the server, which takes it over.
    let wanted = (CLIENTS + HANGING + 100) as u64;
    let limit = rlimit::increase_nofile_limit(wanted).unwrap();
    assert!(limit >= wanted, "a limit of {limit} open files is too low");
    tokio::time::timeout(PATIENCE, test).await.unwrap();
}

/// L2, L6: nothing was cut, so the drain was over within its time; and each client got exactly those answers that its
/// connection had accepted.
#[test]
fn what_was_answered_was_processed_and_every_on_close_ran() {
    if is_child() {
        return serve(config());
    }
    in_parent(async {
        let test = "drain_under_load::what_was_answered_was_processed_and_every_on_close_ran";
        let process = Process::start(test);
        let (crowd, tasks) = Crowd::start(process.address, "/", CLIENTS);
        until(&crowd.answered, CLIENTS).await;
        process.signal("TERM");
        let answered = tasks.join_all().await;
        let said = process.ended().await;

        assert!(
            said.contains(&format!("{CLIENTS} WebSockets ended cleanly, 0 were cut"))
                && said.contains(&format!("\nopened {CLIENTS}\n")),
            "{said}"
        );
        let lines = said.lines().filter(|line| line.starts_with("closed "));
        let lines: Vec<_> = lines.map(Line::parse).collect();
        assert_eq!(lines.len(), CLIENTS, "one on_close for each");
        let lines: BTreeMap<_, _> = lines.iter().map(|line| (line.client, line)).collect();
        for (client, answered) in &answered {
            let line = lines[client];
            assert_eq!(
                (line.answered, line.cause),
                (*answered, "drained"),
                "{client}"
            );
            // The one in whose handler the close came.
            assert!(line.processed - line.answered <= 1, "{client}");
        }
        let sum: u64 = answered.iter().map(|(_, answered)| answered).sum();
        println!(
            "{CLIENTS} clients, {sum} answers; {}",
            said.lines().next().unwrap_or("")
        );
    });
}

/// What the server says of one client.
struct Line<'a> {
    client: usize,
    processed: u64,
    answered: u64,
    cause: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let words: Vec<_> = line.split(' ').collect();
        Self {
            client: words[1].parse().unwrap(),
            processed: words[2].parse().unwrap(),
            answered: words[3].parse().unwrap(),
            cause: words[4],
        }
    }
}

/// The drain time is an hour here, and no handler comes to its end: only the second signal can be what ends it.
#[test]
fn a_second_signal_ends_at_once_whatever_thousands_do() {
    if is_child() {
        return serve(config().with_drain_time(Duration::from_secs(3600)));
    }
    in_parent(async {
        let test = "drain_under_load::a_second_signal_ends_at_once_whatever_thousands_do";
        let process = Process::start(test);
        let (crowd, tasks) = Crowd::start(process.address, "/hanging/", HANGING);
        until(&crowd.answered, HANGING).await;
        process.signal("TERM");
        until(&crowd.told, HANGING).await;
        process.signal("TERM");
        let said = process.ended().await;
        let report = format!("0 WebSockets ended cleanly, {HANGING} were cut");
        assert!(said.contains(&report), "{said}");
        assert!(
            tasks
                .join_all()
                .await
                .iter()
                .all(|(_, answered)| *answered == 1)
        );
    });
}
