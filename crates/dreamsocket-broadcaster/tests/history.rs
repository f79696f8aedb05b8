//! B5 within one process: what is kept, and how a channel begins with it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, Delivery, End, History, Position, Topic,
};
use futures_core::Stream;

type Item = Result<u32, Option<u64>>;

fn topic(count: usize) -> Topic<u32> {
    Broadcaster::with_history(History::last(count)).topic("lobby")
}

fn publish(topic: &Topic<u32>, messages: impl IntoIterator<Item = u32>) {
    for message in messages {
        topic.publish(message).unwrap();
    }
}

fn item(delivery: Delivery<u32>) -> Item {
    match delivery {
        Delivery::Message(message) => Ok(message),
        Delivery::Missed(missed) => Err(missed.count),
    }
}

fn drain(channel: &mut Channel<u32>) -> Vec<Item> {
    std::iter::from_fn(|| channel.try_recv().ok().map(item)).collect()
}

/// The position of each of the messages that are published.
fn positions(topic: &Topic<u32>, messages: impl IntoIterator<Item = u32>) -> Vec<Position> {
    let mut channel = topic.subscribe().positioned();
    let positions = messages.into_iter().map(|message| {
        topic.publish(message).unwrap();
        match channel.try_recv() {
            Ok(Delivery::Message(said)) => said.position.unwrap(),
            other => panic!("{other:?}"),
        }
    });
    positions.collect()
}

#[test]
fn b5_everything_since_a_position_and_then_what_is_published() {
    let topic = topic(10);
    let positions = positions(&topic, 0..5);
    let mut channel = topic.subscribe_from(&positions[1]);
    assert_eq!(channel.position(), Some(positions[1]));
    publish(&topic, 5..7);
    assert_eq!(drain(&mut channel), (2..7).map(Ok).collect::<Vec<_>>());
    assert_eq!(
        drain(&mut topic.subscribe_from(&channel.position().unwrap())),
        []
    );
    assert_eq!(drain(&mut topic.subscribe()), []);
}

#[test]
fn b5_the_last_ones_and_then_what_is_published() {
    let topic = topic(10);
    let mut first = topic.subscribe_last(3);
    publish(&topic, 0..20);
    assert_eq!(drain(&mut first), (0..20).map(Ok).collect::<Vec<_>>());
    let mut channel = topic.subscribe_last(3);
    publish(&topic, 20..21);
    assert_eq!(drain(&mut channel), [Ok(17), Ok(18), Ok(19), Ok(20)]);
    assert_eq!(drain(&mut topic.subscribe_last(0)), []);
    assert_eq!(drain(&mut topic.subscribe_last(usize::MAX)).len(), 10);
}

#[test]
fn b5_a_position_that_is_not_there_is_a_gap_and_then_everything_that_is_kept() {
    let topic = topic(3);
    let positions = positions(&topic, 0..5);
    assert_eq!(
        drain(&mut topic.subscribe_from(&positions[1])),
        [Ok(2), Ok(3), Ok(4)]
    );
    let foreign = "1-1".parse().unwrap();
    for gone in [positions[0], foreign] {
        let mut channel = topic.subscribe_from(&gone);
        publish(&topic, []);
        assert_eq!(drain(&mut channel), [Err(None), Ok(2), Ok(3), Ok(4)]);
    }
    let elsewhere = Broadcaster::with_history(History::last(3)).topic("lobby");
    assert_eq!(
        drain(&mut elsewhere.subscribe_from(&positions[4])),
        [Err(None)]
    );
}

#[test]
fn b5_a_topic_that_keeps_nothing_says_so() {
    let history = History::last(3).only(|name| name == "lobby");
    let broadcaster = Broadcaster::with_history(history);
    let position = positions(&broadcaster.topic("lobby"), 0..1)[0];
    for topic in [broadcaster.topic("hall"), Broadcaster::new().topic("lobby")] {
        publish(&topic, 0..1);
        let mut channel = topic.subscribe_from(&position);
        let mut last = topic.subscribe_last(3);
        publish(&topic, 1..2);
        assert_eq!(drain(&mut channel), [Err(None), Ok(1)]);
        assert_eq!(drain(&mut last), [Ok(1)]);
        assert_eq!((channel.position(), last.position()), (None, None));
    }
}

