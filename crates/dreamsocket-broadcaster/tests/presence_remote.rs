//! Presence across nodes over a broker and a store in memory, on a paused clock (B8): bounds, rates, and code of the user's.
//! What goes wrong on the way is in `presence_recovery.rs`, what people see in the kit (`conformance.rs`).

#![expect(clippy::panic, reason = "what panics is a test's")]

mod broker;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use broker::Broker;
use broker::store::{Answer, Call, Keys, keys_of, rest, when};
use dreamsocket_broadcaster::link::Shelf;
use dreamsocket_broadcaster::{Encoding, Presence, PresenceOptions};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::{self, Instant};

#[tokio::test(start_paused = true)]
async fn b6_only_topics_that_are_watched_are_received() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (here, node) = broker.present(&keys).await;
    let (there, other) = broker.present(&keys).await;
    let before = broker.topics(here);
    let _members: Vec<_> = (0..10)
        .map(|key| node.enter(key.to_string(), key, String::new()))
        .collect();
    rest(1_000).await;
    assert_eq!(broker.topics(here), before);
    let watches = ["1", "1", "2", "nobody"].map(|topic| other.watch(topic));
    when("received", || {
        broker.topics(there).len() == before.len() + 3
    })
    .await;
    when("known", || other.topics() == 2).await;
    drop(watches);
    when("not received", || broker.topics(there) == before).await;
    assert_eq!(other.topics(), 0);
}

#[tokio::test(start_paused = true)]
async fn b8_an_idle_node_writes_its_life_once_a_second_and_nothing_else() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _member = here.enter("lobby", 1, String::new());
    let _watch = there.watch("lobby");
    rest(5_000).await;
    let before = keys.counts();
    rest(60_000).await;
    let after = keys.counts();
    let lives = after.lives - before.lives;
    assert!((110..=120).contains(&lives), "{lives} by two nodes");
    assert_eq!(after.rosters, before.rosters);
    assert_eq!(after.lists, before.lists);
    // Rosters are kept from expiring.
    rest(10 * 60_000).await;
    let rosters = keys.counts().rosters - after.rosters;
    assert!((4..=6).contains(&rosters), "{rosters} in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn b8_a_roster_is_written_twice_a_second_however_often_it_changes() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let member = here.enter("lobby", 1, String::new());
    let _watch = there.watch("lobby");
    rest(1_000).await;
    let before = keys.counts();
    let start = Instant::now();
    for round in 0..1_000 {
        member.update(round.to_string());
        rest(10).await;
    }
    let after = keys.counts();
    assert_eq!(after.lists, before.lists, "what is told is not read");
    let written = after.rosters - before.rosters;
    let most = start.elapsed().as_millis() / 500 + 1;
    let bounds = 15..=usize::try_from(most).unwrap();
    assert!(
        bounds.contains(&written),
        "{written} in {:?}",
        start.elapsed()
    );
    when("seen", || there.people("lobby")[0].value() == "999").await;
}

