//! Code of the user's that runs inside: `M::clone`, `M::drop`, key functions and wakers may publish, subscribe, drop
//! channels and panic. A lock that is held meanwhile shows as a test that does not end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use dreamsocket_broadcaster::{
    Broadcaster, Channel, ChannelOptions, Delivery, End, History, Topic, TryRecvError,
};

type Hook = Arc<dyn Fn() + Send + Sync>;

/// A message that runs hooks when it is cloned and dropped.
struct Hooked {
    number: u32,
    on_clone: Option<Hook>,
    on_drop: Option<Hook>,
}

impl Hooked {
    const fn new(number: u32) -> Self {
        Self {
            number,
            on_clone: None,
            on_drop: None,
        }
    }

    fn on_clone(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_clone = Some(Arc::new(hook));
        self
    }

    fn on_drop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_drop = Some(Arc::new(hook));
        self
    }
}

impl Clone for Hooked {
    fn clone(&self) -> Self {
        if let Some(hook) = &self.on_clone {
            hook();
        }
        Self::new(self.number)
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        if let Some(hook) = self.on_drop.take() {
            hook();
        }
    }
}

fn number(channel: &mut Channel<Hooked>) -> Result<Result<u32, u64>, TryRecvError> {
    channel.try_recv().map(|delivery| match delivery {
        Delivery::Message(message) => Ok(message.number),
        Delivery::Missed(missed) => Err(missed.count.unwrap()),
    })
}

fn numbers(channel: &mut Channel<Hooked>) -> Vec<Result<u32, u64>> {
    std::iter::from_fn(|| number(channel).ok()).collect()
}

fn one() -> ChannelOptions<Hooked> {
    ChannelOptions::new().capacity(1)
}

/// Everything that a hook could do to a broadcaster while one of its methods runs.
fn use_everything(topic: &Topic<Hooked>, number: u32) {
    topic.publish(Hooked::new(number)).unwrap();
    let mut channel = topic.subscribe();
    topic.publish(Hooked::new(number + 1)).unwrap();
    assert_eq!(numbers(&mut channel), [Ok(number + 1)]);
    drop(channel);
    assert!(topic.subscribers() > 0);
}

fn is_panic(f: impl FnOnce()) -> bool {
    panic::catch_unwind(AssertUnwindSafe(f)).is_err()
}

struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct OnWake(Hook);

impl Wake for OnWake {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Polls once with that waker; the channel must have nothing.
fn park(channel: &mut Channel<Hooked>, waker: &Waker) {
    let polled = pin!(channel.recv()).poll(&mut Context::from_waker(waker));
    assert!(polled.is_pending(), "the channel is not empty");
}

#[test]
fn clone_may_use_the_broadcaster() {
    let topic = Broadcaster::new().topic("lobby");
    let (mut first, mut second) = (topic.subscribe(), topic.subscribe());
    let hook = topic.clone();
    topic
        .publish(Hooked::new(1).on_clone(move || use_everything(&hook, 10)))
        .unwrap();
    assert_eq!(numbers(&mut first), [Ok(1), Ok(10), Ok(11)]);
    assert_eq!(numbers(&mut second), [Ok(1), Ok(10), Ok(11)]);
}

#[test]
fn b1_publishing_does_not_clone_and_the_last_reader_moves_the_message_out() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channels = [topic.subscribe(), topic.subscribe(), topic.subscribe()];
    let clones = Arc::new(AtomicUsize::new(0));
    let hook = Arc::clone(&clones);
    let message = Hooked::new(1).on_clone(move || {
        hook.fetch_add(1, Ordering::Relaxed);
    });
    topic.publish(message).unwrap();
    for (channel, expected) in channels.iter_mut().zip([1, 2, 2]) {
        assert_eq!(numbers(channel), [Ok(1)]);
        assert_eq!(clones.load(Ordering::Relaxed), expected);
    }
}

#[test]
fn b2_what_drop_publishes_comes_after_what_pushed_it_out() {
    let topic = Broadcaster::new().topic("lobby");
    let mut small = topic.subscribe_with(one());
    let hook = topic.clone();
    topic
        .publish(Hooked::new(1).on_drop(move || use_everything(&hook, 10)))
        .unwrap();
    // The first one's drop must run inside the second publish: nobody else holds it.
    let mut large = topic.subscribe();
    topic.publish(Hooked::new(2)).unwrap();
    assert_eq!(numbers(&mut large), [Ok(2), Ok(10), Ok(11)]);
    assert_eq!(numbers(&mut small), [Err(3), Ok(11)]);
}

