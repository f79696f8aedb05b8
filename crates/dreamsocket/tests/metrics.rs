//! Every metric that there is, by traffic of each kind, beside the page that lists them.

#![expect(clippy::unwrap_used, reason = "a test that fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::any;
use dreamsocket::client::Connect;
use dreamsocket::metrics::Sampler;
use dreamsocket::testing::{Builder, settle};
use dreamsocket::{
    Action, Broadcaster, ChannelOptions, Config, Connection, Hub, Message, Presence, Rate,
    Selector, SendError, Server, Topic, Upgrade, continue_connection,
};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Type and unit.
type Described = (&'static str, Option<Unit>);

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Kept {
    described: Arc<Mutex<BTreeMap<String, Described>>>,
    values: Arc<Mutex<BTreeMap<Key, Arc<Value>>>>,
}

/// What a counter or gauge shows, or how often a histogram has recorded; and whether it was ever anything but 0.
#[derive(Default)]
struct Value {
    bits: AtomicU64,
    moved: AtomicU64,
}

impl Value {
    fn change(&self, change: impl Fn(f64) -> f64) {
        let value = change(f64::from_bits(self.bits.load(Ordering::SeqCst)));
        self.bits.store(value.to_bits(), Ordering::SeqCst);
        self.moved
            .fetch_or(u64::from(value != 0.0), Ordering::SeqCst);
    }
}

impl CounterFn for Value {
    fn increment(&self, value: u64) {
        self.change(|before| before + value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|_| value as f64);
    }
}

impl GaugeFn for Value {
    fn increment(&self, value: f64) {
        self.change(|before| before + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|before| before - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl HistogramFn for Value {
    fn record(&self, value: f64) {
        assert!(value >= 0.0);
        self.change(|before| before + 1.0);
    }
}

impl Kept {
    fn describe(&self, kind: &'static str, name: &KeyName, unit: Option<Unit>) {
        let mut described = self.described.lock().unwrap();
        described.insert(name.as_str().to_owned(), (kind, unit));
    }

    fn value(&self, key: &Key) -> Arc<Value> {
        let mut values = self.values.lock().unwrap();
        Arc::clone(values.entry(key.clone()).or_default())
    }

    /// The sum of all values of this name whose labels have this value, or of all.
    fn sum(&self, name: &str, label: &str) -> f64 {
        let values = self.values.lock().unwrap();
        let wanted = values.iter().filter(|(key, _)| {
            key.name() == name
                && (label.is_empty() || key.labels().any(|known| known.value() == label))
        });
        wanted
            .map(|(_, value)| f64::from_bits(value.bits.load(Ordering::SeqCst)))
            .sum()
    }

    /// Waits until there is as much of something.
    async fn reaches(&self, name: &str, label: &str, least: f64) {
        let reached = async {
            while self.sum(name, label) < least {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "{name} {label}: {}", self.sum(name, label));
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("counter", &name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("gauge", &name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("histogram", &name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.value(key))
    }
}

async fn talk(request: Request) -> impl IntoResponse {
    Upgrade::new(request).run((), on_init, on_message, on_close)
}

async fn choosy(request: Request) -> impl IntoResponse {
    Upgrade::new(request)
        .with_subprotocols(["talk.v1"])
        .require_subprotocol()
        .run((), on_init, on_message, on_close)
}

async fn on_init(_: &Connection, (): &()) -> ((), Option<Selector>) {
    ((), None)
}

async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    (): &(),
) -> Result<Action, SendError> {
    if let Message::Text(text) = message {
        connection.send_text(text).await?;
    }
    Ok(continue_connection())
}

async fn on_close((): (), (): &()) {}

async fn serve(config: Config) -> (SocketAddr, Hub) {
    let router = Router::new()
        .route("/talk", any(talk))
        .route("/choosy", any(choosy));
    let server = Server::new(router).with_config(config);
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let (address, hub) = (server.local_addr(), server.hub().clone());
    tokio::spawn(server.run_until_drained());
    (address, hub)
}

/// Sends these bytes and reads until the server ends the connection.
async fn send_raw(address: SocketAddr, bytes: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, reading).await.unwrap();
}

/// Over real sockets: what servers refuse and give up.
async fn refuse(kept: &Kept) {
    let (address, _) = serve(Config::default()).await;
    let url = format!("ws://{address}/talk");
    let mut socket = Connect::new(url.as_str()).open().await.unwrap();
    socket.send_text("hello").await.unwrap();
    socket.receive().await.unwrap();
    socket.close(4001, "enough").await.unwrap();
    kept.reaches("dreamsocket_closes_total", "4xxx", 1.0).await;

    let refusals = "dreamsocket_refusals_total";
    let foreign = Connect::new(url.as_str()).with_header("origin", "https://elsewhere.example");
    foreign.open().await.unwrap_err();
    let without = Connect::new(format!("ws://{address}/choosy"));
    without.open().await.unwrap_err();
    let plain = "GET /talk HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    send_raw(address, plain).await;
    // For another host: one that is to be counted, and one that asks for no WebSocket.
    let elsewhere = plain.replace("localhost", "elsewhere.example");
    let upgrade = "connection: close, Upgrade\r\nupgrade: WebSocket";
    send_raw(address, &elsewhere.replace("connection: close", upgrade)).await;
    send_raw(address, &elsewhere).await;
    send_raw(address, "what is this\r\n\r\n").await;
    kept.reaches("dreamsocket_faults_total", "http", 1.0).await;

    let (address, _) = serve(Config::default().with_max_connections(1)).await;
    let url = format!("ws://{address}/talk");
    let first = Connect::new(url.as_str()).open().await.unwrap();
    Connect::new(url.as_str()).open().await.unwrap_err();
    drop(first);
    let per_address = Config::default().with_max_connections_per_address(Some(1));
    let (address, _) = serve(per_address).await;
    let url = format!("ws://{address}/talk");
    let first = Connect::new(url.as_str()).open().await.unwrap();
    Connect::new(url.as_str()).open().await.unwrap_err();
    drop(first);
    for reason in [
        "origin",
        "subprotocol",
        "handshake",
        "host",
        "full",
        "address",
    ] {
        assert_eq!(kept.sum(refusals, reason), 1.0, "{reason}");
    }

    let (address, _) = serve(Config::default().with_max_sockets(1)).await;
    let only = TcpStream::connect(address).await.unwrap();
    kept.reaches("dreamsocket_accept_pauses_total", "", 1.0)
        .await;
    drop(only);
}

/// Both ends in one process.
async fn be_a_client(kept: &Kept) {
    let (address, _) = serve(Config::default()).await;
    let url = format!("ws://{address}/talk");
    let connecting = dreamsocket::connect_websocket(url, (), on_init, on_message, on_close);
    let connected = connecting.await.unwrap();
    kept.reaches("dreamsocket_connections", "client", 1.0).await;
    connected.stop();
    connected.ended().await;
    assert_eq!(kept.sum("dreamsocket_connections", "client"), 0.0);
    assert_eq!(kept.sum("dreamsocket_closes_total", "stopped"), 1.0);
}

/// The pages of an inspector are none of the application's traffic.
#[cfg(feature = "inspector")]
async fn be_watched(kept: &Kept) {
    let hub = Hub::new(Config::default());
    let inspector = dreamsocket::inspector::Inspector::new(&hub);
    // What came before has to be told to its end.
    let is_quiet = async {
        while kept.sum("dreamsocket_connections", "") > 0.0
            || kept.sum("dreamsocket_closes_total", "")
                < kept.sum("dreamsocket_connections_opened_total", "")
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let is_quiet = tokio::time::timeout(PATIENCE, is_quiet).await;
    is_quiet.unwrap();
    let router = Router::new().nest_service("/inspect", inspector);
    let server = Server::new(router).with_hub(hub.clone());
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/inspect/live", server.local_addr());
    let running = tokio::spawn(server.run_until_drained());
    let told = || -> BTreeMap<Key, u64> {
        let values = kept.values.lock().unwrap();
        let bits = values.iter();
        bits.map(|(key, value)| (key.clone(), value.bits.load(Ordering::SeqCst)))
            .collect()
    };
    let before = told();
    let foreign = Connect::new(url.as_str()).with_header("origin", "https://elsewhere.example");
    foreign.open().await.unwrap_err();
    let mut page = Connect::new(url.as_str()).open().await.unwrap();
    page.send_text("{}").await.unwrap();
    for _ in 0..3 {
        page.receive().await.unwrap();
    }
    assert_eq!(told(), before);
    page.close(1000, "").await.unwrap();
    // Waits for the pages, too.
    hub.drain();
    running.await.unwrap().unwrap();
    assert_eq!(told(), before);
}

async fn subscribe(_: &Connection, topic: &Topic<u32>) -> ((), Option<Selector<u32>>) {
    let channel = topic.subscribe_with(ChannelOptions::new().capacity(1));
    for number in 0..5 {
        topic.publish(number).unwrap();
    }
    ((), Some(Selector::from(channel)))
}

async fn ignore((): &mut (), _: Message<u32>, _: &Connection, _: &Topic<u32>) -> Action<u32> {
    continue_connection()
}

async fn unsubscribe((): (), _: &Topic<u32>) {}

/// In memory: gaps, full outboxes, pings, rates.
async fn be_slow(kept: &Kept, broadcaster: &Broadcaster<u32>) {
    let topic = broadcaster.topic("numbers");
    let behind = Builder::new().connect(topic, subscribe, ignore, unsubscribe);
    settle().await;
    assert_eq!(kept.sum("dreamsocket_gaps_total", ""), 1.0);
    assert_eq!(kept.sum("dreamsocket_missed_messages_total", ""), 4.0);

    let config = Config::default().with_message_rate(Some(Rate::per_second(
        std::num::NonZeroU32::new(1).unwrap(),
    )));
    let mut client = Builder::new()
        .with_buffer(1024)
        .with_config(config)
        .connect((), on_init, on_message, on_close);
    client.connection().ping().await.unwrap();
    for number in 0..3 {
        client.send_text(number.to_string()).await;
    }
    client.expect_text("0").await;
    kept.reaches("dreamsocket_read_pauses_total", "", 1.0).await;
    kept.reaches("dreamsocket_round_trip_seconds", "", 1.0)
        .await;

    client.stall();
    let connection = client.connection().clone();
    connection.send_binary(vec![0; 10_000]).await.unwrap();
    settle().await;
    assert_eq!(kept.sum("dreamsocket_outbox_bytes", ""), 10_064.0);
    client.vanish().await;
    client.ended().await;
    assert_eq!(kept.sum("dreamsocket_outbox_bytes", ""), 0.0);

    let sampler = Sampler::new()
        .with_broadcaster("numbers", broadcaster)
        .with_presence("people", &Presence::<String, ()>::new());
    sampler.sample();
    assert_eq!(
        kept.sum("dreamsocket_broadcaster_subscribers", "numbers"),
        1.0
    );
    assert_eq!(kept.sum("dreamsocket_broadcaster_published_total", ""), 5.0);
    assert_eq!(kept.sum("dreamsocket_broker_ready", ""), 2.0);
    drop(behind);
}

/// A row of the page: type, unit, labels.
type Row = (String, String, BTreeSet<String>);

const PAGE: &str = include_str!("../../../docs/observability.md");

/// The page's table.
fn page() -> BTreeMap<String, Row> {
    let rows = PAGE
        .lines()
        .filter(|line| line.starts_with("| `dreamsocket_"));
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let labels = cells[3]
            .split(',')
            .map(|label| label.trim().trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned);
        assert!(cells[4].len() > 10, "{line}");
        let row = (cells[1].to_owned(), cells[2].to_owned(), labels.collect());
        (cells[0].trim_matches('`').to_owned(), row)
    })
    .collect()
}

#[test]
fn alerts_are_of_metrics_that_there_are() {
    let listed = page();
    let words = PAGE.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let named = words.filter(|word| word.starts_with("dreamsocket_"));
    let unknown: Vec<_> = named.filter(|name| !listed.contains_key(*name)).collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

#[test]
fn the_page_lists_every_metric_and_traffic_of_each_kind_moves_it() {
    let kept = Kept::default();
    assert!(metrics::set_global_recorder(kept.clone()).is_ok());
    let broadcaster = Broadcaster::new();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all();
        builder
    };
    let real = runtime().build().unwrap();
    real.block_on(refuse(&kept));
    real.block_on(be_a_client(&kept));
    #[cfg(feature = "inspector")]
    real.block_on(be_watched(&kept));
    let paused = runtime().start_paused(true).build().unwrap();
    paused.block_on(be_slow(&kept, &broadcaster));
    drop((real, paused));
    assert_eq!(kept.sum("dreamsocket_connections", ""), 0.0);

    let described = kept.described.lock().unwrap();
    let values = kept.values.lock().unwrap();
    let mut found = BTreeMap::<String, Row>::new();
    let mut unmoved = BTreeSet::new();
    for (key, value) in &*values {
        let (kind, unit) = described[key.name()];
        let unit = unit.map_or("", |unit| unit.as_str());
        let labels: BTreeSet<_> = key.labels().map(|label| label.key().to_owned()).collect();
        let row = (kind.to_owned(), unit.to_owned(), labels);
        let before = found.insert(key.name().to_owned(), row.clone());
        assert!(before.is_none_or(|before| before == row), "{}", key.name());
        if value.moved.load(Ordering::SeqCst) == 0 {
            unmoved.insert(key.name());
        }
    }
    assert_eq!(found, page());
    assert_eq!(found.len(), described.len());
    // A broker is never away here, and loses nothing.
    let unmoved: Vec<_> = unmoved
        .into_iter()
        .filter(|name| !name.starts_with("dreamsocket_broker_"))
        .collect();
    assert_eq!(unmoved, Vec::<&str>::new());
}