#[tokio::test(start_paused = true)]
async fn b8_any_time_may_be_asked_for_between_two_writes() {
    for time in [Duration::ZERO, Duration::MAX] {
        let (broker, keys) = (Broker::new(), Keys::default());
        let options = PresenceOptions::new().write_interval(time);
        let (_, here) = broker.presence::<u32, String>(&keys, options);
        let (_, there) = broker.present(&keys).await;
        let _watch = there.watch("lobby");
        let _member = here.enter("lobby", 1, String::new());
        rest(1_000).await;
        let _member = here.enter("lobby", 2, String::new());
        when("seen", || keys_of(&there, "lobby") == [1, 2]).await;
        // Longer than a life lasts that is not shown again.
        rest(10_000).await;
        assert_eq!(keys_of(&there, "lobby"), [1, 2]);
        // Who comes later reads the roster, which is written every two minutes whatever was asked for.
        rest(120_000).await;
        let (_, late) = broker.present(&keys).await;
        let _watch = late.watch("lobby");
        late.known("lobby").await;
        assert_eq!(keys_of(&late, "lobby"), [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn b8_who_waits_until_a_topic_is_known_finds_everybody_in_it() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _members = [1, 2, 3].map(|key| here.enter("lobby", key, String::new()));
    // Keeps the topic's room, whoever watches it.
    let _member = there.enter("lobby", 4, String::new());
    rest(1_000).await;
    // At once: nobody watches it.
    there.known("lobby").await;
    assert_eq!(keys_of(&there, "lobby"), [4]);
    for _ in 0..3 {
        let watch = there.watch("lobby");
        there.known("lobby").await;
        assert_eq!(keys_of(&there, "lobby"), [1, 2, 3, 4]);
        // Known already.
        there.known("lobby").await;
        drop(watch);
        rest(1_000).await;
    }
    // In process there is nothing to wait for.
    let alone = Presence::<u32, String>::new();
    let _watch = alone.watch("lobby");
    alone.known("lobby").await;
}

#[tokio::test(start_paused = true)]
async fn b8_a_topic_that_cannot_be_read_is_not_known_until_nobody_watches_it() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, node) = broker.present(&keys).await;
    broker.stop();
    rest(1_000).await;
    let watch = node.watch("lobby");
    let mut waiting = pin!(node.known("lobby"));
    let in_vain = time::timeout(Duration::from_secs(5), waiting.as_mut()).await;
    assert!(in_vain.is_err());
    drop(watch);
    waiting.await;
    let _watch = node.watch("lobby");
    broker.start();
    node.known("lobby").await;
}

#[tokio::test(start_paused = true)]
async fn b8_a_node_that_goes_leaves_no_keys() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (_, stays) = broker.present(&keys).await;
    let members: Vec<_> = (0..10)
        .map(|key| here.enter(key.to_string(), key, String::new()))
        .collect();
    when("written", || keys.len() == 12).await;
    drop((here, members));
    when("removed", || keys.len() == 1).await;
    drop(stays);
    when("removed", || keys.len() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn b8_what_is_too_large_is_seen_here_only_and_counted() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let options = PresenceOptions::new().max_entry(100).max_roster(300);
    let (_, here) = broker.presence::<u32, String>(&keys, options);
    let (_, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let large = here.enter("lobby", 1, "x".repeat(100));
    let member = here.enter("lobby", 2, "small".to_owned());
    when("seen", || keys_of(&there, "lobby") == [2]).await;
    assert_eq!(here.health().undecodable, 1);
    member.update("x".repeat(100));
    let _next = here.enter("lobby", 3, "x".repeat(80));
    when("seen", || keys_of(&there, "lobby") == [2, 3]).await;
    assert_eq!(
        there.people("lobby")[0].value(),
        "small",
        "what it was before"
    );
    assert_eq!(here.health().undecodable, 2);
    // The whole is too large now.
    let _full = here.enter("lobby", 4, "x".repeat(80));
    let last = here.enter("lobby", 5, "x".repeat(80));
    rest(1_000).await;
    assert_eq!(keys_of(&there, "lobby"), [2, 3, 4]);
    assert_eq!(keys_of(&here, "lobby"), [1, 2, 3, 4, 5]);
    assert_eq!(here.health().undecodable, 3);
    // What fits again is seen again.
    drop(last);
    large.update("small".to_owned());
    large.update("little".to_owned());
    when("seen", || keys_of(&there, "lobby") == [1, 2, 3, 4]).await;
    assert_eq!(there.people("lobby")[0].value(), "little");
    assert_eq!(here.health().undecodable, 3);
    // A name that is too long is nobody else's, either.
    let long = "x".repeat(501);
    let _own = here.enter(long.as_str(), 1, String::new());
    let _watch = there.watch(long.as_str());
    rest(1_000).await;
    assert_eq!(
        (keys_of(&here, &long), keys_of(&there, &long)),
        (vec![1], vec![])
    );
}

#[derive(Debug, Serialize)]
struct Fragile(u32);

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        match number {
            1 => panic!("on purpose"),
            2 => Err(serde::de::Error::custom("no")),
            number => Ok(Self(number)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b8_who_cannot_be_read_hides_nobody_else() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let options = PresenceOptions::new;
    let (_, here) = broker.presence::<u32, Fragile>(&keys, options());
    let (_, there) = broker.presence::<u32, Fragile>(&keys, options());
    let _watch = there.watch("lobby");
    let _members: Vec<_> = (0..5)
        .map(|key| here.enter("lobby", key, Fragile(key)))
        .collect();
    when("seen", || keys_of(&there, "lobby") == [0, 3, 4]).await;
    assert!(there.health().undecodable >= 2);
    let values: Vec<_> = there
        .people("lobby")
        .iter()
        .map(|person| person.value().0)
        .collect();
    assert_eq!(values, [0, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn b8_bytes_that_nobody_understands_are_counted_and_change_nothing() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let _member = here.enter("lobby", 1, String::new());
    when("seen", || keys_of(&there, "lobby") == [1]).await;
    broker.publish("room/lobby", b"\x01 what is this?");
    broker.publish("lives", b"\x01 and this?");
    when("counted", || there.health().undecodable >= 1).await;
    rest(10_000).await;
    assert_eq!(keys_of(&there, "lobby"), [1]);
}

#[tokio::test(start_paused = true)]
async fn b8_more_changes_than_are_told_are_read() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let mut members = Vec::new();
    for round in 0..30_u32 {
        members.push(here.enter("lobby", round, "x".repeat(3_000)));
        for _ in 0..300 {
            members[0].update(round.to_string());
        }
        time::sleep(Duration::from_micros(1)).await;
    }
    let expected: Vec<_> = (0..30).collect();
    when("seen", || keys_of(&there, "lobby") == expected).await;
    when("seen", || there.people("lobby")[0].value() == "29").await;
}

#[tokio::test(start_paused = true)]
async fn b8_names_at_the_broker_begin_with_the_prefix() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let _default = broker.present(&keys).await;
    let options = PresenceOptions::new().prefix("shop");
    let (_, node) = broker.presence::<u32, String>(&keys, options);
    when("ready", || node.health().is_ready()).await;
    let expected = ["dreamsocket.presence", "shop.presence"];
    assert_eq!(broker.prefixes(), expected.map(str::to_owned).into());
}

/// Who finds a roster of a node that nobody knows asks whether it lives.
#[tokio::test(start_paused = true)]
async fn b8_options_are_kept() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let options = PresenceOptions::new()
        .prefix("shop")
        .rate(20)
        .encoding(Encoding::MessagePack)
        .beat(Duration::from_millis(500))
        .write_interval(Duration::from_secs(3));
    let (_, node) = broker.presence::<u32, String>(&keys, options);
    when("ready", || node.health().is_ready()).await;
    let before = keys.counts();
    let member = node.enter("lobby", 1, String::new());
    for round in 0..60 {
        member.update(format!("\"{round}\""));
        rest(500).await;
    }
    let after = keys.counts();
    let lives = after.lives - before.lives;
    assert!((58..=61).contains(&lives), "{lives} in half a minute");
    let rosters = after.rosters - before.rosters;
    assert!((10..=11).contains(&rosters), "{rosters} in half a minute");
    assert!(!keys.has(b"\\\""), "JSON would escape the quotes");
    assert!(broker.prefixes().contains("shop.presence"));
}

#[tokio::test(start_paused = true)]
async fn b8_a_node_is_not_ready_and_writes_nothing_before_its_life_is_known() {
    let (broker, keys) = (Broker::new(), Keys::default());
    keys.filter(|_, shelf, _| match shelf {
        Shelf::Lives => Answer::Failed,
        Shelf::Roster(_) => Answer::Done,
    });
    let (_, node) = broker.presence::<u32, String>(&keys, PresenceOptions::new());
    let _member = node.enter("lobby", 1, String::new());
    rest(5_000).await;
    let health = node.health();
    assert!(!health.is_connected && !health.is_ready());
    assert_eq!(keys.counts().rosters, 0);
    keys.filter(|_, _, _| Answer::Done);
    when("ready", || node.health().is_ready()).await;
    when("written", || keys.counts().rosters == 1).await;
}

#[tokio::test(start_paused = true)]
async fn b8_a_topic_is_pending_until_it_was_read() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, node) = broker.present(&keys).await;
    keys.filter(|_, _, call| match call {
        Call::List => Answer::Failed,
        Call::Put | Call::Remove => Answer::Done,
    });
    let watches = ["a", "b"].map(|topic| node.watch(topic));
    assert_eq!(node.health().pending_topics, 2, "nobody has looked yet");
    rest(1_000).await;
    assert_eq!(node.health().pending_topics, 2);
    drop(watches);
    rest(1_000).await;
    assert_eq!(node.health().pending_topics, 0);
    let _watches = ["a", "b"].map(|topic| node.watch(topic));
    rest(1_000).await;
    keys.filter(|_, _, _| Answer::Done);
    when("ready", || node.health().is_ready()).await;
}

