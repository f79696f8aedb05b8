//! Run with `cargo run --release -p dreamsocket-broadcaster --example cost`.
//!
//! What broadcasting costs on this machine: the figures of `docs/broadcasting.md`. It asserts nothing. Memory is what
//! Linux says is resident, so that it includes what the allocator keeps.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that measures and says so"
)]

use std::collections::VecDeque;
use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, History, Presence, WatchOptions,
};

/// What is published: as large as a text behind a reference count.
type Message = Arc<str>;

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The median of several runs, for each of `count` things.
fn each(count: usize, mut run: impl FnMut() -> Duration) -> f64 {
    let mut times: Vec<_> = (0..9).map(|_| run()).collect();
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64 / count as f64
}

fn time(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

fn drain(channel: &mut Channel<Message>) {
    while channel.try_recv().is_ok() {}
}

/// Publishing to many, all with room, none of them parked.
fn publish(subscribers: usize, options: &ChannelOptions<Message>) -> f64 {
    const ROUNDS: usize = 16;
    let topic = Broadcaster::new().topic("lobby");
    let mut channels: Vec<_> = (0..subscribers)
        .map(|_| topic.subscribe_with(options.clone()))
        .collect();
    let message: Message = "hello".into();
    each(ROUNDS * subscribers, || {
        let elapsed = time(|| {
            for _ in 0..ROUNDS {
                topic.publish(Arc::clone(&message)).unwrap();
            }
        });
        channels.iter_mut().for_each(drain);
        elapsed
    })
}

/// Publishing to many who all wait, with wakers that do nothing.
fn publish_to_parked(subscribers: usize) -> f64 {
    let topic = Broadcaster::new().topic("lobby");
    let mut channels: Vec<_> = (0..subscribers).map(|_| topic.subscribe()).collect();
    let message: Message = "hello".into();
    each(subscribers, || {
        for channel in &mut channels {
            drain(channel);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(channel.poll_recv(&mut cx).is_pending());
        }
        time(|| {
            topic.publish(Arc::clone(&message)).unwrap();
        })
    })
}

fn receive(limit: usize) -> f64 {
    const MESSAGES: usize = 4096;
    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(MESSAGES));
    let mut other = topic.subscribe_with(ChannelOptions::new().capacity(MESSAGES));
    let message: Message = "hello".into();
    let mut buffer = VecDeque::new();
    each(MESSAGES, || {
        drain(&mut other);
        for _ in 0..MESSAGES {
            topic.publish(Arc::clone(&message)).unwrap();
        }
        let mut cx = Context::from_waker(Waker::noop());
        time(|| match limit {
            0 => while channel.try_recv().is_ok() {},
            _ => {
                while channel
                    .poll_recv_many(&mut cx, &mut buffer, limit)
                    .is_ready()
                {
                    buffer.drain(..).for_each(|it| {
                        black_box(it);
                    });
                }
            }
        })
    })
}

/// How long joining and leaving a topic takes while somebody publishes to it all the time: median, 99 % and the worst.
fn join_while_publishing(subscribers: usize) -> [Duration; 3] {
    let topic = Broadcaster::new().topic("lobby");
    let _channels: Vec<_> = (0..subscribers)
        .map(|_| topic.subscribe_with(ChannelOptions::new().capacity(1)))
        .collect();
    let is_over = AtomicBool::new(false);
    let message: Message = "hello".into();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                topic.publish(Arc::clone(&message)).unwrap();
            }
        });
        let mut times: Vec<_> = (0..1_000)
            .map(|_| {
                thread::sleep(Duration::from_micros(300));
                time(|| drop(topic.subscribe()))
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        times.sort_unstable();
        [times[500], times[990], times[999]]
    })
}

