//! Presence across nodes, over a broker and a store in memory that are broken on purpose, on a paused clock (B8): whatever is
//! lost, late or mistaken, all come to see the same people.

mod broker;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker::store::{Answer, Call, Keys, keys_of, rest, when};
use broker::{Broker, Fate, Kind};
use dreamsocket_broadcaster::link::Shelf;
use dreamsocket_broadcaster::{Delivery, PresenceEvent, PresenceOptions};

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

#[tokio::test(start_paused = true)]
async fn b8_what_was_told_and_did_not_come_is_read() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (number, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    rest(1_000).await;
    // Not even that the roster was written.
    broker.filter(move |node, topic, kind| {
        if node == number && topic.starts_with("room/") && kind == Kind::Message {
            Fate::IsLost
        } else {
            Fate::Arrives
        }
    });
    let _members = [1, 2].map(|key| here.enter("lobby", key, String::new()));
    when("seen", || keys_of(&there, "lobby") == [1, 2]).await;
}

/// What is on its way when the last watcher goes is nobody's any more.
#[tokio::test(start_paused = true)]
async fn b8_what_comes_too_late_for_the_last_watcher_is_not_kept() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (number, there) = broker.present(&keys).await;
    let _member = here.enter("lobby", 1, String::new());
    // Keeps the room.
    let _own = there.enter("lobby", 2, String::new());
    rest(1_000).await;
    keys.filter(move |node, _, call| match call {
        Call::List if node == number => Answer::Late(Duration::from_secs(1)),
        _ => Answer::Done,
    });
    let watch = there.watch("lobby");
    rest(500).await;
    drop(watch);
    rest(2_000).await;
    assert_eq!(keys_of(&there, "lobby"), [2]);
    let _watch = there.watch("lobby");
    there.known("lobby").await;
    assert_eq!(keys_of(&there, "lobby"), [1, 2]);
}

/// Between the look into the store and the subscription there must be nothing.
#[tokio::test(start_paused = true)]
async fn b8_a_topic_is_read_when_the_broker_knows_that_it_is_watched() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (_, here) = broker.present(&keys).await;
    let (number, there) = broker.present(&keys).await;
    broker.delay(number, Duration::from_millis(100));
    let _first = there.watch("first");
    rest(50).await;
    let _in_first = here.enter("first", 1, String::new());
    // Watched while it is asked whether the first is known.
    let _second = there.watch("second");
    rest(100).await;
    let _in_second = here.enter("second", 2, String::new());
    rest(2_000).await;
    assert_eq!(keys_of(&there, "first"), [1]);
    assert_eq!(keys_of(&there, "second"), [2]);
}

