//! What the contract says of broadcasting (B1 to B4), one promise a test. Races are in `threads.rs`, code of the user's
//! that runs inside in `foreign_code.rs`, and any sequence of calls against a model in `model.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, Delivery, End, Missed, PublishError, Published, Shared,
    SubscriberId, Topic, TryRecvError,
};
use tokio_stream::StreamExt;

/// All that waits, with a gap of n as `Err(n)`.
fn drain<M: Clone>(channel: &mut Channel<M>) -> Vec<Result<M, u64>> {
    std::iter::from_fn(|| match channel.try_recv() {
        Ok(Delivery::Message(message)) => Some(Ok(message)),
        Ok(Delivery::Missed(missed)) => Some(Err(missed.count.unwrap())),
        Err(_) => None,
    })
    .collect()
}

#[test]
fn b1_publishing_counts_the_subscribers_in_this_process() {
    let topic = Broadcaster::new().topic("lobby");
    let local = |published: Result<Published, PublishError>| published.unwrap().local;
    assert_eq!(local(topic.publish(0)), 0);
    let first = topic.subscribe();
    let second = topic.subscribe();
    assert_eq!(local(topic.publish(1)), 2);
    drop(first);
    assert_eq!(local(topic.publish(2)), 1);
    drop(second);
    assert_eq!(local(topic.publish(3)), 0);
}

#[test]
fn b1_publishing_does_not_wait_for_a_subscriber_that_never_receives() {
    let topic = Broadcaster::new().topic("lobby");
    let mut stalled = topic.subscribe_with(ChannelOptions::new().capacity(1));
    let mut reader = topic.subscribe();
    for number in 0..1_000 {
        topic.publish(number).unwrap();
        assert_eq!(drain(&mut reader), [Ok(number)]);
    }
    assert_eq!(drain(&mut stalled), [Err(999), Ok(999)]);
}

#[test]
fn b1_errors_are_ordinary_errors() {
    fn is_error<E: Error + Send + Sync + 'static>() {}
    is_error::<PublishError>();
    is_error::<TryRecvError>();
}

#[test]
fn b2_messages_come_in_order_and_once() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe();
    for number in 0..100 {
        topic.publish(number).unwrap();
    }
    assert_eq!(drain(&mut channel), (0..100).map(Ok).collect::<Vec<_>>());
    assert_eq!(channel.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn b2_a_gap_stands_in_its_place_with_its_count_and_the_topic_as_source() {
    let topic = Broadcaster::new().topic("prices");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(2));
    for number in 0..2 {
        topic.publish(number).unwrap();
    }
    assert_eq!(channel.try_recv(), Ok(Delivery::Message(0)));
    for number in 2..6 {
        topic.publish(number).unwrap();
    }
    assert_eq!(
        channel.try_recv(),
        Ok(Delivery::Missed(Missed::new("prices", Some(3))))
    );
    assert_eq!(drain(&mut channel), [Ok(4), Ok(5)]);
    // Told once: what follows is a run without gaps again.
    topic.publish(6).unwrap();
    assert_eq!(drain(&mut channel), [Ok(6)]);
}

#[test]
fn b2_a_gap_grows_until_it_is_told() {
    let topic = Broadcaster::new().topic("prices");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(1));
    for number in 0..3 {
        topic.publish(number).unwrap();
    }
    assert_eq!(
        channel.try_recv(),
        Ok(Delivery::Missed(Missed::new("prices", Some(2))))
    );
    // A second gap opens behind the one that was told.
    topic.publish(3).unwrap();
    assert_eq!(drain(&mut channel), [Err(1), Ok(3)]);
}

#[test]
fn b2_topics_are_apart() {
    let broadcaster = Broadcaster::new();
    let mut red = broadcaster.topic("red").subscribe();
    let mut blue = broadcaster.topic("blue").subscribe();
    broadcaster.topic("red").publish(1).unwrap();
    assert_eq!(drain(&mut red), [Ok(1)]);
    assert_eq!(drain(&mut blue), []);
    assert_eq!(
        drain(&mut Broadcaster::<i32>::new().topic("red").subscribe()),
        [],
        "another broadcaster"
    );
}

#[test]
fn b2_who_subscribes_later_sees_only_what_comes_later() {
    let topic = Broadcaster::new().topic("lobby");
    topic.publish(1).unwrap();
    let mut channel = topic.subscribe();
    topic.publish(2).unwrap();
    assert_eq!(drain(&mut channel), [Ok(2)]);
}

