//! Who is in a topic: people and their connections, whatever ends these; the view of a watcher against a model; races.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and some panics are the tests'"
)]

use std::collections::HashMap;
use std::future;
use std::hash::{Hash, Hasher};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};
use std::thread;

use dreamsocket_broadcaster::{
    Delivery, End, Member, Person, Presence, PresenceChannel, PresenceEvent, TryRecvError,
    WatchOptions,
};
use proptest::prelude::*;
use proptest::sample::Index;

/// What can be seen of a person.
type Seen = (u32, u32, usize);

fn seen(person: &Person<u32, u32>) -> Seen {
    (*person.key(), *person.value(), person.connections())
}

fn people(presence: &Presence<u32, u32>, topic: &str) -> Vec<Seen> {
    presence.people(topic).iter().map(seen).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Joined(Seen),
    Updated(Seen),
    Left(Seen),
    Missed(u64),
}

fn event(channel: &mut PresenceChannel<u32, u32>) -> Option<Event> {
    Some(match channel.try_recv().ok()? {
        Delivery::Message(PresenceEvent::Joined(person)) => Event::Joined(seen(&person)),
        Delivery::Message(PresenceEvent::Updated(person)) => Event::Updated(seen(&person)),
        Delivery::Message(PresenceEvent::Left(person)) => Event::Left(seen(&person)),
        Delivery::Missed(missed) => Event::Missed(missed.count.unwrap()),
    })
}

fn events(channel: &mut PresenceChannel<u32, u32>) -> Vec<Event> {
    std::iter::from_fn(|| event(channel)).collect()
}

#[test]
fn one_person_with_three_tabs_is_three_connections_and_one_person() {
    let presence = Presence::new();
    let (list, mut watcher) = presence.watch("lobby");
    assert!(list.is_empty());
    let tabs: Vec<_> = (10..13)
        .map(|value| presence.enter("lobby", 1, value))
        .collect();
    assert_eq!(people(&presence, "lobby"), [(1, 12, 3)]);
    assert_eq!(
        events(&mut watcher),
        [
            Event::Joined((1, 10, 1)),
            Event::Updated((1, 11, 2)),
            Event::Updated((1, 12, 3))
        ]
    );
    drop(tabs);
    assert_eq!(people(&presence, "lobby"), []);
    assert_eq!(
        events(&mut watcher),
        [
            Event::Updated((1, 12, 2)),
            Event::Updated((1, 12, 1)),
            Event::Left((1, 12, 0))
        ]
    );
}

#[test]
fn a_value_goes_with_the_connection_that_set_it() {
    let presence = Presence::new();
    let first = presence.enter("lobby", 1, 10);
    let second = presence.enter("lobby", 1, 20);
    first.update(11);
    assert_eq!(people(&presence, "lobby"), [(1, 11, 2)]);
    drop(first);
    assert_eq!(people(&presence, "lobby"), [(1, 20, 1)]);
    second.update(21);
    assert_eq!(people(&presence, "lobby"), [(1, 21, 1)]);
}

#[test]
fn the_list_is_in_the_order_in_which_people_joined() {
    let presence = Presence::new();
    let mut members: Vec<_> = (0..100)
        .map(|key| presence.enter("lobby", key, 0))
        .collect();
    drop(members.remove(0));
    members.push(presence.enter("lobby", 0, 0));
    let order: Vec<_> = people(&presence, "lobby")
        .iter()
        .map(|(key, ..)| *key)
        .collect();
    assert_eq!(order, (1..100).chain([0]).collect::<Vec<_>>());
}

#[test]
fn topics_are_apart_and_take_no_memory_without_members() {
    let presence = Presence::new();
    let red = presence.enter("red", 1, 0);
    let (list, mut watcher) = presence.watch("blue");
    assert!(list.is_empty());
    assert_eq!(presence.topics(), 1, "watching makes no entry");
    let blue = presence.enter("blue", 1, 0);
    drop(red);
    assert_eq!(events(&mut watcher), [Event::Joined((1, 0, 1))]);
    assert_eq!((blue.topic_name(), blue.key()), ("blue", &1));
    drop(blue);
    assert_eq!(presence.topics(), 0);
    assert!(presence.people("blue").is_empty());
}