#[test]
fn b5_a_replay_does_not_count_against_the_capacity() {
    fn check(options: ChannelOptions<u32>, live: &[Item]) {
        let topic = topic(1_000);
        publish(&topic, 0..1_000);
        let mut channel = topic.subscribe_with(options.capacity(4).last(1_000));
        publish(&topic, 1_000..1_006);
        assert_eq!(channel.counts().waiting, 1_004);
        let expected: Vec<Item> = (0..1_000).map(Ok).chain(live.iter().copied()).collect();
        assert_eq!(drain(&mut channel), expected);
        assert_eq!(channel.counts().received, 1_004);
    }
    let oldest = [Err(Some(2)), Ok(1_002), Ok(1_003), Ok(1_004), Ok(1_005)];
    check(ChannelOptions::new(), &oldest);
    check(
        ChannelOptions::new().latest_per_key(|number| *number),
        &oldest,
    );
    let newest = [Ok(1_000), Ok(1_001), Ok(1_002), Ok(1_003), Err(Some(2))];
    check(ChannelOptions::new().drop_newest(), &newest);
}

#[test]
fn b5_a_channel_that_ends_when_it_is_full_drops_its_replay_too() {
    let broadcaster = Broadcaster::with_history(History::last(10));
    let topic = broadcaster.topic("lobby");
    publish(&topic, 0..10);
    let mut channel =
        topic.subscribe_with(ChannelOptions::new().capacity(1).end_when_full().last(10));
    publish(&topic, 10..12);
    assert_eq!(drain(&mut channel), []);
    assert_eq!(channel.end(), Some(End::Lagged));
    assert_eq!(channel.counts().missed, 12);
    let counts = broadcaster.counts();
    assert_eq!(
        (counts.delivered, counts.missed),
        (2, 2),
        "none was replayed"
    );
}

#[test]
fn b5_who_was_left_out_gets_it_by_replay() {
    let topic = topic(10);
    let mut channel = topic.subscribe();
    publish(&topic, 0..1);
    topic.publish_except(channel.id(), 1).unwrap();
    publish(&topic, 2..3);
    assert_eq!(drain(&mut channel), [Ok(0), Ok(2)]);
    assert_eq!(drain(&mut topic.subscribe_last(9)), [Ok(0), Ok(1), Ok(2)]);
}

#[test]
fn b5_what_is_too_old_is_gone() {
    let history = History::last(10).max_age(Duration::ZERO);
    let topic = Broadcaster::with_history(history).topic("lobby");
    let positions = positions(&topic, 0..2);
    // An age of nothing is a second.
    assert_eq!(drain(&mut topic.subscribe_last(9)), [Ok(0), Ok(1)]);
    thread::sleep(Duration::from_millis(1_010));
    assert_eq!(drain(&mut topic.subscribe_last(9)), []);
    assert_eq!(drain(&mut topic.subscribe_from(&positions[0])), [Err(None)]);
    assert_eq!(drain(&mut topic.subscribe_from(&positions[1])), []);
    publish(&topic, 2..3);
    assert_eq!(drain(&mut topic.subscribe_from(&positions[1])), [Ok(2)]);
}

#[test]
fn b5_the_end_comes_behind_the_replay() {
    let topic = topic(10);
    publish(&topic, 0..3);
    let mut channel = topic.subscribe_last(2);
    drop(topic);
    assert_eq!(channel.end(), None);
    assert_eq!(drain(&mut channel), [Ok(1), Ok(2)]);
    assert_eq!(channel.end(), Some(End::Closed));
}

#[test]
fn b5_a_position_moves_with_what_is_received_whichever_way() {
    let topic = topic(10);
    let positions = positions(&topic, 0..4);
    let mut cx = Context::from_waker(Waker::noop());
    let mut channel = topic.subscribe_last(4);
    assert_eq!(channel.position(), None);
    assert!(channel.try_recv().is_ok());
    assert_eq!(channel.position(), Some(positions[0]));
    let polled = channel.poll_recv(&mut cx);
    assert_eq!(polled, Poll::Ready(Some(Delivery::Message(1))));
    assert_eq!(channel.position(), Some(positions[1]));
    assert!(channel.try_recv_shared().is_ok());
    assert_eq!(channel.position(), Some(positions[2]));
    let mut batch = VecDeque::new();
    assert!(channel.poll_recv_many(&mut cx, &mut batch, 9).is_ready());
    assert_eq!(channel.position(), Some(positions[3]));
    let Some(Delivery::Message(message)) = batch.pop_front() else {
        panic!()
    };
    assert_eq!((*message, message.position()), (3, Some(positions[3])));

    let by_key = ChannelOptions::new()
        .latest_per_key(|number| *number)
        .last(4);
    let mut channel = topic.subscribe_with(by_key);
    assert_eq!(drain(&mut channel).len(), 4);
    assert_eq!(channel.position(), None, "messages come in another order");
}