#[test]
fn drop_may_use_the_broadcaster_when_nobody_is_subscribed() {
    let topic = Broadcaster::new().topic("lobby");
    let hook = topic.clone();
    topic
        .publish(Hooked::new(1).on_drop(move || {
            let _channel = hook.subscribe();
            hook.publish(Hooked::new(2)).unwrap();
        }))
        .unwrap();
    assert_eq!(topic.subscribers(), 0);
}

#[test]
fn drop_may_use_the_broadcaster_when_a_channel_is_dropped() {
    let topic = Broadcaster::new().topic("lobby");
    let leaving = topic.subscribe();
    let hook = topic.clone();
    topic
        .publish(Hooked::new(1).on_drop(move || use_everything(&hook, 10)))
        .unwrap();
    let mut staying = topic.subscribe();
    drop(leaving);
    assert_eq!(numbers(&mut staying), [Ok(10), Ok(11)]);
}

#[test]
fn a_waker_may_use_the_broadcaster_and_drop_the_channel_it_wakes() {
    let broadcaster = Broadcaster::new();
    let topic = broadcaster.topic("lobby");
    let mut staying = topic.subscribe();
    let slot = Arc::new(Mutex::new(Some(topic.subscribe())));
    let (hook, hook_slot) = (topic.clone(), Arc::clone(&slot));
    let waker = Waker::from(Arc::new(OnWake(Arc::new(move || {
        let channel = hook_slot.lock().unwrap().take();
        drop(channel);
        use_everything(&hook, 10);
    }))));
    park(slot.lock().unwrap().as_mut().unwrap(), &waker);

    assert_eq!(topic.publish(Hooked::new(1)).unwrap().local, 2);
    assert_eq!(numbers(&mut staying), [Ok(1), Ok(10), Ok(11)]);
    assert_eq!(topic.subscribers(), 1);
}

#[test]
fn a_waker_may_use_the_broadcaster_when_it_is_dropped() {
    thread_local! {
        static TOPIC: RefCell<Option<Topic<Hooked>>> = const { RefCell::new(None) };
    }
    fn publish() {
        TOPIC.with_borrow(|topic| {
            if let Some(topic) = topic {
                topic.publish(Hooked::new(7)).unwrap();
            }
        });
    }

    struct OnDrop;
    impl Wake for OnDrop {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for OnDrop {
        fn drop(&mut self) {
            publish();
        }
    }

    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe();
    park(&mut channel, &Waker::from(Arc::new(OnDrop)));
    TOPIC.set(Some(topic));
    // The channel's is the last reference to the first waker: parking with another one drops it.
    park(&mut channel, Waker::noop());
    assert_eq!(numbers(&mut channel), [Ok(7)]);
    TOPIC.set(None);
}

#[test]
fn a_clone_that_panics_counts_as_missed_and_harms_nobody() {
    let topic = Broadcaster::new().topic("lobby");
    let (mut first, mut second) = (topic.subscribe(), topic.subscribe());
    topic.publish(Hooked::new(1)).unwrap();
    topic
        .publish(Hooked::new(2).on_clone(|| panic!("clone")))
        .unwrap();
    topic.publish(Hooked::new(3)).unwrap();

    assert_eq!(number(&mut first), Ok(Ok(1)));
    assert!(is_panic(|| drop(first.try_recv())));
    assert_eq!(
        numbers(&mut first),
        [Err(1), Ok(3)],
        "B2: the gap is told in its place"
    );
    let counts = first.counts();
    assert_eq!((counts.received, counts.missed), (2, 1));
    assert_eq!(
        numbers(&mut second),
        [Ok(1), Ok(2), Ok(3)],
        "the last one need not clone"
    );

    topic.publish(Hooked::new(4)).unwrap();
    assert_eq!(
        (numbers(&mut first), numbers(&mut second)),
        (vec![Ok(4)], vec![Ok(4)])
    );
}

#[test]
fn a_drop_that_panics_stops_no_delivery_and_no_wake() {
    let topic = Broadcaster::new().topic("lobby");
    let mut small = [topic.subscribe_with(one()), topic.subscribe_with(one())];
    let mut parked = topic.subscribe();
    topic
        .publish(Hooked::new(1).on_drop(|| panic!("drop")))
        .unwrap();
    // The parked one clones, the two small ones hold the rest.
    assert_eq!(numbers(&mut parked), [Ok(1)]);
    let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
    park(&mut parked, &Waker::from(Arc::clone(&wakes)));

    assert!(
        is_panic(|| drop(topic.publish(Hooked::new(2)))),
        "the panic is the publisher's"
    );
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(numbers(&mut parked), [Ok(2)]);
    for channel in &mut small {
        assert_eq!(numbers(channel), [Err(1), Ok(2)]);
    }
}

#[test]
fn a_waker_that_panics_stops_no_other_wake() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channels: Vec<_> = (0..6).map(|_| topic.subscribe()).collect();
    let panicking = Waker::from(Arc::new(OnWake(Arc::new(|| panic!("wake")))));
    let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
    let counting = Waker::from(Arc::clone(&wakes));
    for (channel, is_bad) in channels
        .iter_mut()
        .zip([true, false, true, false, false, true])
    {
        park(channel, if is_bad { &panicking } else { &counting });
    }
    assert!(is_panic(|| drop(topic.publish(Hooked::new(1)))));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 3);
    for channel in &mut channels {
        assert_eq!(numbers(channel), [Ok(1)]);
    }
}

