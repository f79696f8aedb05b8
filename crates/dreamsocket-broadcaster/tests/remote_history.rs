//! B5 on engines that reach other machines, over a broker in memory that is cut, loses what it kept, or holds it back. Time
//! is paused: it jumps to whatever is waited for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Fate, Kind};
use bytes::Bytes;
use dreamsocket_broadcaster::link::{Command, Inbox, Link, Node};
use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, Delivery, History, Position, RemoteOptions, Topic,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{self, Instant};

/// A message, or a gap with its count.
type Item = Result<u32, Option<u64>>;

const UNKNOWN: Item = Err(None);

fn item(delivery: Delivery<u32>) -> Item {
    match delivery {
        Delivery::Message(number) => Ok(number),
        Delivery::Missed(missed) => Err(missed.count),
    }
}

async fn settle() {
    time::sleep(Duration::from_millis(150)).await;
}

/// All that has come a moment later.
async fn drain(channel: &mut Channel<u32>) -> Vec<Item> {
    settle().await;
    std::iter::from_fn(|| channel.try_recv().ok().map(item)).collect()
}

fn options() -> RemoteOptions {
    RemoteOptions::new().history(History::last(10))
}

async fn topic(broker: &Broker) -> Topic<u32> {
    broker.connected(options()).await.topic("lobby")
}

async fn publish(topic: &Topic<u32>, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        topic.publish(number).unwrap();
        settle().await;
    }
}

/// Publishes, and gives the positions.
async fn say(topic: &Topic<u32>, numbers: impl IntoIterator<Item = u32>) -> Vec<Position> {
    let mut channel = topic.subscribe();
    let mut positions = Vec::new();
    for number in numbers {
        topic.publish(number).unwrap();
        assert_eq!(drain(&mut channel).await, [Ok(number)]);
        positions.push(channel.position().unwrap());
    }
    positions
}

#[tokio::test(start_paused = true)]
async fn b5_a_lost_connection_is_bridged_by_what_was_kept() {
    let broker = Broker::new();
    let (here, there) = (topic(&broker).await, topic(&broker).await);
    let mut channel = there.subscribe();
    settle().await;
    publish(&here, 0..3).await;
    broker.bar(1);
    publish(&here, 3..6).await;
    assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1), Ok(2)]);
    // Who comes meanwhile goes on with what is here, and gets the rest like the others.
    let mut late = there.subscribe_from(&channel.position().unwrap());
    assert_eq!(drain(&mut late).await, []);
    broker.admit(1);
    settle().await;
    publish(&here, 6..7).await;
    for channel in [&mut channel, &mut late] {
        assert_eq!(drain(channel).await, [Ok(3), Ok(4), Ok(5), Ok(6)]);
    }
}

#[tokio::test(start_paused = true)]
async fn b2_the_loss_of_the_last_message_that_is_kept_is_told_too() {
    let broker = Broker::new();
    let (here, there) = (topic(&broker).await, topic(&broker).await);
    let mut channel = there.subscribe();
    settle().await;
    publish(&here, 0..2).await;
    broker.filter(|to, _, what| match (to, what) {
        (1, Kind::Message) => Fate::IsLost,
        _ => Fate::Arrives,
    });
    publish(&here, 2..3).await;
    assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1)]);
    time::sleep(Duration::from_secs(5)).await;
    assert_eq!(drain(&mut channel).await, [Err(Some(1))]);
}

#[tokio::test(start_paused = true)]
async fn b5_who_was_further_on_another_node_waits_for_this_one() {
    let broker = Broker::new();
    let (here, there) = (topic(&broker).await, topic(&broker).await);
    let mut channel = there.subscribe();
    settle().await;
    publish(&here, 0..1).await;
    broker.bar(1);
    let positions = say(&here, 1..4).await;
    let mut ahead = there.subscribe_from(&positions[1]);
    let mut at_the_end = there.subscribe_from(&positions[2]);
    assert_eq!(drain(&mut ahead).await, []);
    broker.admit(1);
    settle().await;
    publish(&here, 4..5).await;
    assert_eq!(
        drain(&mut channel).await,
        (0..5).map(Ok).collect::<Vec<_>>()
    );
    assert_eq!(drain(&mut ahead).await, [Ok(3), Ok(4)]);
    assert_eq!(drain(&mut at_the_end).await, [Ok(4)]);

    // It may be made up: then it is not waited for long.
    let far = Position::new(positions[0].life(), u128::MAX);
    let mut channel = there.subscribe_from(&far);
    assert_eq!(drain(&mut channel).await, []);
    time::sleep(Duration::from_secs(6)).await;
    let expected: Vec<Item> = [UNKNOWN].into_iter().chain((0..5).map(Ok)).collect();
    assert_eq!(drain(&mut channel).await, expected);
}

