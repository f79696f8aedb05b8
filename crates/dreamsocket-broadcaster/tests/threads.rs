//! B1, B2 under real threads: order, exact accounting, no lost wake, joining and leaving in the middle. Nothing here
//! depends on how the threads are scheduled; a lost wake shows as a test that does not end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dreamsocket_broadcaster::{Broadcaster, Channel, ChannelOptions, Delivery, End, Topic};
use tokio::runtime::{Builder, Runtime};

/// A message: who published it, and that publisher's count.
type Numbered = (usize, u64);

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap()
}

fn options<M>(capacity: usize) -> ChannelOptions<M> {
    ChannelOptions::new().capacity(capacity)
}

/// What one subscriber saw until its channel ended.
#[derive(Default)]
struct Seen {
    messages: Vec<Numbered>,
    missed: u64,
}

async fn read_to_end(mut channel: Channel<Numbered>) -> Seen {
    let mut seen = Seen::default();
    while let Some(delivery) = channel.recv().await {
        match delivery {
            Delivery::Message(message) => seen.messages.push(message),
            Delivery::Missed(missed) => seen.missed += missed.count.unwrap(),
        }
    }
    seen
}

/// Publishes from several threads at once and returns when all is published and the handles are gone.
fn publish_from_threads(topic: Topic<Numbered>, publishers: usize, each: u64) {
    let start = Barrier::new(publishers);
    thread::scope(|scope| {
        for publisher in 0..publishers {
            let (topic, start) = (topic.clone(), &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..each {
                    topic.publish((publisher, number)).unwrap();
                }
            });
        }
    });
    drop(topic);
}

fn assert_each_publisher_in_order(messages: &[Numbered]) {
    let mut last = HashMap::new();
    for &(publisher, number) in messages {
        if let Some(last) = last.insert(publisher, number) {
            assert!(
                last < number,
                "publisher {publisher}: {number} came after {last}"
            );
        }
    }
}

#[test]
fn b2_each_publishers_order_holds_and_every_message_is_received_or_missed() {
    const PUBLISHERS: usize = 4;
    const EACH: u64 = 5_000;

    let topic = Broadcaster::new().topic("lobby");
    let runtime = runtime();
    let readers: Vec<_> = [1, 2, 16, 256, 100_000]
        .map(|capacity| {
            (
                capacity,
                runtime.spawn(read_to_end(topic.subscribe_with(options(capacity)))),
            )
        })
        .into();
    publish_from_threads(topic, PUBLISHERS, EACH);

    for (capacity, reader) in readers {
        let seen = runtime.block_on(reader).unwrap();
        let total = PUBLISHERS as u64 * EACH;
        assert_eq!(
            seen.messages.len() as u64 + seen.missed,
            total,
            "capacity {capacity}"
        );
        assert_each_publisher_in_order(&seen.messages);
        assert!(
            capacity < 100_000 || seen.missed == 0,
            "nothing need be missed: it had room"
        );
    }
}

#[test]
fn b2_in_process_all_subscribers_see_one_order() {
    let topic = Broadcaster::new().topic("lobby");
    let runtime = runtime();
    let readers: Vec<_> = (0..4)
        .map(|_| runtime.spawn(read_to_end(topic.subscribe_with(options(100_000)))))
        .collect();
    publish_from_threads(topic, 4, 5_000);

    let mut seen = readers
        .into_iter()
        .map(|reader| runtime.block_on(reader).unwrap().messages);
    let first = seen.next().unwrap();
    assert_eq!(first.len(), 20_000);
    for other in seen {
        assert!(other == first, "two subscribers saw two orders");
    }
}

/// A gap is where the messages are missing: between the numbers on both of its sides exactly its count is absent.
#[test]
fn b2_a_gap_is_as_wide_as_it_says() {
    let topic = Broadcaster::new().topic("lobby");
    let runtime = runtime();
    let mut channel = topic.subscribe_with(options(8));
    let reader = runtime.spawn(async move {
        let mut next = 0;
        while let Some(delivery) = channel.recv().await {
            match delivery {
                Delivery::Message((_, number)) => {
                    assert_eq!(number, next);
                    next += 1;
                }
                Delivery::Missed(missed) => next += missed.count.unwrap(),
            }
        }
        next
    });
    publish_from_threads(topic, 1, 50_000);
    assert_eq!(runtime.block_on(reader).unwrap(), 50_000);
}