#[test]
fn a_waker_that_panics_stops_no_other_end() {
    let broadcaster = Broadcaster::<Hooked>::new();
    let mut channels: Vec<_> = (0..100)
        .map(|number| broadcaster.topic(format!("room {number}")).subscribe())
        .collect();
    let panicking = Waker::from(Arc::new(OnWake(Arc::new(|| panic!("wake")))));
    let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
    let counting = Waker::from(Arc::clone(&wakes));
    for (number, channel) in channels.iter_mut().enumerate() {
        park(
            channel,
            if number % 2 == 0 {
                &panicking
            } else {
                &counting
            },
        );
    }
    assert!(is_panic(|| drop(broadcaster)));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 50);
    for channel in &mut channels {
        assert_eq!(number(channel), Err(TryRecvError::Ended));
    }
}

#[test]
fn a_parked_reader_is_woken_once_and_a_busy_one_not_at_all() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe();
    let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    topic.publish(Hooked::new(0)).unwrap();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    assert_eq!(numbers(&mut channel), [Ok(0)]);

    park(&mut channel, &waker);
    park(&mut channel, &waker);
    for number in 1..4 {
        topic.publish(Hooked::new(number)).unwrap();
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(numbers(&mut channel), [Ok(1), Ok(2), Ok(3)]);
    topic.publish(Hooked::new(4)).unwrap();
    assert_eq!(
        wakes.0.load(Ordering::Relaxed),
        1,
        "a reader that was not parked again"
    );
}

#[test]
fn only_the_last_waker_is_woken() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe();
    let wakes = [(); 2].map(|()| Arc::new(CountWakes(AtomicUsize::new(0))));
    for wakes in &wakes {
        park(&mut channel, &Waker::from(Arc::clone(wakes)));
    }
    topic.publish(Hooked::new(1)).unwrap();
    assert_eq!(wakes.map(|wakes| wakes.0.load(Ordering::Relaxed)), [0, 1]);
}

/// A key that uses everything, and a `Hash` that does.
#[test]
fn b3_a_key_function_may_use_the_broadcaster() {
    type Message = (u32, Option<Topic<u32>>);

    #[derive(PartialEq, Eq)]
    struct Key(u32);

    thread_local! {
        static TOPIC: RefCell<Option<Topic<Message>>> = const { RefCell::new(None) };
    }

    fn use_topic() {
        let Some(topic) = TOPIC.take() else {
            return;
        };
        let mut channel = topic.subscribe_with(ChannelOptions::new().latest_per_key(key));
        topic.publish((7, None)).unwrap();
        assert!(channel.try_recv().is_ok());
        TOPIC.set(Some(topic));
    }

    impl Hash for Key {
        fn hash<H: Hasher>(&self, state: &mut H) {
            use_topic();
            self.0.hash(state);
        }
    }

    impl Drop for Key {
        fn drop(&mut self) {
            use_topic();
        }
    }

    fn key(message: &Message) -> Key {
        use_topic();
        Key(message.0)
    }

    let topic = Broadcaster::new().topic("prices");
    let mut channel = topic.subscribe_with(ChannelOptions::new().latest_per_key(key));
    TOPIC.set(Some(topic.clone()));
    topic.publish((1, None)).unwrap();
    topic.publish((1, None)).unwrap();
    let mut got = Vec::new();
    while let Ok(Delivery::Message((number, _))) = channel.try_recv() {
        got.push(number);
    }
    assert_eq!(got, [7, 1], "what the key function published came first");
    TOPIC.set(None);
}