#[tokio::test(start_paused = true)]
async fn b5_what_cannot_be_bridged_is_one_gap_and_then_what_is_kept() {
    let broker = Broker::new();
    let (here, there) = (topic(&broker).await, topic(&broker).await);
    let mut channel = there.subscribe();
    settle().await;
    publish(&here, 0..2).await;
    broker.bar(1);
    publish(&here, 2..20).await;
    assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1)]);
    broker.admit(1);
    let expected: Vec<Item> = [UNKNOWN].into_iter().chain((9..20).map(Ok)).collect();
    assert_eq!(
        drain(&mut channel).await,
        expected,
        "one more than asked for is kept"
    );
    publish(&here, 20..21).await;
    assert_eq!(drain(&mut channel).await, [Ok(20)]);
    // The ring knows of the gap.
    let mut late = there.subscribe_last(100);
    assert_eq!(drain(&mut late).await, (11..21).map(Ok).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn b5_a_broker_that_lost_what_it_kept_is_one_gap() {
    let broker = Broker::new();
    let (here, there) = (topic(&broker).await, topic(&broker).await);
    let mut channel = there.subscribe();
    settle().await;
    let old = say(&here, 0..2).await;
    assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1)]);
    broker.stop();
    broker.lose_history();
    broker.start();
    assert_eq!(drain(&mut channel).await, [UNKNOWN]);
    publish(&here, 2..4).await;
    assert_eq!(drain(&mut channel).await, [Ok(2), Ok(3)]);
    // What is of the life before is nothing to anybody any more.
    let mut late = there.subscribe_from(&old[0]);
    assert_eq!(drain(&mut late).await, [UNKNOWN, Ok(2), Ok(3)]);
    let mut late = here.subscribe_from(&old[0]);
    assert_eq!(drain(&mut late).await, [UNKNOWN, Ok(2), Ok(3)]);
}

/// Its machine has lost power, say, and what was not on the disk yet.
#[tokio::test(start_paused = true)]
async fn b5_a_broker_that_lost_the_end_of_what_it_kept_is_one_gap() {
    for lost in [3, 5] {
        let broker = Broker::new();
        let (here, there) = (topic(&broker).await, topic(&broker).await);
        let mut channel = there.subscribe();
        settle().await;
        publish(&here, 0..5).await;
        assert_eq!(
            drain(&mut channel).await,
            (0..5).map(Ok).collect::<Vec<_>>()
        );
        broker.stop();
        broker.lose_tail(lost);
        broker.start();
        assert_eq!(drain(&mut channel).await, [UNKNOWN]);
        publish(&here, 5..7).await;
        assert_eq!(drain(&mut channel).await, [Ok(5), Ok(6)]);
        // What this node had of before is in an order of its own.
        let mut late = there.subscribe_last(10);
        assert_eq!(drain(&mut late).await, [Ok(5), Ok(6)]);
        // And the next connection goes on behind what there is now.
        broker.bar(1);
        publish(&here, 7..8).await;
        broker.admit(1);
        assert_eq!(drain(&mut channel).await, [Ok(7)]);
        let mut late = there.subscribe_from(&channel.position().unwrap());
        assert_eq!(drain(&mut late).await, []);
    }
}