/// Joining and leaving in the middle of a publish: whoever joins gets a run without gaps from some message on, and no
/// one who stays loses anything by it.
#[test]
fn b2_subscribers_that_come_and_go_see_runs_without_gaps() {
    const PUBLISHED: u64 = 20_000;

    /// Joins, reads eight messages, leaves, until the last message has come.
    fn come_and_go(topic: &Topic<Numbered>) {
        loop {
            let mut channel = topic.subscribe_with(options(usize::MAX));
            let mut run: Vec<u64> = Vec::new();
            while run.len() < 8 {
                match channel.try_recv() {
                    Ok(Delivery::Message((_, PUBLISHED))) => return,
                    Ok(Delivery::Message((_, number))) => {
                        assert!(
                            run.last().is_none_or(|last| last + 1 == number),
                            "{run:?}, {number}"
                        );
                        run.push(number);
                    }
                    Ok(Delivery::Missed(missed)) => panic!("it had room: {missed:?}"),
                    Err(_) => thread::yield_now(),
                }
            }
        }
    }

    let broadcaster = Broadcaster::new();
    let topic = broadcaster.topic("lobby");
    let mut steady = topic.subscribe_with(options(usize::MAX));
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| come_and_go(&topic)))
            .collect();
        for number in 0..PUBLISHED {
            topic.publish((0, number)).unwrap();
        }
        // The last message is said until everybody has heard it.
        while !visitors.iter().all(thread::ScopedJoinHandle::is_finished) {
            topic.publish((0, PUBLISHED)).unwrap();
            thread::yield_now();
        }
    });
    for number in 0..PUBLISHED {
        assert_eq!(steady.try_recv(), Ok(Delivery::Message((0, number))));
    }
    assert_eq!((topic.subscribers(), broadcaster.topics()), (1, 1));
}

/// As above on a topic so large that its walk is cut into batches: those who stay see everything in one order, while
/// others come and go between the batches.
#[test]
fn b2_a_large_topic_keeps_one_order_while_subscribers_come_and_go() {
    const PUBLISHERS: usize = 2;
    const EACH: u64 = 100;

    let topic = Broadcaster::new().topic("lobby");
    let mut steady: Vec<_> = (0..600)
        .map(|_| topic.subscribe_with(options(usize::MAX)))
        .collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let topic = &topic;
                scope.spawn(move || {
                    for number in 0..EACH {
                        assert!(topic.publish((publisher, number)).unwrap().local >= 600);
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let mut visitors: Vec<_> = (0..8)
                        .map(|_| topic.subscribe_with(options(usize::MAX)))
                        .collect();
                    topic.publish((PUBLISHERS, 0)).unwrap();
                    for visitor in &mut visitors {
                        let mut seen = Vec::new();
                        while let Ok(Delivery::Message(message)) = visitor.try_recv() {
                            seen.push(message);
                        }
                        assert!(seen.contains(&(PUBLISHERS, 0)), "its own message came");
                        seen.retain(|(publisher, _)| *publisher < PUBLISHERS);
                        for publisher in 0..PUBLISHERS {
                            let numbers = seen.iter().filter(|(it, _)| *it == publisher);
                            let numbers: Vec<_> = numbers.map(|(_, number)| *number).collect();
                            assert!(numbers.is_sorted_by(|one, next| one + 1 == *next));
                        }
                    }
                }
            });
        }
        let published: Vec<_> = publishers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(published.iter().all(Result::is_ok));
    });

    let mut seen = steady.iter_mut().map(|channel| {
        let mut seen = Vec::new();
        while let Ok(Delivery::Message(message)) = channel.try_recv() {
            seen.push(message);
        }
        seen
    });
    let first = seen.next().unwrap();
    assert!(first.len() as u64 >= PUBLISHERS as u64 * EACH);
    for other in seen {
        assert!(other == first, "two subscribers saw two orders");
    }
}