/// A key function that subscribes with a key function that the publish does not know yet: it is asked, too.
#[test]
fn b3_a_key_function_that_comes_while_keys_are_computed_is_asked() {
    thread_local! {
        static SLOT: RefCell<Option<Result<Topic<u32>, Channel<u32>>>> = const { RefCell::new(None) };
    }

    fn first(_: &u32) -> u8 {
        let channel = SLOT.take().map(|slot| {
            slot.map_or_else(
                |channel| channel,
                |topic| topic.subscribe_with(ChannelOptions::new().latest_per_key(second)),
            )
        });
        SLOT.set(channel.map(Err));
        0
    }

    fn second(number: &u32) -> u32 {
        *number
    }

    let topic = Broadcaster::new().topic("prices");
    let _channel = topic.subscribe_with(ChannelOptions::new().latest_per_key(first));
    SLOT.set(Some(Ok(topic.clone())));
    assert_eq!(topic.publish(1).unwrap().local, 2);
    topic.publish(1).unwrap();
    topic.publish(2).unwrap();
    let Some(Err(mut late)) = SLOT.take() else {
        panic!("the key function did not run")
    };
    assert_eq!(late.try_recv(), Ok(Delivery::Message(1)));
    assert_eq!(late.counts().coalesced, 1);
    assert_eq!(late.try_recv(), Ok(Delivery::Message(2)));
}

#[test]
fn b3_a_key_function_that_panics_replaces_nothing_and_harms_nobody() {
    let topic = Broadcaster::new().topic("prices");
    let by_number = ChannelOptions::new().latest_per_key(|message: &Hooked| {
        assert!(message.number != 2, "no key");
        0
    });
    let mut keyed = topic.subscribe_with(by_number);
    let mut other = topic.subscribe();
    topic.publish(Hooked::new(1)).unwrap();
    assert!(is_panic(|| drop(topic.publish(Hooked::new(2)))));
    assert!(is_panic(|| drop(topic.publish(Hooked::new(2)))));
    topic.publish(Hooked::new(3)).unwrap();
    assert_eq!(numbers(&mut keyed), [Ok(3), Ok(2), Ok(2)]);
    assert_eq!(numbers(&mut other), [Ok(1), Ok(2), Ok(2), Ok(3)]);
}

#[test]
fn b3_a_channel_that_has_lagged_tells_no_gap_before_its_end() {
    let topic = Broadcaster::new().topic("orders");
    let mut lagging = topic.subscribe_with(one().end_when_full());
    let _other = topic.subscribe();
    topic
        .publish(Hooked::new(1).on_clone(|| panic!("clone")))
        .unwrap();
    assert!(is_panic(|| drop(lagging.try_recv())));
    topic.publish(Hooked::new(2)).unwrap();
    topic.publish(Hooked::new(3)).unwrap();
    assert_eq!(number(&mut lagging), Err(TryRecvError::Ended));
    assert_eq!(lagging.counts().missed, 3);
}

#[test]
fn what_an_ended_channel_drops_may_use_the_broadcaster() {
    let topic = Broadcaster::new().topic("orders");
    let mut lagging = topic.subscribe_with(one().end_when_full());
    let hook = topic.clone();
    topic
        .publish(Hooked::new(1).on_drop(move || use_everything(&hook, 10)))
        .unwrap();
    let mut staying = topic.subscribe();
    topic.publish(Hooked::new(2)).unwrap();
    assert_eq!(number(&mut lagging), Err(TryRecvError::Ended));
    assert_eq!(numbers(&mut staying), [Ok(2), Ok(10), Ok(11)]);
}

#[test]
fn what_is_coalesced_may_use_the_broadcaster_when_it_is_dropped() {
    let topic = Broadcaster::new().topic("prices");
    let mut keyed = topic.subscribe_with(ChannelOptions::new().latest_per_key(|_| ()));
    let hook = topic.clone();
    topic
        .publish(Hooked::new(1).on_drop(move || use_everything(&hook, 10)))
        .unwrap();
    topic.publish(Hooked::new(2)).unwrap();
    assert_eq!(numbers(&mut keyed), [Ok(11)]);
}

