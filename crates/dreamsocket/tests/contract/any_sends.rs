//! S1 and L6, whatever tasks send, wait and give up in whatever order, and however the peer reads: what was accepted arrives,
//! whole, in the order in which it was accepted, and nothing else does; the bound holds all the while, and all room is given
//! back.

use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use dreamsocket::testing::{Client, Received, advance, settle};
use dreamsocket::{Config, Connection, Prepared, SendError, Sending};
use proptest::prelude::*;
use tokio::time::Instant;

use crate::stage::{IGNORE, Stage};

const TASKS: usize = 4;
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// One thing that happens. The first number is the task's.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// It begins to send so many bytes, unless it waits already.
    Send(usize, usize, Form),
    /// The same, without waiting.
    TrySend(usize, usize),
    /// A send that waits is polled, or dropped.
    Poll(usize),
    Drop(usize),
    /// The peer reads so many bytes.
    Read(u16),
    Advance(u16),
    Close,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Binary,
    Prepared,
}

fn step() -> impl Strategy<Value = Step> {
    let task = || 0..TASKS;
    // Around where payloads are written by reference, and more than there is room for.
    let size = || prop_oneof![6 => 0..300_usize, 2 => 4_000..4_200_usize, 1 => 0..30_000_usize];
    let form = prop_oneof![Just(Form::Text), Just(Form::Binary), Just(Form::Prepared)];
    prop_oneof![
        12 => (task(), size(), form).prop_map(|(task, size, form)| Step::Send(task, size, form)),
        6 => (task(), size()).prop_map(|(task, size)| Step::TrySend(task, size)),
        8 => task().prop_map(Step::Poll),
        2 => task().prop_map(Step::Drop),
        8 => (0..6_000_u16).prop_map(Step::Read),
        2 => (0..8_000_u16).prop_map(Step::Advance),
        1 => Just(Step::Close),
    ]
}

/// A message as it is received.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sent {
    Text(String),
    Binary(String),
}

/// A send that waits.
struct Waiting<'a> {
    sending: Pin<Box<Sending<'a>>>,
    message: Sent,
    since: Instant,
    /// Whether it was pending, and so has a place in line.
    is_in_line: bool,
}

struct World<'a> {
    connection: &'a Connection,
    outbox: usize,
    tasks: [Option<Waiting<'a>>; TASKS],
    /// How many messages were made, each of which says its number.
    made: usize,
    /// In order.
    accepted: Vec<Sent>,
    is_closing: bool,
}

impl<'a> World<'a> {
    fn text(&mut self, task: usize, size: usize) -> String {
        self.made += 1;
        let mut text = format!("{task} {} ", self.made);
        // What is in a large message differs from place to place, so that a part of another would be seen.
        while text.len() < size {
            let at = text.len();
            let _ = write!(text, "{at},");
        }
        text
    }

    async fn send(&mut self, task: usize, size: usize, form: Form) {
        if self.tasks[task].is_some() {
            return;
        }
        let text = self.text(task, size);
        let (sending, message) = match form {
            Form::Text => (self.connection.send_text(text.clone()), Sent::Text(text)),
            Form::Binary => {
                let sending = self.connection.send_binary(text.clone());
                (sending, Sent::Binary(text))
            }
            Form::Prepared => {
                let prepared = Prepared::text(text.clone());
                (self.connection.send_prepared(&prepared), Sent::Text(text))
            }
        };
        self.tasks[task] = Some(Waiting {
            sending: Box::pin(sending),
            message,
            since: Instant::now(),
            is_in_line: false,
        });
        self.poll(task).await;
    }