/// Every policy under several publishers, with readers that stall now and then: each message is received, missed or
/// replaced, and what is received of one publisher (and key) is in order.
#[test]
fn b3_every_policy_accounts_for_every_message_under_threads() {
    const PUBLISHERS: usize = 3;
    const EACH: u64 = 5_000;

    let topic = Broadcaster::<Numbered>::new().topic("lobby");
    let runtime = runtime();
    let readers: Vec<_> = [
        options(8).drop_oldest(),
        options(8).drop_newest(),
        options(8).latest_per_key(|&(publisher, number)| (publisher, number % 7)),
        options(2).latest_per_key(|&(publisher, _)| publisher),
    ]
    .map(|options| {
        let mut channel = topic.subscribe_with(options);
        runtime.spawn(async move {
            let mut seen = Seen::default();
            while let Some(delivery) = channel.recv().await {
                match delivery {
                    Delivery::Message(message) => {
                        if message.1 % 100 == 0 {
                            tokio::task::yield_now().await;
                        }
                        seen.messages.push(message);
                    }
                    Delivery::Missed(missed) => seen.missed += missed.count.unwrap(),
                }
            }
            (seen, channel.counts(), channel.end())
        })
    })
    .into();
    let lagging = topic.subscribe_with(options(8).end_when_full());
    publish_from_threads(topic, PUBLISHERS, EACH);

    let total = PUBLISHERS as u64 * EACH;
    for (policy, reader) in readers.into_iter().enumerate() {
        let (seen, counts, end) = runtime.block_on(reader).unwrap();
        assert_eq!(end, Some(End::Closed));
        assert_eq!(counts.received, seen.messages.len() as u64);
        assert_eq!(counts.missed, seen.missed);
        assert_eq!(counts.received + counts.missed + counts.coalesced, total);
        assert!(counts.coalesced == 0 || policy >= 2);
        match policy {
            2 => {
                for rest in 0..7 {
                    let of_key = |(_, number): &&Numbered| number % 7 == rest;
                    let messages: Vec<_> = seen.messages.iter().filter(of_key).copied().collect();
                    assert_each_publisher_in_order(&messages);
                }
            }
            _ => assert_each_publisher_in_order(&seen.messages),
        }
    }
    assert_eq!(lagging.end(), Some(End::Lagged));
    assert_eq!((lagging.counts().missed, lagging.counts().waiting), (9, 0));
}

/// The entry of a topic comes and goes all the time here, since each thread is often the only subscriber. Whoever is
/// subscribed must get its own message all the same.
#[test]
fn a_topic_that_empties_while_others_join_loses_nobody() {
    let broadcaster = Broadcaster::new();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for publisher in 0..4 {
            let (topic, start) = (broadcaster.topic("lobby"), &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..5_000 {
                    let mut channel = topic.subscribe_with(options(100_000));
                    assert!(topic.publish((publisher, number)).unwrap().local >= 1);
                    loop {
                        match channel.try_recv() {
                            Ok(Delivery::Message(message)) if message == (publisher, number) => {
                                break;
                            }
                            Ok(_) => {}
                            Err(error) => panic!("its own message did not come: {error}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(broadcaster.topics(), 0);
}

/// Two tasks that hand one message to and fro: each parks before nearly every message.
#[test]
fn no_wake_is_lost() {
    const ROUNDS: u64 = 20_000;

    async fn play(mut channel: Channel<u64>, to: Topic<u64>) {
        while let Some(Delivery::Message(number)) = channel.recv().await {
            if number == ROUNDS {
                break;
            }
            to.publish(number + 1).unwrap();
            if number + 1 == ROUNDS {
                break;
            }
        }
    }

    let broadcaster = Broadcaster::new();
    let (ping, pong) = (broadcaster.topic("ping"), broadcaster.topic("pong"));
    let runtime = runtime();
    let players = [
        runtime.spawn(play(ping.subscribe(), pong.clone())),
        runtime.spawn(play(pong.subscribe(), ping.clone())),
    ];
    ping.publish(0).unwrap();
    for player in players {
        runtime.block_on(player).unwrap();
    }
}

/// The last handle goes while readers park: all of them end.
#[test]
fn no_end_is_lost() {
    let runtime = runtime();
    for _ in 0..500 {
        let topic = Broadcaster::<Numbered>::new().topic("lobby");
        let readers: Vec<_> = (0..4)
            .map(|_| runtime.spawn(read_to_end(topic.subscribe())))
            .collect();
        publish_from_threads(topic, 1, 1);
        for reader in readers {
            assert_eq!(runtime.block_on(reader).unwrap().messages, [(0, 0)]);
        }
    }
}