#[test]
fn b3_the_default_holds_256_messages_then_drops_the_oldest_and_tells() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe();
    for number in 0..256 {
        topic.publish(number).unwrap();
    }
    assert_eq!(drain(&mut channel), (0..256).map(Ok).collect::<Vec<_>>());
    for number in 0..266 {
        topic.publish(number).unwrap();
    }
    let expected: Vec<_> = std::iter::once(Err(10)).chain((10..266).map(Ok)).collect();
    assert_eq!(drain(&mut channel), expected);
}

#[test]
fn b3_each_subscriber_has_its_own_bound() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channels: Vec<_> = [0, 1, 2, 3, 10]
        .map(|capacity| topic.subscribe_with(ChannelOptions::new().capacity(capacity)))
        .into();
    for number in 0..4 {
        topic.publish(number).unwrap();
    }
    let got: Vec<_> = channels.iter_mut().map(drain).collect();
    assert_eq!(got[0], [Err(3), Ok(3)], "0 is taken as 1");
    assert_eq!(got[1], [Err(3), Ok(3)]);
    assert_eq!(got[2], [Err(2), Ok(2), Ok(3)]);
    assert_eq!(got[3], [Err(1), Ok(1), Ok(2), Ok(3)]);
    assert_eq!(got[4], [Ok(0), Ok(1), Ok(2), Ok(3)]);
}

#[test]
fn b3_drop_newest_keeps_what_came_first_and_tells_gaps_between_messages() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(2).drop_newest());
    for number in 0..5 {
        topic.publish(number).unwrap();
    }
    assert_eq!(channel.try_recv(), Ok(Delivery::Message(0)));
    // There is room for one, behind the gap; then none, behind that one.
    for number in 5..7 {
        topic.publish(number).unwrap();
    }
    assert_eq!(drain(&mut channel), [Ok(1), Err(3), Ok(5), Err(1)]);
    topic.publish(7).unwrap();
    assert_eq!(drain(&mut channel), [Ok(7)]);
}

/// The message, which is its own key by its first part.
fn key(message: &(&'static str, u32)) -> &'static str {
    message.0
}

#[test]
fn b3_the_latest_of_a_key_takes_the_place_of_the_one_before() {
    let topic = Broadcaster::new().topic("prices");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(2).latest_per_key(key));
    for message in [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)] {
        topic.publish(message).unwrap();
    }
    assert_eq!(drain(&mut channel), [Ok(("a", 3)), Ok(("b", 2))]);
    let counts = channel.counts();
    assert_eq!((counts.received, counts.missed), (2, 0));
    assert_eq!((counts.coalesced, counts.waiting), (3, 0));

    topic.publish(("a", 4)).unwrap();
    assert_eq!(
        drain(&mut channel),
        [Ok(("a", 4))],
        "what was received is not replaced"
    );
}

#[test]
fn b3_more_keys_than_the_bound_drop_the_one_that_waits_longest_and_tell() {
    let topic = Broadcaster::new().topic("prices");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(2).latest_per_key(key));
    for message in [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("a", 3)] {
        topic.publish(message).unwrap();
    }
    // c pushed a out; the next a pushed b out.
    assert_eq!(drain(&mut channel), [Err(2), Ok(("c", 1)), Ok(("a", 3))]);
}

#[test]
fn b3_a_key_that_changes_all_the_time_is_not_pushed_back() {
    let topic = Broadcaster::new().topic("prices");
    let mut channel = topic.subscribe_with(ChannelOptions::new().latest_per_key(key));
    topic.publish(("busy", 0)).unwrap();
    for number in 0..100 {
        topic.publish(("quiet", number)).unwrap();
        topic.publish(("busy", number)).unwrap();
    }
    assert_eq!(drain(&mut channel), [Ok(("busy", 99)), Ok(("quiet", 99))]);
}

#[test]
fn b3_a_key_function_runs_once_a_publish_for_all_its_subscribers() {
    #[derive(Clone)]
    struct Counted(Arc<AtomicUsize>);

    let topic = Broadcaster::new().topic("prices");
    let _plain = topic.subscribe();
    let by_key = ChannelOptions::new().latest_per_key(|message: &Counted| {
        message.0.fetch_add(1, Ordering::Relaxed);
    });
    let channels: Vec<_> = (0..100)
        .map(|_| topic.subscribe_with(by_key.clone()))
        .collect();
    let count = Arc::new(AtomicUsize::new(0));
    topic.publish(Counted(Arc::clone(&count))).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 1);
    drop(channels);
    topic.publish(Counted(Arc::clone(&count))).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 1, "nobody asks for it");
}

