//! Reconnecting on a paused clock, over transports in memory: when attempts are made, to the millisecond.

use std::ops::RangeInclusive;

use dreamsocket_protocol::handshake::accept_key;
use http::{HeaderMap, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::super::dial::Dialed;
use super::super::link::Link;
use super::super::opening::Offer;
use super::super::reconnect::Jitter;
use super::super::socket::Received;
use super::*;
use crate::action::{Action, continue_connection};
use crate::message::Message;
use crate::selector::Selector;

/// Dials into the test.
struct Memory {
    offer: Offer,
    far: mpsc::UnboundedSender<DuplexStream>,
}

impl Dial for Memory {
    async fn dial(&self) -> Result<Dialed, ConnectError> {
        let (near, far) = tokio::io::duplex(4096);
        self.far.send(far).unwrap();
        let opened = self.offer.open(near).await?;
        Ok(Dialed {
            opened,
            peer_addr: None,
            #[cfg(feature = "tls")]
            tls: None,
        })
    }

    fn uri(&self) -> &Uri {
        &self.offer.uri
    }
}

/// The server's side of all that a client does.
struct Far {
    dials: mpsc::UnboundedReceiver<DuplexStream>,
    /// When something happened last.
    since: Instant,
}

impl Far {
    /// Waits for the next attempt, which must come after so many milliseconds.
    async fn accept(&mut self, expected: RangeInclusive<u128>) -> DuplexStream {
        let far = self.dials.recv().await.unwrap();
        let waited = self.since.elapsed().as_millis();
        assert!(expected.contains(&waited), "{waited} ms, not {expected:?}");
        self.since = Instant::now();
        far
    }

    async fn open(&mut self, expected: RangeInclusive<u128>) -> Link<DuplexStream> {
        let mut far = self.accept(expected).await;
        let request = read_head(&mut far).await;
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-key: "))
            .unwrap();
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            accept_key(key.as_bytes()).to_str().unwrap()
        );
        far.write_all(head.as_bytes()).await.unwrap();
        Link::new(far, &[], Role::Server, None, Arc::default())
    }

    async fn refuse(&mut self, expected: RangeInclusive<u128>, status_and_headers: &str) {
        let mut far = self.accept(expected).await;
        read_head(&mut far).await;
        let head = format!("HTTP/1.1 {status_and_headers}\r\nContent-Length: 0\r\n\r\n");
        far.write_all(head.as_bytes()).await.unwrap();
    }

    /// Lets the client live for a while, and then loses it.
    async fn lose(&mut self, link: Link<DuplexStream>, after: Duration) {
        tokio::time::sleep(after).await;
        drop(link);
        self.since = Instant::now();
    }
}