#[test]
fn a_message_may_carry_its_own_topic() {
    #[derive(Clone, Debug)]
    struct Request {
        reply_to: Topic<Self>,
    }

    let broadcaster = Broadcaster::new();
    let mut requests = broadcaster.topic("requests").subscribe();
    let mut replies = broadcaster.topic("replies").subscribe();
    let request = Request {
        reply_to: broadcaster.topic("replies"),
    };
    broadcaster.topic("requests").publish(request).unwrap();
    drop(broadcaster);
    // The message holds the last handle: the channels live until it is gone.
    let Ok(Delivery::Message(request)) = requests.try_recv() else {
        panic!("nothing came")
    };
    assert!(matches!(requests.try_recv(), Err(TryRecvError::Empty)));
    request.reply_to.publish(request.clone()).unwrap();
    drop(request);
    assert!(matches!(replies.try_recv(), Ok(Delivery::Message(_))));
    let polled = pin!(replies.recv()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(None)));
    assert!(matches!(requests.try_recv(), Err(TryRecvError::Ended)));
}

#[test]
fn b2_the_place_of_a_panicked_clone_is_kept_under_overflow() {
    let topic = Broadcaster::new().topic("lobby");
    let mut channel = topic.subscribe_with(one());
    let _other = topic.subscribe();
    let hook = topic.clone();
    // While the clone runs, two more come and the first of them is pushed out; then the clone panics.
    let message = Hooked::new(1).on_clone(move || {
        hook.publish(Hooked::new(2)).unwrap();
        hook.publish(Hooked::new(3)).unwrap();
        panic!("clone");
    });
    topic.publish(message).unwrap();
    assert!(is_panic(|| drop(channel.try_recv())));
    assert_eq!(numbers(&mut channel), [Err(2), Ok(3)]);
}

#[test]
fn b3_a_channel_that_lags_while_a_message_is_cloned_tells_no_gap_before_its_end() {
    let topic = Broadcaster::new().topic("orders");
    let mut lagging = topic.subscribe_with(one().end_when_full());
    let _other = topic.subscribe();
    let hook = topic.clone();
    let publish = move || {
        hook.publish(Hooked::new(2)).unwrap();
        hook.publish(Hooked::new(3)).unwrap();
        panic!("clone");
    };
    topic.publish(Hooked::new(1).on_clone(publish)).unwrap();
    assert!(is_panic(|| drop(lagging.try_recv())));
    assert_eq!(lagging.end(), Some(End::Lagged));
    assert_eq!(number(&mut lagging), Err(TryRecvError::Ended));
    assert_eq!(lagging.counts().missed, 3);
}

#[test]
fn b5_a_message_whose_clone_panics_is_not_behind_its_reader() {
    let topic = Broadcaster::with_history(History::last(10)).topic("orders");
    let mut channel = topic.subscribe();
    topic.publish(Hooked::new(1)).unwrap();
    assert_eq!(number(&mut channel), Ok(Ok(1)));
    let reached = channel.position().unwrap();
    topic
        .publish(Hooked::new(2).on_clone(|| panic!("clone")))
        .unwrap();
    assert!(is_panic(|| drop(channel.try_recv())));
    assert_eq!(channel.position(), Some(reached));
    let mut again = topic.subscribe_from(&reached).positioned();
    assert!(is_panic(|| drop(again.try_recv())));
    assert_eq!(again.channel().position(), Some(reached));
}

#[test]
fn b5_history_ends_with_the_broadcaster() {
    let broadcaster = Broadcaster::with_history(History::last(10));
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let message = Hooked::new(1).on_drop(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    broadcaster.topic("orders").publish(message).unwrap();
    let mut channel = broadcaster.topic("another").subscribe();
    drop(broadcaster);
    assert_eq!(number(&mut channel), Err(TryRecvError::Ended));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

fn is_too_old() {
    std::thread::sleep(std::time::Duration::from_millis(1_010));
}

fn short() -> History {
    History::last(10).max_age(std::time::Duration::from_secs(1))
}

#[test]
fn b5_what_is_too_old_as_somebody_subscribes_may_panic() {
    let topic = Broadcaster::with_history(short()).topic("orders");
    let message = Hooked::new(1).on_drop(|| panic!("drop"));
    topic.publish(message).unwrap();
    is_too_old();
    assert!(is_panic(|| drop(topic.subscribe_last(9))));
    assert_eq!(topic.subscribers(), 0);
}