/// And has given the positions to others when this node comes back.
#[tokio::test(start_paused = true)]
async fn b5_another_message_at_the_position_of_the_last_one_bridges_nothing() {
    let broker = Broker::new();
    let (here, there) = (topic(&broker).await, topic(&broker).await);
    let mut channel = there.subscribe();
    settle().await;
    publish(&here, 0..5).await;
    assert_eq!(
        drain(&mut channel).await,
        (0..5).map(Ok).collect::<Vec<_>>()
    );
    broker.bar(1);
    broker.lose_tail(2);
    publish(&here, 5..7).await;
    broker.admit(1);
    assert_eq!(drain(&mut channel).await, [UNKNOWN, Ok(6)]);
    publish(&here, 7..8).await;
    assert_eq!(drain(&mut channel).await, [Ok(7)]);
    let mut late = there.subscribe_last(10);
    assert_eq!(drain(&mut late).await, [Ok(6), Ok(7)]);
}

#[tokio::test(start_paused = true)]
async fn b5_many_who_come_back_cost_the_broker_one_replay() {
    let broker = Broker::new();
    let here = topic(&broker).await;
    let positions = say(&here, 0..5).await;
    let there = topic(&broker).await;
    let before = broker.replays();
    let mut channels: Vec<_> = (0..1_000)
        .map(|_| there.subscribe_from(&positions[2]))
        .collect();
    for channel in &mut channels {
        assert_eq!(drain(channel).await, [Ok(3), Ok(4)]);
    }
    assert_eq!(broker.replays() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn b5_who_subscribes_and_then_publishes_gets_its_own_message() {
    let broker = Broker::new();
    let here = topic(&broker).await;
    say(&here, 0..2).await;
    let there = topic(&broker).await;
    let mut plain = there.subscribe();
    let mut last = there.subscribe_last(1);
    there.publish(2).unwrap();
    assert_eq!(drain(&mut plain).await, [Ok(2)]);
    assert_eq!(drain(&mut last).await, [Ok(1), Ok(2)]);
}

#[tokio::test(start_paused = true)]
async fn b5_who_waits_too_long_for_what_is_kept_is_told_a_gap_and_goes_on() {
    let broker = Broker::new();
    let here = topic(&broker).await;
    let positions = say(&here, 0..2).await;
    broker.withhold();
    let there = topic(&broker).await;
    let start = Instant::now();
    let mut channels = [there.subscribe_from(&positions[0]), there.subscribe_last(5)];
    for channel in &mut channels {
        assert_eq!(channel.recv().await.map(item), Some(UNKNOWN));
    }
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(4) && waited < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn b5_who_begins_while_the_broker_is_away_is_told_a_gap_in_time() {
    let broker = Broker::new();
    let here = topic(&broker).await;
    let positions = say(&here, 0..2).await;
    broker.stop();
    settle().await;
    let mut channel = here.subscribe_from(&positions[0]);
    assert_eq!(drain(&mut channel).await, []);
    assert_eq!(channel.recv().await.map(item), Some(UNKNOWN));
    broker.start();
    assert_eq!(
        drain(&mut channel).await,
        [UNKNOWN],
        "that of the lost connection"
    );
    publish(&here, 2..3).await;
    assert_eq!(drain(&mut channel).await, [Ok(2)]);

    // Who came shortly before gets it all.
    broker.stop();
    drop(channel);
    settle().await;
    let mut channel = here.subscribe_from(&positions[0]);
    broker.start();
    assert_eq!(drain(&mut channel).await, [Ok(1), Ok(2)]);
}

#[tokio::test(start_paused = true)]
async fn b5_a_subscriber_of_before_the_first_connection_is_told_its_gap() {
    let broker = Broker::new();
    let here = topic(&broker).await;
    say(&here, 0..2).await;
    broker.stop();
    let there: Broadcaster<u32> = broker.node(options());
    let there = there.topic("lobby");
    let mut plain = there.subscribe();
    let mut last = there.subscribe_last(5);
    settle().await;
    broker.start();
    assert_eq!(drain(&mut plain).await, [UNKNOWN]);
    assert_eq!(
        drain(&mut last).await,
        [Ok(0), Ok(1)],
        "nothing is missing there"
    );
}

#[tokio::test(start_paused = true)]
async fn b5_a_nodes_memory_of_a_topic_goes_with_its_subscribers() {
    let broker = Broker::new();
    let here = topic(&broker).await;
    say(&here, 0..3).await;
    let before = broker.replays();
    let channels = [here.subscribe(), here.subscribe_last(1)];
    settle().await;
    assert_eq!(broker.replays() - before, 1);
    drop(channels);
    settle().await;
    assert!(broker.topics(0).is_empty());
    assert_eq!(drain(&mut here.subscribe_last(2)).await, [Ok(1), Ok(2)]);
    assert_eq!(broker.replays() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn b5_only_the_topics_that_are_named_are_kept() {
    let broker = Broker::new();
    let history = History::last(10).only(|name| name.starts_with("chat/"));
    let options = || RemoteOptions::new().history(history.clone());
    let here: Broadcaster<u32> = broker.connected(options()).await;
    let there: Broadcaster<u32> = broker.connected(options()).await;
    for name in ["chat/1", "news"] {
        let mut channel = there.topic(name).subscribe();
        settle().await;
        publish(&here.topic(name), 0..2).await;
        assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1)]);
        assert_eq!(channel.position().is_some(), name == "chat/1");
    }
    let mut channel = there.topic("news").subscribe_from(&Position::new(1, 1));
    assert_eq!(drain(&mut channel).await, [UNKNOWN]);
}

#[tokio::test(start_paused = true)]
async fn b5_a_node_that_keeps_nothing_gets_what_others_keep() {
    let broker = Broker::new();
    let here = topic(&broker).await;
    let there: Broadcaster<u32> = broker.connected(RemoteOptions::new()).await;
    let mut channel = there.topic("lobby").subscribe();
    settle().await;
    publish(&here, 0..2).await;
    assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1)]);
    assert_eq!(channel.position(), None);
    let mut keeping = here.subscribe();
    settle().await;
    publish(&there.topic("lobby"), 2..3).await;
    assert_eq!(drain(&mut keeping).await, [Ok(2)]);
    assert_eq!(keeping.position(), None, "it is not kept");
}

