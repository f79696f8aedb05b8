//! Presence across nodes over a broker and a store in memory, on a paused clock (B8): bounds, rates, and what goes wrong.
//! What people see is in the kit (`conformance.rs`).

#![expect(clippy::panic, reason = "one panic is a test's")]

mod broker;

use std::time::Duration;

use broker::Broker;
use broker::store::Keys;
use dreamsocket_broadcaster::{Presence, PresenceOptions};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::{self, Instant};

async fn when(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "not yet: {what}");
        time::sleep(Duration::from_millis(5)).await;
    }
}

async fn rest(milliseconds: u64) {
    time::sleep(Duration::from_millis(milliseconds)).await;
}

fn keys_of<V: Send + Sync + 'static>(node: &Presence<u32, V>, topic: &str) -> Vec<u32> {
    let people = node.people(topic);
    let mut keys: Vec<_> = people.iter().map(|person| *person.key()).collect();
    keys.sort_unstable();
    keys
}

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
    let watches = [other.watch("1"), other.watch("1"), other.watch("2")];
    when("received", || {
        broker.topics(there).len() == before.len() + 2
    })
    .await;
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
    let before = keys.counts().rosters;
    let start = Instant::now();
    for round in 0..1_000 {
        member.update(round.to_string());
        rest(10).await;
    }
    let written = keys.counts().rosters - before;
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
    let mut waiting = std::pin::pin!(node.known("lobby"));
    let in_vain = time::timeout(Duration::from_secs(5), waiting.as_mut()).await;
    assert!(in_vain.is_err());
    drop(watch);
    waiting.await;
    let _watch = node.watch("lobby");
    broker.start();
    node.known("lobby").await;
}

/// After a restart everybody writes and reads everything again, and all at once that would be a flood.
#[tokio::test(start_paused = true)]
async fn b8_after_a_restart_rosters_are_written_and_read_at_a_bounded_rate() {
    const TOPICS: u32 = 1_000;
    let (broker, keys) = (Broker::new(), Keys::default());
    let options = || PresenceOptions::new().rate(100);
    let (_, node) = broker.presence::<u32, String>(&keys, options());
    let _members: Vec<_> = (0..TOPICS)
        .map(|key| node.enter(key.to_string(), key, String::new()))
        .collect();
    let _watches: Vec<_> = (0..TOPICS).map(|key| node.watch(key.to_string())).collect();
    when("ready", || node.health().is_ready()).await;
    rest(5_000).await;
    broker.stop();
    keys.forget();
    rest(100).await;
    broker.start();
    let before = keys.counts();
    for second in 1..=10 {
        rest(1_000).await;
        let now = keys.counts();
        let asked = now.rosters - before.rosters + now.lists - before.lists;
        assert!(asked <= 110 * second, "{asked} after {second} s");
    }
    when("ready", || node.health().is_ready()).await;
    when("all written", || keys.len() == TOPICS as usize + 1).await;
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
    let _large = here.enter("lobby", 1, "x".repeat(100));
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
    let _full = here.enter("lobby", 5, "x".repeat(80));
    rest(1_000).await;
    assert_eq!(keys_of(&there, "lobby"), [2, 3, 4]);
    assert_eq!(keys_of(&here, "lobby"), [1, 2, 3, 4, 5]);
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

/// A machine that slept comes back to a world that has buried it.
#[tokio::test(start_paused = true)]
async fn b8_whoever_hears_that_it_is_missed_shows_itself_again() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (here_number, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let _member = here.enter("lobby", 1, String::new());
    when("seen", || keys_of(&there, "lobby") == [1]).await;
    for _ in 0..3 {
        broker.bar(here_number);
        when("gone", || keys_of(&there, "lobby").is_empty()).await;
        assert_eq!(keys_of(&here, "lobby"), [1]);
        broker.admit(here_number);
        when("back", || keys_of(&there, "lobby") == [1]).await;
    }
}