#[tokio::test]
async fn b3_a_channel_that_ends_when_full_ends_at_once_and_says_so() {
    let broadcaster = Broadcaster::new();
    let topic = broadcaster.topic("orders");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(2).end_when_full());
    let message = Arc::new(());
    for _ in 0..2 {
        topic.publish(Arc::clone(&message)).unwrap();
    }
    assert_eq!(channel.end(), None);
    assert_eq!(
        topic.publish(Arc::clone(&message)).unwrap().local,
        1,
        "it was handed to it"
    );
    assert_eq!(
        (topic.subscribers(), broadcaster.topics()),
        (0, 0),
        "the topic has forgotten it"
    );
    assert_eq!(Arc::strong_count(&message), 1, "nothing of it is kept");
    assert_eq!(topic.publish(Arc::clone(&message)).unwrap().local, 0);

    assert_eq!(channel.end(), Some(End::Lagged));
    assert_eq!(channel.try_recv(), Err(TryRecvError::Ended));
    assert_eq!(channel.recv().await, None);
    assert_eq!(channel.counts().missed, 3);
    drop((broadcaster, topic));
    assert_eq!(channel.end(), Some(End::Lagged), "the first reason stays");
}

#[test]
fn b3_a_reader_without_room_hears_that_its_channel_has_ended() {
    let topic = Broadcaster::new().topic("orders");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(1).end_when_full());
    let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    assert_eq!(channel.poll_end(&mut cx), Poll::Pending);
    topic.publish(1).unwrap();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "messages do not wake");
    topic.publish(2).unwrap();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(channel.poll_end(&mut cx), Poll::Ready(End::Lagged));
}

struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn b3_policies_of_one_topic_do_not_touch_each_other() {
    let topic = Broadcaster::new().topic("lobby");
    let two = || ChannelOptions::new().capacity(2);
    let mut channels = [
        two(),
        two().drop_newest(),
        two().latest_per_key(|number| number % 2),
        two().end_when_full(),
        two().end_when_full().drop_oldest(),
    ]
    .map(|options| topic.subscribe_with(options));
    for number in 1..=4 {
        topic.publish(number).unwrap();
    }
    let got = channels.each_mut().map(drain);
    assert_eq!(got[0], [Err(2), Ok(3), Ok(4)]);
    assert_eq!(got[1], [Ok(1), Ok(2), Err(2)]);
    assert_eq!(got[2], [Ok(3), Ok(4)]);
    assert_eq!(got[3], []);
    assert_eq!(got[4], got[0], "the policy that was named last");
    let ends = channels.each_ref().map(Channel::end);
    assert_eq!(ends, [None, None, None, Some(End::Lagged), None]);
}

#[test]
fn b1_publish_except_leaves_out_one_subscriber_who_misses_nothing() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channels = [topic.subscribe(), topic.subscribe(), topic.subscribe()];
    let mine = channels[1].id();
    assert_eq!(topic.publish_except(mine, 1).unwrap().local, 2);
    topic.publish(2).unwrap();
    assert_eq!(
        channels.each_mut().map(drain),
        [vec![Ok(1), Ok(2)], vec![Ok(2)], vec![Ok(1), Ok(2)]]
    );
    let [only, others @ ..] = channels;
    drop(others);
    assert_eq!(topic.publish_except(only.id(), 3).unwrap().local, 0);
}

#[test]
fn b1_publish_except_of_somebody_elsewhere_leaves_out_nobody() {
    let broadcaster = Broadcaster::new();
    let topic = broadcaster.topic("lobby");
    let channel = topic.subscribe();
    let other_topic = broadcaster.topic("elsewhere").subscribe();
    let left = {
        let leaving = topic.subscribe();
        leaving.id()
    };
    // The first subscriber of another broadcaster: the same number, and not the same subscriber.
    let other_broadcaster = Broadcaster::<u32>::new().topic("lobby").subscribe();
    let ids: [SubscriberId; 3] = [other_topic.id(), left, other_broadcaster.id()];
    for id in ids {
        assert_ne!(id, channel.id());
        assert_eq!(topic.publish_except(id, 1).unwrap().local, 1);
    }
}