#[tokio::test(start_paused = true)]
async fn b8_a_store_that_fails_is_asked_less_and_less() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, node) = broker.present(&keys).await;
    keys.filter(|_, shelf, _| match shelf {
        Shelf::Roster(_) => Answer::Failed,
        Shelf::Lives => Answer::Done,
    });
    let _watch = node.watch("lobby");
    rest(60_000).await;
    let failures = keys.counts().failures;
    // After 100, 200, 300 ms, and so on up to two seconds.
    assert!((40..60).contains(&failures), "{failures} in a minute");
}

#[tokio::test(start_paused = true)]
async fn b8_many_topics_at_once_let_others_have_their_turn() {
    const TOPICS: u32 = 1_000;
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, node) = broker.present(&keys).await;
    let _members: Vec<_> = (0..TOPICS)
        .map(|key| node.enter(key.to_string(), key, String::new()))
        .collect();
    let mut pending = node.health().pending_topics;
    let mut most = 0;
    while pending > 0 {
        tokio::task::yield_now().await;
        let before = std::mem::replace(&mut pending, node.health().pending_topics);
        most = most.max(before.saturating_sub(pending));
    }
    assert!(most <= 128, "{most} between two turns of another task");
}

#[tokio::test(start_paused = true)]
async fn b8_changes_are_told_at_once_and_only_what_changed() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let options = PresenceOptions::new().write_interval(Duration::from_secs(10));
    let (_, here) = broker.presence::<u32, String>(&keys, options);
    let (there_number, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let members: Vec<_> = (0..50)
        .map(|key| here.enter("lobby", key, "x".repeat(1_000)))
        .collect();
    when("seen", || there.people("lobby").len() == 50).await;
    rest(20_000).await;
    let before = broker.bytes(there_number);
    for round in 0..10 {
        members[0].update(round.to_string());
        rest(50).await;
        assert_eq!(there.people("lobby")[0].value(), &round.to_string());
        rest(10_000).await;
    }
    let bytes = broker.bytes(there_number) - before;
    assert!(bytes < 30_000, "{bytes} of ten changes and their writes");
}