fn main() {
    const TOPICS: usize = 100_000;
    let kept = history_memory(&"hello".into());
    // All that takes memory comes first and stays, so that nothing is made of what was given back.
    let broadcaster = Broadcaster::<Message>::new();
    let before = resident();
    let mut channels = Vec::with_capacity(TOPICS);
    let subscribing = time(|| {
        channels
            .extend((0..TOPICS).map(|number| broadcaster.topic(number.to_string()).subscribe()));
    });
    println!(
        "{TOPICS} topics with one subscriber: {} bytes each, {} ns each to subscribe",
        (resident() - before) / TOPICS,
        subscribing.as_nanos() as usize / TOPICS
    );
    let message: Message = "hello".into();
    let topics: Vec<_> = (0..TOPICS)
        .map(|number| broadcaster.topic(number.to_string()))
        .collect();
    let nanoseconds = each(TOPICS, || {
        let elapsed = time(|| {
            for topic in &topics {
                topic.publish(Arc::clone(&message)).unwrap();
            }
        });
        channels.iter_mut().for_each(drain);
        elapsed
    });
    println!("  publishing to each in turn: {nanoseconds:.0} ns");
    let topic = broadcaster.topic("lobby");
    let before = resident();
    let same_topic: Vec<_> = (0..TOPICS).map(|_| topic.subscribe()).collect();
    println!(
        "{TOPICS} subscribers of one topic: {} bytes each",
        (resident() - before) / TOPICS
    );
    let presence = Presence::<u64, Message>::new();
    let before = resident();
    let mut members = Vec::with_capacity(TOPICS);
    let entering = time(|| {
        members.extend(
            (0..TOPICS as u64)
                .map(|key| presence.enter((key / 10).to_string(), key, Arc::clone(&message))),
        );
    });
    println!(
        "{TOPICS} people, ten to a topic: {} bytes each, {} ns each to enter",
        (resident() - before) / TOPICS,
        entering.as_nanos() as usize / TOPICS
    );
    let dropping = time(|| drop((channels, same_topic)));
    println!(
        "leaving: {} ns each, {} topics left",
        dropping.as_nanos() as usize / TOPICS / 2,
        broadcaster.topics()
    );
    drop(members);

    for subscribers in [1, 100, 10_000] {
        let nanoseconds = publish(subscribers, &ChannelOptions::new());
        println!("publish to {subscribers}: {nanoseconds:.0} ns a subscriber");
        let nanoseconds = publish_to_parked(subscribers);
        println!("  if they all wait: {nanoseconds:.0} ns a subscriber, without what waking does");
    }
    for (policy, options) in [
        ("drop oldest, full", ChannelOptions::new().capacity(1)),
        (
            "drop newest, full",
            ChannelOptions::new().capacity(1).drop_newest(),
        ),
        (
            "latest per key",
            ChannelOptions::new().latest_per_key(|message: &Message| message.len()),
        ),
    ] {
        let nanoseconds = publish(10_000, &options);
        println!("publish to 10000, {policy}: {nanoseconds:.0} ns a subscriber");
    }
    println!("receive: {:.0} ns a message", receive(0));
    for limit in [1, 16, 64] {
        println!(
            "  up to {limit} at once, uncloned: {:.0} ns a message",
            receive(limit)
        );
    }
    for subscribers in [100, 10_000] {
        let [median, most, worst] = join_while_publishing(subscribers);
        println!(
            "join and leave a topic of {subscribers} under publishing: {median:.1?}, 99 % {most:.1?}, worst {worst:.1?}"
        );
    }

    history(&message);

    let watchers: Vec<_> = (0..1_000)
        .map(|_| {
            presence
                .watch_with("lobby", WatchOptions::new().capacity(1))
                .1
        })
        .collect();
    let nanoseconds = each(2_000, || {
        time(|| drop(presence.enter("lobby", 1, Arc::clone(&message))))
    });
    println!("entering and leaving with 1000 watchers: {nanoseconds:.0} ns a watcher and event");
    drop((watchers, kept));
}

/// What keeping costs, and beginning with what is kept.
fn history(message: &Message) {
    const KEPT: usize = 50;
    for history in [None, Some(History::last(KEPT))] {
        let name = history.as_ref().map_or("nothing", |_| "the last 50");
        let broadcaster = history.map_or_else(Broadcaster::new, Broadcaster::with_history);
        let topic = broadcaster.topic("lobby");
        let alone = each(10_000, || {
            time(|| {
                for _ in 0..10_000 {
                    topic.publish(Arc::clone(message)).unwrap();
                }
            })
        });
        let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(10_000));
        let heard = each(10_000, || {
            let elapsed = time(|| {
                for _ in 0..10_000 {
                    topic.publish(Arc::clone(message)).unwrap();
                }
            });
            drain(&mut channel);
            elapsed
        });
        println!("keeping {name}: publish to nobody {alone:.0} ns, to one {heard:.0} ns");
    }
    let broadcaster = Broadcaster::with_history(History::last(KEPT));
    let topic = broadcaster.topic("lobby");
    for _ in 0..KEPT {
        topic.publish(Arc::clone(message)).unwrap();
    }
    let replayed = each(1_000, || {
        time(|| {
            for _ in 0..1_000 {
                let mut channel = topic.subscribe_last(KEPT);
                drain(&mut channel);
            }
        })
    });
    println!("beginning with {KEPT} messages and receiving them: {replayed:.0} ns");
}

/// First of all, so that nothing is made of what was given back.
fn history_memory(message: &Message) -> Broadcaster<Message> {
    const KEPT: usize = 50;
    const TOPICS: usize = 10_000;
    let broadcaster = Broadcaster::with_history(History::last(KEPT));
    let before = resident();
    for number in 0..TOPICS {
        let topic = broadcaster.topic(number.to_string());
        for _ in 0..KEPT {
            topic.publish(Arc::clone(message)).unwrap();
        }
    }
    println!(
        "{TOPICS} topics that keep {KEPT} messages: {} bytes a message beside it",
        (resident() - before) / TOPICS / KEPT
    );
    broadcaster
}
