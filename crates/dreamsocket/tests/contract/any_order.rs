//! What holds whatever happens in whatever order: random stories of a peer, the handlers and other tasks.

use std::time::Duration;

use dreamsocket::testing::{Builder, Client, Frame, Received, advance, settle};
use dreamsocket::{
    Config, Message, Selector, continue_connection, continue_connection_with_selector,
    stop_connection,
};
use proptest::prelude::*;

use crate::stage::{Act, Stage, act};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// The peer sends a text that tells the handler what to do.
    Order(&'static str),
    /// The peer sends several texts in one segment, cut into two at that byte.
    Batch(u8, u8),
    Ping,
    /// Something comes through the selector.
    Custom,
    /// Another task sends, or closes.
    Send(u16),
    Close,
    PeerCloses,
    PeerEnds,
    PeerVanishes,
    PeerCheats,
    Stall,
    ReadSome(u16),
    Unstall,
    Release,
    Advance(u16),
}

fn step() -> impl Strategy<Value = Step> {
    const ORDERS: [&str; 6] = ["echo", "large", "hold", "sleep", "replace", "ping"];
    const ENDINGS: [&str; 4] = ["stop", "fail", "panic", "close"];
    prop_oneof![
        12 => prop::sample::select(&ORDERS[..]).prop_map(Step::Order),
        1 => prop::sample::select(&ENDINGS[..]).prop_map(Step::Order),
        4 => (1..20_u8, any::<u8>()).prop_map(|(count, at)| Step::Batch(count, at)),
        3 => Just(Step::Ping),
        3 => Just(Step::Custom),
        3 => (0..5_000_u16).prop_map(Step::Send),
        1 => Just(Step::Close),
        1 => Just(Step::PeerCloses),
        1 => Just(Step::PeerEnds),
        1 => Just(Step::PeerVanishes),
        1 => Just(Step::PeerCheats),
        2 => Just(Step::Stall),
        2 => (0..2_000_u16).prop_map(Step::ReadSome),
        3 => Just(Step::Unstall),
        5 => Just(Step::Release),
        3 => (0..40_000_u16).prop_map(Step::Advance),
    ]
}

const OBEY: Act = act!(|_, message, connection, stage| {
    let text = match message {
        Message::Text(text) => text,
        Message::Custom(text) => {
            connection.send_text(text).await?;
            return Ok(continue_connection());
        }
        _ => return Ok(continue_connection()),
    };
    let (_, order) = text.split_once(' ').unwrap();
    match order {
        "hold" => stage.hold().await,
        "sleep" => tokio::time::sleep(Duration::from_secs(20)).await,
        "ping" => connection.ping().await?,
        "replace" => return Ok(continue_connection_with_selector(Selector::new())),
        "stop" => return Ok(stop_connection()),
        "fail" => return Err("no luck".into()),
        "panic" => panic!("on purpose"),
        "close" => connection.close(4000, "").await?,
        "large" => {
            connection
                .send_text(format!("{text} {}", "x".repeat(3_000)))
                .await?;
            return Ok(continue_connection());
        }
        _ => {}
    }
    connection.send_text(text).await?;
    Ok(continue_connection())
});

#[derive(Default)]
struct Story {
    texts: u32,
    is_over: bool,
}

impl Story {
    fn text(&mut self, order: &str) -> Frame {
        self.texts += 1;
        Frame::text(format!("{} {order}", self.texts))
    }

