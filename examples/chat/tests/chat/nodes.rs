//! Several chats that share their rooms over a real broker, as one chat.

use std::time::Duration;

use brokers::{Nats, Redis};
use fault_proxy::Ledger;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::program::{Chat, Client, PATIENCE};

/// How many lose their node at once. `scripts/test --all` takes 1,000.
fn crowd() -> usize {
    let crowd = std::env::var("NODES_CROWD").ok();
    crowd.map_or(200, |crowd| crowd.parse().unwrap())
}

/// A chat with the flags that lead to the broker.
async fn node(broker: &[&str]) -> Chat {
    let flags = [&["--pace", "1000000"], broker].concat();
    Chat::start_with(&flags).await
}

#[cfg(feature = "nats")]
#[tokio::test]
async fn nodes_over_nats_are_one_chat() {
    let nats = Nats::start_with_jetstream().await;
    two_nodes_are_one_chat(&["--nats", &nats.url()]).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn nodes_over_redis_are_one_chat() {
    let redis = Redis::start().await;
    two_nodes_are_one_chat(&["--redis", &redis.url()]).await;
}

async fn two_nodes_are_one_chat(broker: &[&str]) {
    let (one, other) = (node(broker).await, node(broker).await);
    let (mut ada, _) = one.enter("garden", "Ada").await;
    let (mut grace, people) = other.enter("garden", "Grace").await;
    // In the order of their coming, whichever node they are on.
    assert_eq!(
        people,
        json!([{"name": "Ada", "tabs": 1}, {"name": "Grace", "tabs": 1}])
    );
    ada.expect(json!({"type": "joined", "room": "garden", "name": "Grace"}))
        .await;
    grace
        .send(json!({"type": "typing", "room": "garden"}))
        .await;
    let typing = json!({"type": "typing", "room": "garden", "name": "Grace"});
    ada.wait_for(|message| *message == typing).await;
    for number in 0..60 {
        ada.say("garden", &number.to_string()).await;
    }
    let mut position = String::new();
    for number in 0..60 {
        grace.hear(&number.to_string()).await;
        position = ada.hear(&number.to_string()).await;
    }
    let (mut linus, _) = other.enter("garden", "Linus").await;
    for number in 10..60 {
        linus.hear(&number.to_string()).await;
    }
    // A position of one node is good on the other.
    let mut grace_again = one.connect("user=Grace").await;
    ada.say("garden", "Meanwhile").await;
    ada.hear("Meanwhile").await;
    grace_again.enter_since("garden", Some(&position)).await;
    grace_again.hear("Meanwhile").await;
    drop((grace, grace_again));
    ada.wait_for(|message| message["type"] == "left" && message["name"] == "Grace")
        .await;
}

#[cfg(feature = "nats")]
#[tokio::test]
async fn b8_who_was_on_a_killed_node_leaves_over_nats() {
    let nats = Nats::start_with_jetstream().await;
    who_was_on_a_killed_node_leaves(&["--nats", &nats.url()]).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn b8_who_was_on_a_killed_node_leaves_over_redis() {
    let redis = Redis::start().await;
    who_was_on_a_killed_node_leaves(&["--redis", &redis.url()]).await;
}

async fn who_was_on_a_killed_node_leaves(broker: &[&str]) {
    let (one, other) = (node(broker).await, node(broker).await);
    let (mut ada, _) = one.enter("garden", "Ada").await;
    let (_grace, _) = other.enter("garden", "Grace").await;
    ada.wait_for(|message| message["type"] == "joined" && message["name"] == "Grace")
        .await;
    // Without a word, as kill -9 does.
    drop(other);
    ada.wait_for(|message| message["type"] == "left" && message["name"] == "Grace")
        .await;
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_all_who_lose_their_node_go_on_at_another_over_nats() {
    let nats = Nats::start_with_jetstream().await;
    all_who_lose_their_node_go_on_at_another(&["--nats", &nats.url()]).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_all_who_lose_their_node_go_on_at_another_over_redis() {
    let redis = Redis::start().await;
    all_who_lose_their_node_go_on_at_another(&["--redis", &redis.url()]).await;
}

impl Client {
    /// What is said next, whoever comes and goes meanwhile; and at which position.
    async fn hear(&mut self, text: &str) -> String {
        let message = self
            .wait_for(|message| message["type"] == "said" || message["type"] == "missed")
            .await;
        assert_eq!(message["text"], text, "{message}");
        message["position"].as_str().unwrap().to_owned()
    }

    /// Lets everything pass until this comes.
    async fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.receive().await;
            if is_it(&message) {
                return message;
            }
        }
    }
}

/// What one of the crowd has heard, over two connections.
#[derive(Default)]
struct Heard {
    numbers: Ledger,
    /// Some are missing here, and nobody knows how many.
    is_gap: bool,
    position: Option<String>,
    is_over: bool,
}

impl Heard {
    fn note(&mut self, message: &Value) {
        match message["type"].as_str().unwrap() {
            "said" => {
                self.position = message["position"].as_str().map(str::to_owned);
                let text = message["text"].as_str().unwrap();
                let Ok(number) = text.parse() else {
                    self.is_over = true;
                    return;
                };
                if std::mem::take(&mut self.is_gap) {
                    let next = self.numbers.next("speaker");
                    self.numbers.declare(u64::saturating_sub(number, next));
                }
                self.numbers.note("speaker", number);
            }
            "missed" => match message["count"].as_u64() {
                Some(count) => self.numbers.declare(count),
                None => self.is_gap = true,
            },
            _ => {}
        }
    }
}

/// Listens to one node until it is gone, and then to the other one until the last word.
async fn listen(member: usize, first: &str, second: &str, hears: mpsc::Sender<()>) -> Heard {
    let mut heard = Heard::default();
    for address in [first, second] {
        let query = format!("user=member{member}");
        let mut client = Client::connect(address.parse().unwrap(), &query).await;
        client
            .send(json!({"type": "enter", "room": "garden", "since": heard.position}))
            .await;
        while let Some(Ok(Message::Text(text))) = client.socket.next().await {
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["text"] == "ready" {
                heard.position = message["position"].as_str().map(str::to_owned);
                hears.send(()).await.unwrap();
                continue;
            }
            heard.note(&message);
            if heard.is_over {
                return heard;
            }
        }
    }
    heard
}

/// One node is killed while somebody speaks on the other: everybody comes back there at once, and hears each message once, in
/// order, or is told that some are missing.
async fn all_who_lose_their_node_go_on_at_another(broker: &[&str]) {
    let (one, other) = (node(broker).await, node(broker).await);
    let (mut speaker, _) = other.enter("garden", "Speaker").await;
    let mut crowd_tasks = JoinSet::new();
    let (sender, mut hears) = mpsc::channel(1);
    for member in 0..crowd() {
        let (first, second) = (one.address.clone(), other.address.clone());
        let sender = sender.clone();
        crowd_tasks.spawn(async move { listen(member, &first, &second, sender).await });
    }
    // They are all there when they have heard this, live or as the last that was said.
    speaker.say("garden", "ready").await;
    for _ in 0..crowd() {
        timeout(PATIENCE, hears.recv()).await.unwrap().unwrap();
    }
    speaker.hear("ready").await;
    let mut node = Some(one);
    for number in 0..200 {
        speaker.say("garden", &number.to_string()).await;
        speaker.hear(&number.to_string()).await;
        if number == 100 {
            node.take();
        }
        sleep(Duration::from_millis(20)).await;
    }
    speaker.say("garden", "end").await;

    let (mut missed, mut bridged) = (0, 0);
    while let Some(heard) = timeout(PATIENCE, crowd_tasks.join_next()).await.unwrap() {
        let heard = heard.unwrap();
        assert!(heard.is_over, "the last word was not heard");
        let (received, declared) = (heard.numbers.received(), heard.numbers.declared());
        assert!(heard.numbers.wrong().is_nothing(), "{:?}", heard.numbers);
        assert!(received + declared >= 200, "{:?}", heard.numbers);
        missed += declared;
        bridged += usize::from(received == 200);
    }
    println!(
        "{bridged} of {} heard everything; {missed} messages were told as missing",
        crowd()
    );
    assert!(bridged > 0);
}