#[test]
fn b1_publish_confirmed_is_ready_at_once_and_not_before_it_is_polled() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe();
    let mut cx = Context::from_waker(Waker::noop());
    drop(topic.publish_confirmed(1));
    let polled = pin!(topic.publish_confirmed(2)).poll(&mut cx);
    assert!(matches!(polled, Poll::Ready(Ok(published)) if published.local == 1));
    assert_eq!(drain(&mut channel), [Ok(2)]);
}

#[test]
fn b2_many_come_at_once_in_order_with_their_gaps_and_uncloned() {
    struct NotClone(u32);

    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(2).drop_newest());
    let mut other = topic.subscribe_with(ChannelOptions::new().capacity(2));
    let mut cx = Context::from_waker(Waker::noop());
    let mut batch = VecDeque::new();
    assert_eq!(
        channel.poll_recv_many(&mut cx, &mut batch, 8),
        Poll::Pending
    );
    for number in 0..3 {
        topic.publish(Arc::new(NotClone(number))).unwrap();
    }
    assert_eq!(
        channel.poll_recv_many(&mut cx, &mut batch, 1),
        Poll::Ready(1)
    );
    assert_eq!(
        channel.poll_recv_many(&mut cx, &mut batch, 8),
        Poll::Ready(2),
        "what is there, without waiting for more"
    );
    let shown = |delivery: Delivery<Shared<Arc<NotClone>>>| match delivery {
        Delivery::Message(message) => Ok(message.0),
        Delivery::Missed(missed) => Err(missed.count),
    };
    assert_eq!(
        batch.drain(..).map(shown).collect::<Vec<_>>(),
        [Ok(0), Ok(1), Err(Some(1))]
    );
    drop(topic);
    assert_eq!(
        channel.poll_recv_many(&mut cx, &mut batch, 0),
        Poll::Ready(0)
    );
    assert_eq!(other.poll_recv_many(&mut cx, &mut batch, 0), Poll::Ready(1));
}

#[test]
fn counters_of_a_topic_live_as_long_as_its_subscribers() {
    let broadcaster = Broadcaster::new();
    let topic = broadcaster.topic("lobby");
    topic.publish(0).unwrap();
    let channels = [(); 2].map(|()| topic.subscribe_with(ChannelOptions::new().capacity(1)));
    for number in 0..3 {
        topic.publish(number).unwrap();
    }
    let counts = topic.counts();
    assert_eq!(
        (counts.published, counts.delivered, counts.missed),
        (3, 6, 4)
    );
    drop(channels);
    assert_eq!(topic.counts().published, 0);
    let counts = broadcaster.counts();
    assert_eq!(
        (counts.published, counts.delivered, counts.missed),
        (4, 6, 4)
    );
}

#[test]
fn b4_a_message_in_one_process_need_not_be_serializable() {
    #[derive(Clone)]
    struct Opaque(Arc<dyn Fn() -> u32 + Send + Sync>);

    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe();
    topic.publish(Opaque(Arc::new(|| 42))).unwrap();
    let Ok(Delivery::Message(message)) = channel.try_recv() else {
        panic!("nothing came")
    };
    assert_eq!((message.0)(), 42);
}

#[test]
fn an_empty_topic_takes_no_entry() {
    let broadcaster = Broadcaster::new();
    let handles: Vec<_> = (0..1_000)
        .map(|number| broadcaster.topic(format!("room {number}")))
        .collect();
    for topic in &handles {
        topic.publish(()).unwrap();
    }
    assert_eq!(
        broadcaster.topics(),
        0,
        "neither a handle nor a publish makes an entry"
    );

    let first: Vec<_> = handles.iter().map(Topic::subscribe).collect();
    let second: Vec<_> = handles.iter().take(10).map(Topic::subscribe).collect();
    assert_eq!(broadcaster.topics(), 1_000);
    assert_eq!(
        (handles[0].subscribers(), handles[999].subscribers()),
        (2, 1)
    );
    drop(first);
    assert_eq!(
        broadcaster.topics(),
        10,
        "only those with a subscriber left"
    );
    drop(second);
    assert_eq!(broadcaster.topics(), 0);
    assert_eq!(handles[0].subscribers(), 0);
}