#[tokio::test(start_paused = true)]
async fn b8_a_node_does_not_look_for_itself() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, node) = broker.present(&keys).await;
    let _member = node.enter("lobby", 1, String::new());
    when("written", || keys.counts().rosters == 1).await;
    let before = keys.counts().lists;
    let _watch = node.watch("lobby");
    rest(10_000).await;
    assert_eq!(keys.counts().lists, before + 1, "the topic's rosters");
    assert_eq!(node.health().undecodable, 0);
}

#[tokio::test(start_paused = true)]
async fn b8_a_roster_under_the_key_of_another_is_counted_and_not_shown() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _member = here.enter("lobby", 1, String::new());
    when("written", || keys.counts().rosters == 1).await;
    keys.copy_rosters("lobby", "0000000000000007");
    keys.copy_rosters("lobby", "no number");
    let _watch = there.watch("lobby");
    there.known("lobby").await;
    assert_eq!(keys_of(&there, "lobby"), [1]);
    assert_eq!(there.health().undecodable, 2);
}

#[tokio::test(start_paused = true)]
async fn b8_what_is_new_does_not_wait_for_what_is_written_again() {
    const TOPICS: u32 = 3_000;
    let (broker, keys) = (Broker::new(), Keys::default());
    let options = PresenceOptions::new().rate(10);
    let (_, node) = broker.presence::<u32, String>(&keys, options);
    let _members: Vec<_> = (0..TOPICS)
        .map(|key| node.enter(key.to_string(), key, String::new()))
        .collect();
    // To write them all takes 300 s, and each is to be written again after 120.
    rest(700_000).await;
    let _watch = node.watch("another");
    time::timeout(Duration::from_secs(2), node.known("another"))
        .await
        .expect("known in time");
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn b8_a_waker_that_panics_harms_nobody() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _there = there.watch("lobby");
    for _ in 0..2 {
        let watch = here.watch("lobby");
        let waker = Waker::from(Arc::new(PanickingWaker));
        let mut known = pin!(here.known("lobby"));
        let poll = known.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
        rest(1_000).await;
        assert!(here.health().is_ready());
        drop(watch);
        rest(1_000).await;
    }
    let member = here.enter("lobby", 1, String::new());
    when("seen", || keys_of(&there, "lobby") == [1]).await;
    drop(member);
    when("seen", || keys_of(&there, "lobby").is_empty()).await;
    assert_eq!(here.topics(), 0);
}