#[tokio::test(start_paused = true)]
async fn b5_a_link_that_keeps_nothing_gives_gaps() {
    /// Says that it is connected, and no more.
    struct Silent;

    impl Link for Silent {
        async fn run(self, node: Node) {
            assert_eq!(node.history(), None);
            let (mut session, _inbox) = node.connected("silent", usize::MAX);
            while session.next().await.is_some() {}
        }
    }

    let broadcaster: Broadcaster<u32> = Broadcaster::with_link(Silent, options());
    let mut channel = broadcaster
        .topic("lobby")
        .subscribe_from(&Position::new(1, 1));
    assert_eq!(channel.try_recv().map(item), Ok(UNKNOWN));
    let options = ChannelOptions::new().last(5);
    assert!(
        broadcaster
            .topic("lobby")
            .subscribe_with(options)
            .try_recv()
            .is_err()
    );
}

/// Keeps what is published, and brings what was announced before what it has kept.
struct AnnouncesFirst;

impl Link for AnnouncesFirst {
    const KEEPS_HISTORY: bool = true;

    async fn run(self, node: Node) {
        let (mut session, mut inbox) = node.connected("memory", usize::MAX);
        let own_topic = node.own_topic();
        let (mut kept, mut announced) = (Vec::new(), Vec::new());
        while let Some(commands) = session.next().await {
            for command in commands {
                match command {
                    Command::PublishKept { frame, .. } => kept.push(frame),
                    Command::Publish { topic, frame } if topic == own_topic => {
                        inbox.receive(&topic, frame);
                    }
                    Command::Publish { frame, .. } => announced.push(frame),
                    Command::SubscribeKept(topic) => {
                        assert!(!announced.is_empty());
                        for frame in &announced {
                            inbox.receive(&topic, frame.clone());
                        }
                        for (number, frame) in (1_u128..).zip(&kept) {
                            let position = Position::new(1, number);
                            let age = Duration::ZERO;
                            inbox.receive_kept(&topic, position, age, frame.clone());
                        }
                        inbox.replayed(&topic);
                    }
                    Command::Subscribe(_) | Command::Unsubscribe(_) => {}
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b5_what_is_announced_during_a_replay_does_not_stand_for_it() {
    let node = Broadcaster::with_link(AnnouncesFirst, options());
    let topic = node.topic("lobby");
    settle().await;
    publish(&topic, 0..3).await;
    // It is quiet for long enough that its last number is told.
    time::sleep(Duration::from_secs(2)).await;
    let mut channel = topic.subscribe_last(10);
    assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1), Ok(2)]);
}

/// Keeps what is published. Its connections bring so many messages of a replay, one after the other, and each but the last is
/// lost before the replay is over.
struct CutOff(Vec<usize>);

impl Link for CutOff {
    const KEEPS_HISTORY: bool = true;

    async fn run(self, node: Node) {
        let own_topic = node.own_topic();
        let mut kept = Vec::new();
        let last = self.0.len() - 1;
        for (index, brought) in self.0.into_iter().enumerate() {
            let (mut session, mut inbox) = node.connected("memory", usize::MAX);
            'session: while let Some(commands) = session.next().await {
                for command in commands {
                    match command {
                        Command::PublishKept { frame, .. } => kept.push(frame),
                        Command::Publish { topic, frame } if topic == own_topic => {
                            inbox.receive(&topic, frame);
                        }
                        Command::SubscribeKept(topic) => {
                            for (number, frame) in (1_u128..).zip(&kept).take(brought) {
                                let position = Position::new(1, number);
                                inbox.receive_kept(&topic, position, Duration::ZERO, frame.clone());
                            }
                            if index < last {
                                break 'session;
                            }
                            inbox.replayed(&topic);
                        }
                        Command::Publish { .. }
                        | Command::Subscribe(_)
                        | Command::Unsubscribe(_) => {}
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b7_who_was_subscribed_when_the_first_replay_was_cut_off_is_told_its_gap() {
    let cases: [(&[usize], &[Item]); 6] = [
        // The broker has less than before.
        (&[1, 0], &[Ok(0), UNKNOWN]),
        (&[2, 1], &[Ok(0), Ok(1), UNKNOWN]),
        (&[0, 2], &[Ok(0), Ok(1)]),
        (&[1, 2], &[Ok(0), Ok(1)]),
        (&[2, 2], &[Ok(0), Ok(1)]),
        (&[1, 0, 1, 3], &[Ok(0), Ok(1), Ok(2)]),
    ];
    for (brought, expected) in cases {
        let node = Broadcaster::with_link(CutOff(brought.to_vec()), options());
        let topic = node.topic("lobby");
        settle().await;
        publish(&topic, 0..3).await;
        // What is published now may be in the replay that is cut off, and is handed to nobody then.
        let mut plain = topic.subscribe();
        let mut last = topic.subscribe_last(10);
        assert_eq!(drain(&mut plain).await, [UNKNOWN], "{brought:?}");
        assert_eq!(drain(&mut last).await, expected, "{brought:?}");
    }
}

/// Keeps what is published, and brings one more message of a subscription that is about to end: before it takes the commands
/// that end it, when it is told to, or when it has them.
struct OneMoreOfBefore(Option<Arc<Notify>>);

impl Link for OneMoreOfBefore {
    const KEEPS_HISTORY: bool = true;

    async fn run(self, node: Node) {
        let (mut session, mut inbox) = node.connected("memory", usize::MAX);
        let own_topic = node.own_topic();
        let mut kept = Vec::new();
        let mut subscribed = None;
        loop {
            let goes_on = self.0.as_ref().filter(|_| subscribed.is_some());
            if let Some(goes_on) = goes_on {
                goes_on.notified().await;
                bring_last(&mut inbox, subscribed.take(), &kept);
            }
            let Some(commands) = session.next().await else {
                return;
            };
            let ends = |command: &Command| matches!(command, Command::Unsubscribe(_));
            if commands.iter().any(ends) {
                bring_last(&mut inbox, subscribed.take(), &kept);
            }
            for command in commands {
                match command {
                    Command::PublishKept { frame, .. } => kept.push(frame),
                    Command::Publish { topic, frame } if topic == own_topic => {
                        inbox.receive(&topic, frame);
                    }
                    Command::SubscribeKept(topic) => {
                        for (number, frame) in (1_u128..).zip(&kept) {
                            let position = Position::new(1, number);
                            let age = Duration::ZERO;
                            inbox.receive_kept(&topic, position, age, frame.clone());
                        }
                        inbox.replayed(&topic);
                        subscribed = Some(topic);
                    }
                    Command::Publish { .. } | Command::Subscribe(_) | Command::Unsubscribe(_) => {}
                }
            }
        }
    }
}

fn bring_last(inbox: &mut Inbox, topic: Option<Arc<str>>, kept: &[Bytes]) {
    if let Some((topic, frame)) = topic.zip(kept.last()) {
        let last = Position::new(1, kept.len() as u128);
        inbox.receive_kept(&topic, last, Duration::ZERO, frame.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn b5_what_still_comes_of_an_earlier_subscription_is_no_part_of_the_replay() {
    let goes_on = Arc::<Notify>::default();
    for waits in [Some(Arc::clone(&goes_on)), None] {
        let node = Broadcaster::with_link(OneMoreOfBefore(waits), options());
        let topic = node.topic("lobby");
        settle().await;
        publish(&topic, 0..3).await;
        let mut channel = topic.subscribe_last(10);
        assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1), Ok(2)]);
        drop(channel);
        let mut channel = topic.subscribe_last(10);
        goes_on.notify_one();
        assert_eq!(drain(&mut channel).await, [Ok(0), Ok(1), Ok(2)]);
    }
}

thread_local! {
    /// What the next message that is dropped subscribes to.
    static ON_DROP: RefCell<Option<Topic<Subscribes>>> = const { RefCell::new(None) };
}

#[derive(Clone, Serialize, Deserialize)]
struct Subscribes(u32);

impl Drop for Subscribes {
    fn drop(&mut self) {
        if let Some(topic) = ON_DROP.take() {
            drop(topic.subscribe());
        }
    }
}

/// A lock that is held meanwhile shows as a test that does not end.
#[tokio::test(start_paused = true)]
async fn b5_what_is_too_old_as_somebody_subscribes_may_use_the_topic() {
    let broker = Broker::new();
    let history = History::last(10).max_age(Duration::from_secs(1));
    let node = broker
        .connected(RemoteOptions::new().history(history))
        .await;
    let topic = node.topic("lobby");
    let mut channel = topic.subscribe();
    topic.publish(Subscribes(1)).unwrap();
    settle().await;
    assert!(channel.try_recv().is_ok());
    time::sleep(Duration::from_secs(2)).await;
    ON_DROP.set(Some(topic.clone()));
    let late = topic.subscribe_last(1);
    assert!(ON_DROP.take().is_none(), "something was dropped");
    assert_eq!(topic.subscribers(), 2);
    drop(late);
}

#[tokio::test(start_paused = true)]
async fn b5_who_was_further_on_another_node_goes_on_with_the_next_message() {
    let broker = Broker::new();
    let (here, there) = (topic(&broker).await, topic(&broker).await);
    let _channel = there.subscribe();
    settle().await;
    publish(&here, 0..1).await;
    broker.filter(|node, _, kind| {
        if (node, kind) == (1, Kind::Message) {
            Fate::IsLost
        } else {
            Fate::Arrives
        }
    });
    let positions = say(&here, 1..2).await;
    let mut ahead = there.subscribe_from(&positions[0]);
    assert_eq!(drain(&mut ahead).await, []);
    broker.filter(|_, _, _| Fate::Arrives);
    publish(&here, 2..3).await;
    // What it was behind has not come here.
    let expected = [UNKNOWN, Ok(0), Err(Some(1)), Ok(2)];
    assert_eq!(drain(&mut ahead).await, expected);
}

#[tokio::test(start_paused = true)]
async fn b5_what_is_missing_in_what_is_kept_is_a_gap_in_its_place() {
    let broker = Broker::new();
    let here = topic(&broker).await;
    publish(&here, 0..1).await;
    broker.ignore(0);
    publish(&here, 1..2).await;
    broker.cut(0);
    settle().await;
    publish(&here, 2..3).await;
    let there = topic(&broker).await;
    let mut channel = there.subscribe_last(10);
    let expected = [Ok(0), Err(Some(1)), Ok(2)];
    assert_eq!(drain(&mut channel).await, expected);
}