#[test]
fn a_topic_is_its_name() {
    let broadcaster = Broadcaster::<u32>::new();
    let names: [Topic<u32>; 3] = [
        broadcaster.topic("lobby"),
        broadcaster.topic(String::from("lobby")),
        Broadcaster::clone(&broadcaster).topic(Arc::<str>::from("lobby")),
    ];
    let channel = names[0].subscribe();
    assert_eq!(channel.topic_name(), "lobby");
    for topic in &names {
        assert_eq!((topic.name(), topic.subscribers()), ("lobby", 1));
    }
}

#[test]
fn a_topic_can_be_left_and_joined_again() {
    let topic = Broadcaster::new().topic("lobby");
    for number in 0..10 {
        let mut channel = topic.subscribe();
        topic.publish(number).unwrap();
        assert_eq!(drain(&mut channel), [Ok(number)]);
    }
}

#[tokio::test]
async fn a_channel_is_a_stream() {
    let topic = Broadcaster::new().topic("lobby");
    let channel = topic.subscribe_with(ChannelOptions::new().capacity(2));
    for number in 0..3 {
        topic.publish(number).unwrap();
    }
    drop(topic);
    assert_eq!(
        channel.collect::<Vec<_>>().await,
        [
            Delivery::Missed(Missed::new("lobby", Some(1))),
            Delivery::Message(1),
            Delivery::Message(2)
        ]
    );
}

#[tokio::test]
async fn a_channel_ends_after_what_waits_once_nobody_can_publish() {
    let broadcaster = Broadcaster::new();
    let topic = broadcaster.topic("lobby");
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(1));
    let other_topic = broadcaster.topic("elsewhere");
    topic.publish(1).unwrap();
    topic.publish(2).unwrap();
    drop(topic);
    drop(broadcaster);
    assert_eq!(
        channel.recv().await,
        Some(Delivery::Missed(Missed::new("lobby", Some(1))))
    );
    assert_eq!(channel.recv().await, Some(Delivery::Message(2)));
    assert_eq!(
        channel.try_recv(),
        Err(TryRecvError::Empty),
        "a handle of another topic is left: anybody who has it may still hand out this one"
    );
    drop(other_topic);
    assert_eq!(channel.try_recv(), Err(TryRecvError::Ended));
    assert_eq!(channel.recv().await, None);
    assert_eq!(channel.recv().await, None, "and stays so");
}

#[tokio::test]
async fn the_end_wakes_a_channel_that_waits() {
    let topic = Broadcaster::<u32>::new().topic("lobby");
    let mut channel = topic.subscribe();
    let waiting = tokio::spawn(async move { channel.recv().await });
    tokio::task::yield_now().await;
    drop(topic);
    assert_eq!(waiting.await.unwrap(), None);
}

#[test]
fn a_recv_that_is_given_up_has_taken_nothing() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe();
    let mut cx = Context::from_waker(Waker::noop());
    {
        let recv = pin!(channel.recv());
        assert_eq!(recv.poll(&mut cx), Poll::Pending);
        topic.publish(1).unwrap();
    }
    assert_eq!(drain(&mut channel), [Ok(1)]);
}

#[test]
fn a_channel_lets_go_of_what_waits_when_it_is_dropped() {
    let topic = Broadcaster::new().topic("lobby");
    let channel = topic.subscribe();
    let message = Arc::new(());
    topic.publish(Arc::clone(&message)).unwrap();
    assert_eq!(Arc::strong_count(&message), 2);
    drop(channel);
    assert_eq!(Arc::strong_count(&message), 1);
}

#[test]
fn handles_can_be_sent_and_print_no_messages() {
    fn is_shared<T: Send + Sync + Unpin>() {}
    is_shared::<Broadcaster<String>>();
    is_shared::<Topic<String>>();
    is_shared::<Channel<String>>();

    let broadcaster = Broadcaster::new();
    let topic = broadcaster.topic("lobby");
    let channel = topic.subscribe();
    topic.publish("secret").unwrap();
    assert_eq!(format!("{broadcaster:?}"), "Broadcaster { topics: 1, .. }");
    assert_eq!(format!("{topic:?}"), "Topic { name: \"lobby\", .. }");
    assert_eq!(
        format!("{channel:?}"),
        "Channel { topic: \"lobby\", waiting: 1, .. }"
    );
}

#[test]
fn a_gap_can_be_renamed() {
    let missed = Missed::new("lobby", Some(3)).with_source(String::from("room"));
    assert_eq!((&*missed.source, missed.count), ("room", Some(3)));
}