#[tokio::test]
async fn no_entry_survives_its_connection_whatever_ends_it() {
    let presence = Presence::new();
    let enter = |key| presence.enter("lobby", key, 0);

    let member = enter(1);
    assert!(
        panic::catch_unwind(AssertUnwindSafe(move || {
            let _member = member;
            panic!("handler");
        }))
        .is_err()
    );

    let member = enter(2);
    let task = tokio::spawn(async move {
        let _member = member;
        panic!("task");
    });
    assert!(task.await.unwrap_err().is_panic());

    let member = enter(3);
    let task = tokio::spawn(async move {
        let _member = member;
        future::pending::<()>().await;
    });
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());

    let member = enter(4);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let _member = member;
            future::pending::<()>().await;
        });
        runtime.block_on(tokio::task::yield_now());
    })
    .join()
    .unwrap();

    assert_eq!(people(&presence, "lobby"), []);
    assert_eq!(presence.topics(), 0);
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("wake");
    }
}

#[test]
fn whoever_could_not_enter_for_a_panic_is_not_there() {
    let presence = Presence::new();
    let (_, mut watcher) = presence.watch("lobby");
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(
        watcher
            .poll_recv(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let entering = panic::catch_unwind(AssertUnwindSafe(|| presence.enter("lobby", 1, 10)));
    assert!(entering.is_err());
    assert_eq!(people(&presence, "lobby"), []);
    assert_eq!(
        events(&mut watcher),
        [Event::Joined((1, 10, 1)), Event::Left((1, 10, 0))]
    );
}

#[tokio::test]
async fn a_watch_ends_when_nobody_can_change_anything() {
    let presence = Presence::new();
    let member = presence.enter("lobby", 1, 10);
    let (_, mut watcher) = presence.watch("lobby");
    drop(presence);
    assert_eq!(watcher.try_recv().unwrap_err(), TryRecvError::Empty);
    drop(member);
    assert!(matches!(
        watcher.recv().await,
        Some(Delivery::Message(PresenceEvent::Left(_)))
    ));
    assert!(watcher.recv().await.is_none());
    assert_eq!(watcher.end(), Some(End::Closed));
}

#[test]
fn b3_a_watch_is_bounded_and_tells_gaps() {
    let presence = Presence::new();
    let (_, mut watcher) = presence.watch_with("lobby", WatchOptions::new().capacity(2));
    let member = presence.enter("lobby", 1, 0);
    for value in 1..5 {
        member.update(value);
    }
    assert_eq!(
        events(&mut watcher),
        [
            Event::Missed(3),
            Event::Updated((1, 3, 1)),
            Event::Updated((1, 4, 1))
        ]
    );
}

#[test]
fn b3_a_watch_for_the_latest_keeps_one_event_of_each_person() {
    let presence = Presence::new();
    let options = WatchOptions::new().capacity(2).latest_per_person();
    let (_, mut watcher) = presence.watch_with("lobby", options);
    let first = presence.enter("lobby", 1, 10);
    let second = presence.enter("lobby", 2, 20);
    first.update(11);
    drop(second);
    assert_eq!(
        events(&mut watcher),
        [Event::Updated((1, 11, 1)), Event::Left((2, 20, 0))]
    );
}

/// Keys and values whose every trait uses the presence again. A lock that is held meanwhile shows as a test that does
/// not end.
#[test]
fn no_lock_is_held_while_code_of_the_users_runs() {
    #[derive(Clone)]
    struct Hooked(u32, Presence<u32, u32>);

    impl Hooked {
        fn hook(&self) {
            let before = self.1.people("lobby").len();
            let (people, mut watcher) = self.1.watch("lobby");
            assert_eq!(people.len(), before);
            drop(self.1.enter("lobby", 99, 0));
            assert_eq!(events(&mut watcher).len(), 2);
        }
    }

    impl Drop for Hooked {
        fn drop(&mut self) {
            self.hook();
        }
    }

    impl Hash for Hooked {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.hook();
            self.0.hash(state);
        }
    }

    impl PartialEq for Hooked {
        fn eq(&self, other: &Self) -> bool {
            self.hook();
            self.0 == other.0
        }
    }

    impl Eq for Hooked {}

    // Two of them, so that the hooks of one use the other; a hook of its own kind would not end.
    let inner = Presence::new();
    let presence = Presence::new();
    let hooked = |number| Hooked(number, inner.clone());
    let (_, watcher) = presence.watch_with("lobby", WatchOptions::new().capacity(1));
    let first = presence.enter("lobby", hooked(1), hooked(10));
    let second = presence.enter("lobby", hooked(1), hooked(11));
    second.update(hooked(12));
    drop(first);
    drop(second);
    drop(watcher);
    assert_eq!(presence.topics(), 0);
}

/// As above with the same presence: values that leave another topic, and change this one, when they are dropped.
#[test]
fn a_value_may_hold_a_member() {
    struct Chained(#[expect(dead_code, reason = "held to be dropped")] Option<Member<u32, Self>>);

    let presence = Presence::new();
    let inner = presence.enter("inner", 1, Chained(None));
    let outer = presence.enter("outer", 1, Chained(Some(inner)));
    assert_eq!(presence.topics(), 2);
    outer.update(Chained(None));
    assert_eq!(presence.topics(), 1);
    let same = presence.enter("outer", 2, Chained(None));
    outer.update(Chained(Some(same)));
    assert_eq!(presence.people("outer").len(), 2);
    drop(outer);
    assert_eq!(presence.topics(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Enter { topic: usize, key: u32 },
    Update(Index),
    Leave(Index),
    Watch { topic: usize, is_latest: bool },
    Unwatch(Index),
    Receive(Index),
}

const TOPICS: [&str; 2] = ["red", "blue"];

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let topic = || 0..TOPICS.len();
    prop_oneof![
        6 => (topic(), 0..4_u32).prop_map(|(topic, key)| Step::Enter { topic, key }),
        4 => index().prop_map(Step::Update),
        5 => index().prop_map(Step::Leave),
        2 => (topic(), any::<bool>()).prop_map(|(topic, is_latest)| Step::Watch { topic, is_latest }),
        1 => index().prop_map(Step::Unwatch),
        6 => index().prop_map(Step::Receive),
    ]
}

/// A list that follows a channel.
struct View {
    topic: usize,
    is_latest: bool,
    people: HashMap<u32, Seen>,
    channel: PresenceChannel<u32, u32>,
}

impl View {
    fn new(presence: &Presence<u32, u32>, topic: usize, is_latest: bool) -> Self {
        let options = if is_latest {
            WatchOptions::new().latest_per_person()
        } else {
            WatchOptions::new().capacity(usize::MAX)
        };
        let (people, channel) = presence.watch_with(TOPICS[topic], options);
        let people = people
            .iter()
            .map(|person| (*person.key(), seen(person)))
            .collect();
        Self {
            topic,
            is_latest,
            people,
            channel,
        }
    }

    /// Takes one event in and tells whether there was one.
    fn follow(&mut self) -> Result<bool, TestCaseError> {
        let Some(event) = event(&mut self.channel) else {
            return Ok(false);
        };
        let before = match event {
            Event::Joined(person) | Event::Updated(person) => self.people.insert(person.0, person),
            Event::Left(person) => self.people.remove(&person.0),
            Event::Missed(_) => return Err(TestCaseError::fail("nobody need miss anything")),
        };
        // Nothing doubled, nothing left out: but for a person's events that replaced each other.
        if !self.is_latest {
            let expected = match event {
                Event::Joined((.., connections)) => before.is_none() && connections == 1,
                Event::Updated((.., now)) => {
                    before.is_some_and(|(.., before)| before.abs_diff(now) <= 1)
                }
                Event::Left((.., now)) => {
                    now == 0 && before.is_some_and(|(.., before)| before == 1)
                }
                Event::Missed(_) => false,
            };
            prop_assert!(expected, "{event:?} after {before:?}");
        }
        Ok(true)
    }
}

/// One connection beside the model of it: who, where, and when its value was set.
struct Connection {
    member: Member<u32, u32>,
    topic: usize,
    set: u32,
}

fn model(connections: &[Connection], topic: usize) -> HashMap<u32, Seen> {
    let mut people: HashMap<u32, Seen> = HashMap::new();
    for connection in connections.iter().filter(|there| there.topic == topic) {
        let key = *connection.member.key();
        let (_, value, count) = people.entry(key).or_insert((key, 0, 0));
        *value = connection.set.max(*value);
        *count += 1;
    }
    people
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let presence = Presence::new();
    let mut connections: Vec<Connection> = Vec::new();
    let mut views: Vec<View> = Vec::new();

    for (now, step) in (1..).zip(steps) {
        match step {
            Step::Enter { topic, key } => connections.push(Connection {
                member: presence.enter(TOPICS[topic], key, now),
                topic,
                set: now,
            }),
            Step::Watch { topic, is_latest } => {
                views.push(View::new(&presence, topic, is_latest));
            }
            Step::Update(_) | Step::Leave(_) if connections.is_empty() => {}
            Step::Unwatch(_) | Step::Receive(_) if views.is_empty() => {}
            Step::Update(index) => {
                let connection = index.get_mut(&mut connections);
                connection.set = now;
                connection.member.update(now);
            }
            Step::Leave(index) => {
                connections.swap_remove(index.index(connections.len()));
            }
            Step::Unwatch(index) => {
                views.swap_remove(index.index(views.len()));
            }
            Step::Receive(index) => {
                index.get_mut(&mut views).follow()?;
            }
        }
        let mut live = 0;
        for (topic, name) in TOPICS.into_iter().enumerate() {
            let expected = model(&connections, topic);
            live += usize::from(!expected.is_empty());
            let list = presence.people(name);
            prop_assert_eq!(list.len(), expected.len());
            for person in &list {
                prop_assert_eq!(Some(&seen(person)), expected.get(person.key()));
            }
        }
        prop_assert_eq!(presence.topics(), live);
    }

    for mut view in views {
        while view.follow()? {}
        prop_assert_eq!(view.people, model(&connections, view.topic));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn presence_does_what_the_model_says(steps in prop::collection::vec(step(), 0..150)) {
        run(steps)?;
    }
}

/// People come, change and go on several threads, in rooms that empty all the time, while others begin to watch: each
/// list fits the changes that follow it.
#[test]
fn a_newcomers_list_and_changes_fit_under_threads() {
    const ROUNDS: u32 = 2_000;

    let presence = Presence::new();
    let start = Barrier::new(5);
    let busy = AtomicUsize::new(3);
    thread::scope(|scope| {
        for key in 0..3 {
            let (presence, start, busy) = (&presence, &start, &busy);
            scope.spawn(move || {
                start.wait();
                for round in 0..ROUNDS {
                    let first = presence.enter(TOPICS[0], key % 2, round);
                    let second = presence.enter(TOPICS[0], key % 2, round);
                    first.update(round);
                    drop(first);
                    drop(second);
                }
                busy.fetch_sub(1, Ordering::Release);
            });
        }
        for is_latest in [false, true] {
            let (presence, start, busy) = (&presence, &start, &busy);
            scope.spawn(move || {
                start.wait();
                while busy.load(Ordering::Relaxed) > 0 {
                    let mut view = View::new(presence, 0, is_latest);
                    for _ in 0..50 {
                        if !view.follow().unwrap() {
                            thread::yield_now();
                        }
                    }
                }
            });
        }
        let mut view = View::new(&presence, 0, false);
        while busy.load(Ordering::Acquire) > 0 {
            if !view.follow().unwrap() {
                thread::yield_now();
            }
        }
        while view.follow().unwrap() {}
        assert_eq!(view.people, HashMap::new());
    });
    assert_eq!(presence.topics(), 0);
}

#[test]
fn a_watcher_that_waits_is_woken() {
    struct CountWakes(AtomicUsize);

    impl Wake for CountWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let presence = Presence::new();
    let (_, mut watcher) = presence.watch("lobby");
    let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    {
        let recv = pin!(watcher.recv());
        assert!(recv.poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let member = presence.enter("lobby", 1, 10);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(events(&mut watcher), [Event::Joined((1, 10, 1))]);
    drop(member);
}