    async fn poll(&mut self, task: usize) {
        let Some(mut waiting) = self.tasks[task].take() else {
            return;
        };
        let polled = poll_fn(|context| Poll::Ready(waiting.sending.as_mut().poll(context))).await;
        let waited = waiting.since.elapsed();
        match polled {
            Poll::Pending => {
                assert!(waited < SEND_TIMEOUT, "it waits for ever");
                waiting.is_in_line = true;
                self.tasks[task] = Some(waiting);
            }
            Poll::Ready(Ok(())) => self.accepted.push(waiting.message),
            Poll::Ready(Err(SendError::Timeout(_))) => assert!(waited >= SEND_TIMEOUT),
            Poll::Ready(Err(SendError::SocketClosed)) => {
                let was_late = self.is_closing && !waiting.is_in_line;
                assert!(was_late, "who waited before the close is let in");
            }
            Poll::Ready(Err(error)) => panic!("{error}"),
        }
    }

    fn try_send(&mut self, task: usize, size: usize) {
        let text = self.text(task, size);
        let charge = (text.len() + 64).min(self.outbox);
        let is_room = self.connection.buffered_bytes() + charge <= self.outbox;
        match self.connection.try_send_text(text.clone()) {
            Ok(()) => {
                assert!(is_room && !self.is_closing);
                self.accepted.push(Sent::Text(text));
            }
            Err(SendError::Full) => {
                let is_line = self.tasks.iter().any(Option::is_some);
                assert!(!self.is_closing && (is_line || !is_room), "there was room");
            }
            Err(SendError::SocketClosed) => assert!(self.is_closing),
            Err(error) => panic!("{error}"),
        }
    }

    async fn step(&mut self, step: Step, client: &mut Client) {
        match step {
            Step::Send(task, size, form) => self.send(task, size, form).await,
            Step::TrySend(task, size) => self.try_send(task, size),
            Step::Poll(task) => self.poll(task).await,
            Step::Drop(task) => self.tasks[task] = None,
            Step::Read(bytes) => client.stall_after(bytes.into()).await,
            Step::Advance(millis) => advance(Duration::from_millis(millis.into())).await,
            Step::Close => {
                self.connection.close(4000, "").await.unwrap();
                self.is_closing = true;
            }
        }
        assert!(self.connection.buffered_bytes() <= self.outbox);
    }

    /// Those that wait get what they wait for, now that the peer reads.
    async fn finish(&mut self) {
        for _ in 0..=TASKS {
            settle().await;
            for task in 0..TASKS {
                self.poll(task).await;
            }
        }
        assert!(self.tasks.iter().all(Option::is_none));
        settle().await;
    }
}

async fn check(steps: Vec<Step>, outbox: usize, buffer: usize) {
    const HOUR: Duration = Duration::from_secs(3_600);
    // Nothing but what the steps say ends it.
    let config = Config::default()
        .with_outbox(outbox)
        .with_send_timeout(SEND_TIMEOUT)
        .with_heartbeat(None)
        .with_stall_timeout(HOUR)
        .with_close_time(HOUR);
    let (mut client, _stage) = Stage::new(IGNORE)
        .with_config(config)
        .with(|builder| builder.with_buffer(buffer))
        .connect();
    client.stall();
    settle().await;
    let connection = client.connection().clone();
    let mut world = World {
        connection: &connection,
        outbox,
        tasks: Default::default(),
        made: 0,
        accepted: Vec::new(),
        is_closing: false,
    };
    for step in steps {
        world.step(step, &mut client).await;
    }
    client.unstall().await;
    world.finish().await;

    for message in world.accepted {
        let received = match client.receive().await {
            Received::Text(text) => Sent::Text(text.to_string()),
            Received::Binary(bytes) => Sent::Binary(String::from_utf8(bytes.to_vec()).unwrap()),
            other => panic!("{other:?} before all that was accepted"),
        };
        assert_eq!(received, message);
    }
    assert_eq!(connection.buffered_bytes(), 0);
    if world.is_closing {
        client.expect_closed(4000).await;
    } else {
        client.expect_nothing().await;
        connection.try_send_text("still open").unwrap();
        client.expect_text("still open").await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s1_l6_what_was_accepted_arrives_in_order_and_nothing_else(
        steps in prop::collection::vec(step(), 0..60),
        outbox in prop_oneof![64..1_000_usize, 5_000..20_000_usize],
        buffer in prop_oneof![1..200_usize, Just(64 * 1024)],
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(check(steps, outbox, buffer));
    }
}
