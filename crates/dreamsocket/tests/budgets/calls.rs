//! System calls for a batch: reads and writes that reach the transport, counted by the one of `testing`.
//!
//! The contract's tests (S2) say when something is written; these, how often the transport is bothered for all of it.

use dreamsocket::testing::{Builder, Client, Frame, Traffic, settle};
use dreamsocket::{
    Action, Broadcaster, Connection, Forward, Message, OnMissed, Prepared, Selector, SendError,
    Topic, continue_connection,
};

/// More than any batch, so that no write is cut short.
const BUFFER: usize = 1024 * 1024;

/// How often the session reads, looks and finds nothing, and writes.
#[derive(Debug, Clone, Copy)]
struct Calls {
    reads: usize,
    empty_reads: usize,
    writes: usize,
}

impl Calls {
    fn between(before: Traffic, after: Traffic) -> Self {
        Self {
            reads: after.reads - before.reads,
            empty_reads: after.empty_reads - before.empty_reads,
            writes: after.writes - before.writes,
        }
    }

    fn check(self, budget: Self, what: &str) {
        let is_within = self.reads <= budget.reads
            && self.empty_reads <= budget.empty_reads
            && self.writes <= budget.writes;
        assert!(is_within, "{what}: {self:?}, the budget is {budget:?}");
    }
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
    match message {
        Message::Text(text) => connection.send_text(text).await?,
        Message::Binary(bytes) => connection.send_binary(bytes).await?,
        _ => {}
    }
    Ok(continue_connection())
}

async fn on_close((): (), (): &()) {}

/// Batches of so many messages of this size, each of them in one segment: each costs these calls, the first like the last.
async fn check_echo(messages: usize, size: usize, budget: Calls) {
    let mut client = Builder::new()
        .with_buffer(BUFFER)
        .connect((), on_init, on_message, on_close);
    settle().await;
    for _ in 0..3 {
        let before = client.traffic();
        client
            .send((0..messages).map(|_| Frame::binary(vec![7; size])))
            .await;
        let calls = Calls::between(before, client.traffic());
        calls.check(budget, &format!("{messages} messages of {size} bytes"));
        for _ in 0..messages {
            client.expect_binary(vec![7; size]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_echoes_is_one_read_and_one_write() {
    for messages in [1, 16, 64] {
        let budget = Calls {
            reads: 1,
            empty_reads: 1,
            writes: 1,
        };
        check_echo(messages, 32, budget).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_echo_is_one_write() {
    let budget = Calls {
        reads: 4,
        empty_reads: 1,
        writes: 1,
    };
    check_echo(1, 64 * 1024, budget).await;
}

async fn subscribe(
    connection: &Connection,
    topic: &Topic<Prepared>,
) -> (Forward, Option<Selector>) {
    let forward = connection.forward(topic.subscribe(), |_| OnMissed::End);
    (forward, None)
}

async fn ignore(_: &mut Forward, _: Message, _: &Connection, _: &Topic<Prepared>) -> Action {
    continue_connection()
}

async fn unsubscribe(_: Forward, _: &Topic<Prepared>) {}

#[tokio::test(start_paused = true)]
async fn a_batch_of_a_topic_reaches_each_connection_with_one_write() {
    let topic = Broadcaster::new().topic("news");
    let mut clients: Vec<Client> = (0..3)
        .map(|_| {
            Builder::new().with_buffer(BUFFER).connect(
                topic.clone(),
                subscribe,
                ignore,
                unsubscribe,
            )
        })
        .collect();
    settle().await;
    let budget = Calls {
        reads: 0,
        empty_reads: 1,
        writes: 1,
    };
    // On both sides of where payloads are written by reference, both below where a write is due anyway.
    for (messages, size) in [(16, 32), (12, 5_000)] {
        let before: Vec<_> = clients.iter().map(Client::traffic).collect();
        for _ in 0..messages {
            topic.publish(Prepared::binary(vec![7; size])).unwrap();
        }
        settle().await;
        for (client, before) in clients.iter_mut().zip(before) {
            let calls = Calls::between(before, client.traffic());
            calls.check(budget, &format!("{messages} messages of {size} bytes"));
            for _ in 0..messages {
                client.expect_binary(vec![7; size]).await;
            }
        }
    }
}