    async fn go(
        &mut self,
        step: Step,
        client: &mut Client,
        stage: &Stage,
        custom: &tokio::sync::mpsc::Sender<String>,
    ) {
        let is_of_peer = matches!(
            step,
            Step::Order(_) | Step::Batch(..) | Step::Ping | Step::PeerCloses | Step::PeerCheats
        );
        if self.is_over && is_of_peer {
            return;
        }
        match step {
            Step::Order(order) => client.send([self.text(order)]).await,
            Step::Batch(count, at) => {
                let bytes: Vec<u8> = (0..count)
                    .flat_map(|_| self.text("echo").to_bytes())
                    .collect();
                let at = usize::from(at).min(bytes.len());
                client.send_raw(&bytes[..at]).await;
                client.send_raw(&bytes[at..]).await;
            }
            Step::Ping => client.ping("ping").await,
            Step::Custom => drop(custom.try_send("custom".to_owned())),
            Step::Send(size) => drop(client.connection().try_send_binary(vec![0; size.into()])),
            Step::Close => client.connection().close(4001, "").await.unwrap(),
            Step::PeerCloses => {
                client.close(4002, "").await;
                self.is_over = true;
            }
            Step::PeerEnds => {
                client.shut_down_writing().await;
                self.is_over = true;
            }
            Step::PeerVanishes => {
                client.vanish().await;
                self.is_over = true;
            }
            Step::PeerCheats => {
                client.send([Frame::new(3, "")]).await;
                self.is_over = true;
            }
            Step::Stall => client.stall(),
            Step::ReadSome(bytes) => client.stall_after(bytes.into()).await,
            Step::Unstall => client.unstall().await,
            Step::Release => stage.release(),
            Step::Advance(millis) => advance(Duration::from_millis(millis.into())).await,
        }
        settle().await;
    }
}

/// Numbers that begin the lines, if they do.
fn numbers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<u32> {
    let words = lines.filter_map(|line| line.split_once(' '));
    words.filter_map(|(word, _)| word.parse().ok()).collect()
}

async fn check(steps: Vec<Step>, buffer: usize) {
    let config = Config::default().with_outbox(10_000);
    let (custom, selector) = Selector::channel(4);
    let (mut client, stage) = Stage::new(OBEY)
        .with_config(config)
        .with(|builder: Builder| builder.with_buffer(buffer))
        .with_selector(selector)
        .connect();
    let mut story = Story::default();
    for step in steps {
        story.go(step, &mut client, &stage, &custom).await;
    }
    // However it went, the end of the peer is the end of the session, if handlers return.
    for _ in 0..1_000 {
        stage.release();
    }
    client.unstall().await;
    client.shut_down_writing().await;
    client.ended().await;

    let mut closes = 0;
    let mut replies = Vec::new();
    loop {
        match client.receive().await {
            Received::Close(..) => closes += 1,
            Received::Text(text) => {
                assert_eq!(closes, 0, "a message behind the close frame");
                replies.push(text.to_string());
            }
            Received::Ended => break,
            _ => assert_eq!(closes, 0, "a frame behind the close frame"),
        }
    }
    assert!(closes <= 1);
    let seen = stage.seen();
    let count = |start: &str| seen.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("init"), count("on_close")), (1, 1), "{seen:?}");
    assert_eq!(seen[0], "init");
    let end = seen.len() - 1;
    assert!(seen[end].starts_with("on_close"), "{seen:?}");
    assert!(count("closed") <= 1, "{seen:?}");
    if count("closed") == 1 {
        assert!(seen[end - 1].starts_with("closed"), "{seen:?}");
    }
    // Each of the peer's texts was handled in order, none twice and none left out; so were the replies.
    let handled = numbers(seen.iter().map(String::as_str));
    assert!(
        handled.iter().copied().eq(1..=handled.len() as u32),
        "{seen:?}"
    );
    let replied = numbers(replies.iter().map(String::as_str));
    assert!(
        replied.is_sorted_by(|one, other| one < other),
        "{replies:?}"
    );
    assert_eq!(client.connection().buffered_bytes(), 0);
    assert!(client.connection().is_closed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_story_ends_well(
        steps in prop::collection::vec(step(), 0..40),
        buffer in prop_oneof![1..200_usize, Just(64 * 1024)],
    ) {
        std::panic::set_hook(Box::new(|_| {}));
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(check(steps, buffer));
    }
}