async fn read_head(far: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(far.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn on_init(connection: &Connection, (): &()) -> ((), Option<Selector>) {
    let number = connection.reconnects().to_string();
    connection.try_send_text(number).unwrap();
    ((), None)
}

async fn on_message((): &mut (), _: Message, _: &Connection, (): &()) -> Action {
    continue_connection()
}

async fn on_close((): (), (): &()) {}

fn memory(policy: Reconnect) -> (Supervisor<Memory>, Far) {
    let (sender, dials) = mpsc::unbounded_channel();
    let config: Arc<Config> = Arc::new(Config::default().with_heartbeat(None));
    let offer = Offer {
        uri: "ws://localhost/".parse().unwrap(),
        headers: HeaderMap::new(),
        subprotocols: Vec::new(),
        config: Arc::clone(&config),
        timeout: Duration::from_secs(10),
    };
    let dialer = Memory { offer, far: sender };
    let far = Far {
        dials,
        since: Instant::now(),
    };
    (Supervisor::new(dialer, config, None, Some(policy)), far)
}

async fn start(policy: Reconnect) -> (Connected, Far, Link<DuplexStream>) {
    let (mut supervisor, mut far) = memory(policy);
    let (first, link) = tokio::join!(supervisor.connect_first(), far.open(0..=0));
    let handlers = Handlers::new(on_init, on_message, on_close);
    let (connected, running) = supervisor.start(first.unwrap(), (), handlers);
    tokio::spawn(running);
    (connected, far, link)
}

const SHORT: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn delays_grow_and_begin_anew_after_a_stable_connection() {
    let policy = Reconnect::new().with_jitter(Jitter::Equal);
    let (connected, mut far, link) = start(policy).await;
    far.lose(link, SHORT).await;
    far.refuse(500..=1_000, "503 Busy").await;
    far.refuse(1_000..=2_000, "502 Bad Gateway").await;
    let link = far.open(2_000..=4_000).await;
    // It did not last, so it counts like an attempt that failed.
    far.lose(link, SHORT).await;
    let link = far.open(4_000..=8_000).await;
    far.lose(link, Duration::from_secs(30)).await;
    let mut link = far.open(500..=1_000).await;
    assert_eq!(link.receive().await, Some(Received::Text("3".into())));
    assert_eq!(connected.connection().reconnects(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_server_asks_for_is_waited_for_up_to_the_maximum_and_then_some() {
    let policy = Reconnect::new().with_jitter(Jitter::Equal);
    let (_connected, mut far, link) = start(policy).await;
    far.lose(link, SHORT).await;
    far.refuse(500..=1_000, "503 Busy\r\nRetry-After: 20").await;
    far.refuse(
        21_000..=22_000,
        "429 Too Many Requests\r\nRetry-After: 86400",
    )
    .await;
    far.refuse(
        90_000..=120_000,
        "503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT",
    )
    .await;
    far.accept(4_000..=8_000).await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_not_answered_is_given_up_and_counts() {
    let policy = Reconnect::new()
        .with_jitter(Jitter::Equal)
        .with_max_attempts(Some(2));
    let (connected, mut far, link) = start(policy).await;
    far.lose(link, SHORT).await;
    let _silent = far.accept(500..=1_000).await;
    // Ten seconds for the handshake, and then the delay.
    let _silent = far.accept(11_000..=12_000).await;
    let ended = connected.ended().await;
    assert_eq!(ended.reason, EndReason::Exhausted);
    assert_eq!(far.since.elapsed(), Duration::from_secs(10));
    assert!(matches!(
        &*ended.error.unwrap(),
        ConnectError::TimedOut { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_the_first_end_is_the_last() {
    let (mut supervisor, mut far) = memory(Reconnect::new());
    supervisor.reconnect = None;
    let (first, link) = tokio::join!(supervisor.connect_first(), far.open(0..=0));
    let handlers = Handlers::new(on_init, on_message, on_close);
    let (connected, running) = supervisor.start(first.unwrap(), (), handlers);
    tokio::spawn(running);
    drop(link);
    assert_eq!(connected.ended().await.reason, EndReason::Final);
    assert!(far.dials.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_an_attempt_ends_it() {
    let (connected, mut far, link) = start(Reconnect::new()).await;
    far.lose(link, SHORT).await;
    let mut silent = far.accept(0..=1_000).await;
    read_head(&mut silent).await;
    connected.stop();
    assert_eq!(connected.ended().await.reason, EndReason::Stopped);
    assert_eq!(
        silent.read(&mut [0]).await.unwrap(),
        0,
        "the attempt is dropped"
    );
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_drops_the_task_is_an_end_too() {
    let (mut supervisor, mut far) = memory(Reconnect::new());
    let (first, _link) = tokio::join!(supervisor.connect_first(), far.open(0..=0));
    let handlers = Handlers::new(on_init, on_message, on_close);
    let (connected, running) = supervisor.start(first.unwrap(), (), handlers);
    drop(running);
    assert_eq!(connected.ended().await.reason, EndReason::Stopped);
    // Nobody waits for a connection that never had a session.
    let connection = connected.connection();
    tokio::time::timeout(SHORT, connection.closed())
        .await
        .unwrap();
    assert!(connection.try_send_text("nobody there").is_err());
}

#[tokio::test(start_paused = true)]
async fn l8_a_panic_in_the_drop_of_the_dependencies_hides_no_end() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bug");
        }
    }
    async fn on_init(_: &Connection, _: &Bomb) -> ((), Option<Selector>) {
        ((), None)
    }
    async fn on_message((): &mut (), _: Message, _: &Connection, _: &Bomb) -> Action {
        continue_connection()
    }
    async fn on_close((): (), _: &Bomb) {}

    let (mut supervisor, mut far) = memory(Reconnect::new());
    supervisor.reconnect = None;
    let (first, mut link) = tokio::join!(supervisor.connect_first(), far.open(0..=0));
    let handlers = Handlers::new(on_init, on_message, on_close);
    let (connected, running) = supervisor.start(first.unwrap(), Bomb, handlers);
    tokio::spawn(running);
    link.close(CloseCode::NORMAL, Text::default())
        .await
        .unwrap();
    let ended = connected.ended().await;
    assert_eq!(ended.reason, EndReason::Final);
    assert_eq!(ended.closed.code, CloseCode::NORMAL);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_are_no_websockets_of_the_hub() {
    let policy = Reconnect::new()
        .with_first_retried(true)
        .with_max_attempts(Some(2));
    let (mut supervisor, mut far) = memory(policy);
    let hub = Hub::new(Config::default());
    supervisor.hub = Some(hub.clone());
    let refuse = async {
        for _ in 0..3 {
            let mut far = far.dials.recv().await.unwrap();
            read_head(&mut far).await;
            let head = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
            far.write_all(head).await.unwrap();
        }
    };
    let (failed, ()) = tokio::join!(supervisor.connect_first(), refuse);
    assert!(failed.is_err());
    assert_eq!(hub.counts().opened(), 0);
    let (opened, _link) = tokio::join!(supervisor.connect_first(), async {
        far.since = Instant::now();
        far.open(0..=0).await
    });
    assert!(opened.is_ok());
    assert_eq!(hub.counts().opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_told_also_without_a_policy() {
    let (mut supervisor, mut far) = memory(Reconnect::new());
    supervisor.reconnect = None;
    let (first, mut link) = tokio::join!(supervisor.connect_first(), far.open(0..=0));
    let handlers = Handlers::new(on_init, on_message, on_close);
    let (connected, running) = supervisor.start(first.unwrap(), (), handlers);
    tokio::spawn(running);
    connected.stop();
    while link.receive().await.is_some() {}
    drop(link);
    assert_eq!(connected.ended().await.reason, EndReason::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_panics_ends_it_and_is_told() {
    let (connected, mut far, link) = start(Reconnect::new().with_rule(|_| panic!("a bug"))).await;
    far.lose(link, SHORT).await;
    let ended = connected.ended().await;
    assert_eq!(ended.reason, EndReason::Panicked);
    assert_eq!(u16::from(ended.closed.code), 1006);
    assert!(far.dials.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_time_of_handlers_after_the_end_makes_no_connection_stable() {
    async fn slow_close((): (), (): &()) {
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    let policy = Reconnect::new()
        .with_jitter(Jitter::Equal)
        .with_stable_after(Duration::from_secs(3));
    let (mut supervisor, mut far) = memory(policy);
    let (first, link) = tokio::join!(supervisor.connect_first(), far.open(0..=0));
    let handlers = Handlers::new(on_init, on_message, slow_close);
    let (_connected, running) = supervisor.start(first.unwrap(), (), handlers);
    tokio::spawn(running);
    far.lose(link, SHORT).await;
    let link = far.open(4_500..=5_000).await;
    far.lose(link, SHORT).await;
    far.accept(5_000..=6_000).await;
}