#[test]
fn b5_messages_are_shared_with_the_ring() {
    #[derive(Debug)]
    struct Counted;

    static CLONED: AtomicU32 = AtomicU32::new(0);

    impl Clone for Counted {
        fn clone(&self) -> Self {
            CLONED.fetch_add(1, Ordering::Relaxed);
            Self
        }
    }

    let topic = Broadcaster::with_history(History::last(10)).topic("lobby");
    let mut live = topic.subscribe();
    topic.publish(Counted).unwrap();
    let mut late = topic.subscribe_last(1);
    assert!(live.try_recv_shared().is_ok() && late.try_recv_shared().is_ok());
    assert_eq!(CLONED.load(Ordering::Relaxed), 0);
}

/// Publishers never pause; each subscriber goes away and comes back where it was, and gets all of it, in order, once.
#[test]
fn b5_nothing_is_lost_doubled_or_out_of_order_while_publishers_go_on() {
    const PUBLISHERS: u32 = 2;
    const EACH: u32 = 5_000;
    let topic = topic(100_000);
    let start = topic.subscribe_last(0);
    publish(&topic, [u32::MAX]);
    drop(start);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let resuming: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen: Vec<u32> = Vec::new();
                    let mut channel = topic.subscribe_last(1);
                    loop {
                        let is_last = is_over.load(Ordering::Acquire);
                        for _ in 0..50 {
                            let Ok(delivery) = channel.try_recv() else {
                                break;
                            };
                            seen.push(item(delivery).unwrap());
                        }
                        if is_last && channel.counts().waiting == 0 {
                            return seen;
                        }
                        let Some(position) = channel.position() else {
                            continue;
                        };
                        channel = topic.subscribe_with(
                            ChannelOptions::new().since(position).capacity(100_000),
                        );
                    }
                })
            })
            .collect();
        let publishing: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let topic = &topic;
                scope.spawn(move || {
                    for number in 0..EACH {
                        topic.publish(publisher * EACH + number).unwrap();
                        if number % 16 == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for publisher in publishing {
            publisher.join().unwrap();
        }
        is_over.store(true, Ordering::Release);
        let expected = drain(&mut topic.subscribe_last(100_000));
        let expected: Vec<u32> = expected.into_iter().map(Result::unwrap).collect();
        assert_eq!(expected.len() as u32, 1 + PUBLISHERS * EACH);
        for resumed in resuming {
            let seen = resumed.join().unwrap();
            let from = expected.len() - seen.len();
            assert_eq!(
                seen,
                expected[from..],
                "all of one order, from where it began"
            );
        }
    });
}

#[test]
fn b5_positions_come_with_messages_whichever_way_they_are_received() {
    let topic = topic(10);
    let mut channel = topic.subscribe().positioned();
    let mut other = topic.subscribe();
    publish(&topic, 0..4);
    let mut context = Context::from_waker(Waker::noop());
    let mut received = vec![channel.try_recv().ok()];
    received.push(ready(pin!(channel.recv()).poll(&mut context)));
    received.push(ready(channel.poll_recv(&mut context)));
    let next = Pin::new(&mut channel).poll_next(&mut context);
    received.push(ready(next));
    let expected = (0..4).map(|_| ready(other.poll_recv_shared(&mut context)));
    for (number, (received, expected)) in received.into_iter().zip(expected).enumerate() {
        let (Some(Delivery::Message(received)), Some(Delivery::Message(expected))) =
            (received, expected)
        else {
            panic!("there are messages");
        };
        assert_eq!(usize::try_from(received.message), Ok(number));
        assert_eq!(received.message, *expected);
        assert!(received.position.is_some());
        assert_eq!(received.position, expected.position());
    }
    drop(topic);
    assert!(ready(channel.poll_recv(&mut context)).is_none());
    assert!(ready(other.poll_recv_shared(&mut context)).is_none());
}

fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it is not there yet"),
    }
}