/// The store may have lost it, and then its node writes it again in time.
#[tokio::test(start_paused = true)]
async fn b8_a_roster_that_the_store_has_lost_is_kept_until_it_is_written_again() {
    for beat in [Duration::from_millis(100), Duration::from_secs(1)] {
        let (broker, keys) = (Broker::new(), Keys::default());
        let options = || PresenceOptions::new().beat(beat);
        let (_, here) = broker.presence::<u32, String>(&keys, options());
        let (number, there) = broker.presence::<u32, String>(&keys, options());
        let _watch = there.watch("lobby");
        let _member = here.enter("lobby", 1, String::new());
        when("seen", || keys_of(&there, "lobby") == [1]).await;
        for _ in 0..20 {
            rest(30_000).await;
            keys.forget_rosters();
            // It looks into the store again.
            broker.cut(number);
            assert_eq!(keys_of(&there, "lobby"), [1]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b8_a_roster_that_is_missing_for_long_is_nobodys() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (here_number, here) = broker.present(&keys).await;
    let (there_number, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let member = here.enter("lobby", 1, String::new());
    when("seen", || keys_of(&there, "lobby") == [1]).await;
    // That it leaves is told by nobody.
    broker.filter(move |node, topic, _| {
        if node == there_number && topic.starts_with("room/") {
            Fate::IsLost
        } else {
            Fate::Arrives
        }
    });
    keys.filter(move |node, shelf, call| {
        if (node, call) == (here_number, Call::Put) && *shelf != Shelf::Lives {
            Answer::Lost
        } else {
            Answer::Done
        }
    });
    drop(member);
    keys.forget_rosters();
    broker.cut(there_number);
    rest(140_000).await;
    assert_eq!(keys_of(&there, "lobby"), [1]);
    rest(20_000).await;
    assert!(keys_of(&there, "lobby").is_empty());
}

/// What is missing is looked for a second time, and not sooner because there was another reason to look.
#[tokio::test(start_paused = true)]
async fn b8_a_restart_of_the_broker_moves_nobody_who_is_late() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (late_number, late) = broker.present(&keys).await;
    let (early_number, early) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _late = late.enter("lobby", 1, String::new());
    let member = early.enter("lobby", 2, String::new());
    let (_, mut changes) = there.watch("lobby");
    when("seen", || keys_of(&there, "lobby") == [1, 2]).await;
    rest(1_000).await;
    broker.stop();
    keys.forget();
    rest(500).await;
    member.update("changed".to_owned());
    for number in [late_number, early_number] {
        broker.bar(number);
    }
    broker.start();
    rest(500).await;
    broker.admit(early_number);
    rest(1_500).await;
    broker.admit(late_number);
    rest(10_000).await;
    while let Ok(delivery) = changes.try_recv() {
        let has_left = matches!(delivery, Delivery::Message(PresenceEvent::Left(_)));
        assert!(!has_left, "{delivery:?}");
    }
    assert_eq!(keys_of(&there, "lobby"), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn b8_what_could_not_be_said_after_it_was_written_is_said_later() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (number, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let member = here.enter("lobby", 1, String::new());
    when("seen", || keys_of(&there, "lobby") == [1]).await;
    rest(1_000).await;
    // It is told to nobody, and the connection is lost again as it is written.
    broker.bar(number);
    rest(100).await;
    drop(member);
    keys.filter(move |node, shelf, _| {
        if node == number && *shelf != Shelf::Lives {
            Answer::Late(Duration::from_millis(500))
        } else {
            Answer::Done
        }
    });
    rest(100).await;
    broker.admit(number);
    rest(100).await;
    broker.bar(number);
    rest(600).await;
    broker.admit(number);
    rest(5_000).await;
    assert!(keys_of(&there, "lobby").is_empty());
}

/// One that shows itself, as far as it can tell, and is seen by nobody.
#[tokio::test(start_paused = true)]
async fn b8_who_is_called_gone_and_is_not_shows_all_its_people_again() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (here_number, here) = broker.present(&keys).await;
    let (there_number, there) = broker.present(&keys).await;
    let (other_number, other) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let _member = here.enter("lobby", 1, "x".repeat(3_000));
    let _elsewhere = other.enter("elsewhere", 2, String::new());
    when("seen", || keys_of(&there, "lobby") == [1]).await;
    rest(1_000).await;
    broker.filter(move |node, topic, _| {
        if node == there_number && topic == "lives" {
            Fate::IsLost
        } else {
            Fate::Arrives
        }
    });
    let written = Arc::new(AtomicUsize::new(0));
    let by_other = Arc::clone(&written);
    keys.filter(move |node, shelf, call| {
        if (node, shelf, call) == (here_number, &Shelf::Lives, Call::Put) {
            return Answer::Lost;
        }
        if (node, call) == (other_number, Call::Put) && *shelf != Shelf::Lives {
            by_other.fetch_add(1, Ordering::Relaxed);
        }
        Answer::Done
    });
    let before = broker.bytes(there_number);
    when("gone", || keys_of(&there, "lobby").is_empty()).await;
    rest(2_000).await;
    assert_eq!(written.load(Ordering::Relaxed), 0, "nobody else does");
    broker.filter(|_, _, _| Fate::Arrives);
    keys.filter(|_, _, _| Answer::Done);
    when("back", || keys_of(&there, "lobby") == [1]).await;
    rest(2_000).await;
    let bytes = broker.bytes(there_number) - before;
    assert!(bytes >= 3_000, "{bytes}: it was not shown, but read");
}

/// It does not hear that others call it gone, but knows that they may.
#[tokio::test(start_paused = true)]
async fn b8_who_could_not_show_itself_for_long_shows_all_its_people_again() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (here_number, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let _member = here.enter("lobby", 1, String::new());
    when("seen", || keys_of(&there, "lobby") == [1]).await;
    rest(1_000).await;
    broker.filter(move |node, topic, _| {
        if node == here_number && topic == "lives" {
            Fate::IsLost
        } else {
            Fate::Arrives
        }
    });
    keys.filter(move |node, shelf, _| {
        if (node, shelf) == (here_number, &Shelf::Lives) {
            Answer::Failed
        } else {
            Answer::Done
        }
    });
    when("gone", || keys_of(&there, "lobby").is_empty()).await;
    keys.filter(|_, _, _| Answer::Done);
    when("back", || keys_of(&there, "lobby") == [1]).await;
}

#[tokio::test(start_paused = true)]
async fn b8_a_farewell_does_not_wait_for_a_store_that_hangs() {
    let (broker, keys) = (Broker::new(), Keys::default());
    let (number, here) = broker.present(&keys).await;
    let (_, there) = broker.present(&keys).await;
    let _watch = there.watch("lobby");
    let member = here.enter("lobby", 1, String::new());
    when("seen", || keys_of(&there, "lobby") == [1]).await;
    keys.filter(move |node, _, _| {
        if node == number {
            Answer::Late(Duration::from_secs(60))
        } else {
            Answer::Done
        }
    });
    drop((here, member));
    rest(900).await;
    assert!(keys_of(&there, "lobby").is_empty());
}