/// What comes from elsewhere panics when it is dropped, while this is set.
static IS_ARMED: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Serialize)]
struct Explosive(u32, #[serde(skip)] bool);

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number,) = <(u32,)>::deserialize(deserializer)?;
        Ok(Self(number, true))
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        if self.1 && IS_ARMED.load(Ordering::Relaxed) {
            panic!("on purpose");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b8_values_that_panic_when_they_are_dropped_lose_nothing() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let options = PresenceOptions::new;
    let (_, here) = broker.presence::<u32, Explosive>(&keys, options());
    let (_, there) = broker.presence::<u32, Explosive>(&keys, options());
    let _there = there.watch("lobby");
    let _members = [2, 3].map(|key| there.enter("lobby", key, Explosive(key, false)));
    let member = here.enter("lobby", 1, Explosive(1, false));
    let watch = here.watch("lobby");
    for node in [&here, &there] {
        when("seen", || keys_of(node, "lobby") == [1, 2, 3]).await;
    }
    IS_ARMED.store(true, Ordering::Relaxed);
    drop(watch.1);
    drop(member);
    when("seen", || keys_of(&there, "lobby") == [2, 3]).await;
    IS_ARMED.store(false, Ordering::Relaxed);
    drop(watch.0);
    let _watch = here.watch("lobby");
    here.known("lobby").await;
    assert_eq!(keys_of(&here, "lobby"), [2, 3]);
}

/// A log that shows who is there.
struct Nosy(Presence<u32, String>);

impl tracing::Subscriber for Nosy {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        assert!(!self.0.people("lobby").is_empty());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// A lock that is held meanwhile shows as a test that does not end.
#[tokio::test(start_paused = true)]
async fn b8_no_lock_is_held_while_the_log_is_written() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let options = PresenceOptions::new().max_roster(30);
    let (_, node) = broker.presence::<u32, String>(&keys, options);
    let _member = tracing::subscriber::with_default(Nosy(node.clone()), || {
        node.enter("lobby", 1, "x".repeat(100))
    });
    assert_eq!(node.health().undecodable, 1);
}
