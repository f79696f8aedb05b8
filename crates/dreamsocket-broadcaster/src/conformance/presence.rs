//! B8: who is there, on all nodes alike. Cases for a link and a [`Store`](crate::link::Store) together.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time;

use crate::conformance::support::{PATIENCE, ensure, equal};
use crate::conformance::{Failure, Outcome, Report};
use crate::delivery::Delivery;
use crate::presence::{Presence, PresenceChannel, PresenceEvent, WatchOptions};

/// Where the cases take place: nodes that show the same people.
pub trait PresenceSpace: Send + Sync {
    /// A new node, connected. In process: another handle of the same one.
    fn node(&self) -> impl Future<Output = Presence<u32, String>> + Send;

    /// Restarts the broker, with nothing left of what it knew, and returns when it takes connections again. `false`: there
    /// is nothing to restart, and the cases that need it are left out.
    fn restart(&self) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// A new node whose connections can be cut. `None`: they cannot, and the cases that need it are left out.
    fn node_with_cable(
        &self,
    ) -> impl Future<Output = Option<(Presence<u32, String>, Box<dyn Cable>)>> + Send {
        async { None }
    }
}

/// What connects one node with the broker.
pub trait Cable: Send + Sync {
    /// Ends all connections, and takes no others.
    fn cut(&self);

    /// Takes connections again.
    fn mend(&self);
}

struct Stage<'a, S> {
    space: &'a S,
    topic: String,
}

type Run<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

type Case<S> = (&'static str, for<'a> fn(&'a Stage<'a, S>) -> Run<'a>);

/// Runs all cases of presence, one after the other, each in topics of its own. Needs a tokio runtime with its timer.
pub async fn run_presence<S: PresenceSpace>(space: &S) -> Report {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let mut report = Report::default();
    for (name, run) in cases::<S>() {
        // Brokers outlive runs.
        let run_number = RUNS.fetch_add(1, Ordering::Relaxed);
        let topic = format!("{name}-{}-{run_number}", std::process::id());
        let stage = Stage { space, topic };
        match run(&stage).await {
            Ok(()) => report.passed.push(name),
            Err(Failure::Broken(what)) => report.failed.push((name, what)),
            Err(Failure::LeftOut) => report.left_out.push(name),
        }
    }
    report
}

macro_rules! list {
    ($($name:ident),+ $(,)?) => {
        fn cases<S: PresenceSpace>() -> Vec<Case<S>> {
            vec![$((stringify!($name), |stage| Box::pin($name(stage)))),+]
        }
    };
}

list![
    b8_people_of_other_nodes_come_and_go,
    b8_who_watches_later_sees_who_was_there,
    b8_one_person_on_many_nodes_is_one,
    b8_the_value_that_was_set_last_is_shown_everywhere,
    b8_a_value_goes_with_the_connection_that_set_it,
    b8_three_nodes_come_to_one_view,
    b8_who_is_watched_nowhere_is_found,
    b8_who_comes_and_goes_at_once_leaves_nothing,
    b8_a_thousand_people_are_seen,
    b8_many_topics_are_seen,
    b8_any_name_is_a_topic_of_its_own,
    b8_a_node_that_is_dropped_is_gone_at_once,
    b8_a_topic_is_watched_again,
    b8_a_node_is_ready,
    b8_a_restart_of_the_broker_moves_nobody,
    b8_what_changes_while_the_broker_is_restarted_is_seen,
    b8_a_node_that_was_cut_off_shortly_sees_what_has_changed,
    b8_a_node_that_was_cut_off_is_gone_and_comes_back,
    b8_who_is_cut_off_keeps_its_view,
];

/// Somebody's key, value and number of connections.
type Seen = (u32, String, usize);

fn seen(key: u32, value: &str, connections: usize) -> Seen {
    (key, value.to_owned(), connections)
}

fn people(node: &Presence<u32, String>, topic: &str) -> Vec<Seen> {
    let people = node.people(topic);
    let mut people: Vec<_> = people
        .iter()
        .map(|person| seen(*person.key(), person.value(), person.connections()))
        .collect();
    people.sort();
    people
}

/// A watcher's own account, kept by what it is told.
struct View {
    people: Vec<Seen>,
    changes: PresenceChannel<u32, String>,
    events: Vec<String>,
}

impl View {
    fn new(node: &Presence<u32, String>, topic: &str) -> Self {
        let options = WatchOptions::new().capacity(100_000);
        let (people, changes) = node.watch_with(topic, options);
        let people = people.iter();
        let people = people.map(|person| seen(*person.key(), person.value(), person.connections()));
        Self {
            people: people.collect(),
            changes,
            events: Vec::new(),
        }
    }

    /// Takes what has come. An event that does not fit to what came before it is an error.
    fn read(&mut self) -> Outcome {
        while let Ok(delivery) = self.changes.try_recv() {
            let Delivery::Message(event) = delivery else {
                return Err(Failure::Broken("a gap was told".to_owned()));
            };
            let person = event.person();
            let now = seen(*person.key(), person.value(), person.connections());
            let place = self.people.iter().position(|(key, ..)| *key == now.0);
            self.events.push(format!("{event:?}"));
            match (&event, place) {
                (PresenceEvent::Joined(_), None) => self.people.push(now),
                (PresenceEvent::Updated(_), Some(place)) => self.people[place] = now,
                (PresenceEvent::Left(_), Some(place)) => drop(self.people.remove(place)),
                _ => return Err(Failure::Broken(format!("{event:?} in {:?}", self.people))),
            }
        }
        Ok(())
    }

    async fn shows(&mut self, expected: &[Seen]) -> Outcome {
        self.shows_within(expected, PATIENCE).await
    }

    async fn shows_within(&mut self, expected: &[Seen], limit: Duration) -> Outcome {
        let mut expected = expected.to_vec();
        expected.sort();
        let start = time::Instant::now();
        loop {
            self.read()?;
            self.people.sort();
            if self.people == expected {
                return Ok(());
            }
            if start.elapsed() > limit {
                return Err(Failure::Broken(format!(
                    "{} are shown instead of {}",
                    short(&self.people),
                    short(&expected)
                )));
            }
            time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What was told from now on, in that time.
    async fn told_in(&mut self, time: Duration) -> Result<Vec<String>, Failure> {
        self.read()?;
        self.events.clear();
        time::sleep(time).await;
        self.read()?;
        Ok(std::mem::take(&mut self.events))
    }
}

fn short(people: &[Seen]) -> String {
    if people.len() > 10 {
        return format!("{} people", people.len());
    }
    format!("{people:?}")
}

async fn when<T: Debug>(what: &str, state: impl Fn() -> T, is: impl Fn(&T) -> bool) -> Outcome {
    let start = time::Instant::now();
    loop {
        let now = state();
        if is(&now) {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{what}: {now:?}");
        time::sleep(Duration::from_millis(5)).await;
    }
}

async fn when_ready(node: &Presence<u32, String>) -> Outcome {
    when("is not ready", || node.health(), |health| health.is_ready()).await
}

fn enter(
    node: &Presence<u32, String>,
    topic: &str,
    key: u32,
    value: &str,
) -> crate::presence::Member<u32, String> {
    node.enter(topic, key, value.to_owned())
}

async fn b8_people_of_other_nodes_come_and_go<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let mut view = View::new(&here, &stage.topic);
    let ada = enter(&there, &stage.topic, 1, "Ada");
    view.shows(&[seen(1, "Ada", 1)]).await?;
    let bob = enter(&here, &stage.topic, 2, "Bob");
    view.shows(&[seen(1, "Ada", 1), seen(2, "Bob", 1)]).await?;
    equal(
        "the list",
        people(&here, &stage.topic),
        vec![seen(1, "Ada", 1), seen(2, "Bob", 1)],
    )?;
    drop(ada);
    view.shows(&[seen(2, "Bob", 1)]).await?;
    drop(bob);
    view.shows(&[]).await
}

async fn b8_who_watches_later_sees_who_was_there<S: PresenceSpace>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let _ada = enter(&there, &stage.topic, 1, "Ada");
    let _bob = enter(&there, &stage.topic, 2, "Bob");
    View::new(&here, &stage.topic)
        .shows(&[seen(1, "Ada", 1), seen(2, "Bob", 1)])
        .await?;
    time::sleep(Duration::from_millis(200)).await;
    let _cy = enter(&there, &stage.topic, 3, "Cy");
    let late = stage.space.node().await;
    let everybody = [seen(1, "Ada", 1), seen(2, "Bob", 1), seen(3, "Cy", 1)];
    View::new(&late, &stage.topic).shows(&everybody).await
}

async fn b8_one_person_on_many_nodes_is_one<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let nodes = [
        stage.space.node().await,
        stage.space.node().await,
        stage.space.node().await,
    ];
    let mut views: Vec<_> = nodes
        .iter()
        .map(|node| View::new(node, &stage.topic))
        .collect();
    let mut members = Vec::new();
    for (count, node) in (1..).zip(&nodes) {
        members.push(enter(node, &stage.topic, 1, "Ada"));
        for view in &mut views {
            view.shows(&[seen(1, "Ada", count)]).await?;
        }
    }
    for count in (0..members.len()).rev() {
        drop(members.remove(0));
        let expected: &[_] = if count == 0 {
            &[]
        } else {
            &[seen(1, "Ada", count)]
        };
        for view in &mut views {
            view.shows(expected).await?;
        }
    }
    for view in &views {
        let joined = view
            .events
            .iter()
            .filter(|event| event.starts_with("Joined"));
        equal("times joined", joined.count(), 1)?;
    }
    Ok(())
}

async fn b8_the_value_that_was_set_last_is_shown_everywhere<S: PresenceSpace>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let mut mine = View::new(&here, &stage.topic);
    let mut theirs = View::new(&there, &stage.topic);
    let phone = enter(&here, &stage.topic, 1, "idle");
    mine.shows(&[seen(1, "idle", 1)]).await?;
    theirs.shows(&[seen(1, "idle", 1)]).await?;
    let laptop = enter(&there, &stage.topic, 1, "reading");
    for (round, member) in [&phone, &laptop, &phone, &laptop].into_iter().enumerate() {
        let value = format!("typing {round}");
        member.update(value.clone());
        mine.shows(&[seen(1, &value, 2)]).await?;
        theirs.shows(&[seen(1, &value, 2)]).await?;
    }
    Ok(())
}

async fn b8_a_value_goes_with_the_connection_that_set_it<S: PresenceSpace>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let mut view = View::new(&here, &stage.topic);
    let _phone = enter(&here, &stage.topic, 1, "idle");
    let laptop = enter(&there, &stage.topic, 1, "idle");
    view.shows(&[seen(1, "idle", 2)]).await?;
    laptop.update("typing".to_owned());
    view.shows(&[seen(1, "typing", 2)]).await?;
    drop(laptop);
    view.shows(&[seen(1, "idle", 1)]).await
}

async fn b8_three_nodes_come_to_one_view<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let nodes = [
        stage.space.node().await,
        stage.space.node().await,
        stage.space.node().await,
    ];
    let mut views: Vec<_> = nodes
        .iter()
        .map(|node| View::new(node, &stage.topic))
        .collect();
    let mut members = Vec::new();
    for round in 0..60_u32 {
        let node = &nodes[round as usize % 3];
        members.push(enter(node, &stage.topic, round % 7, &round.to_string()));
        if round % 4 == 3 {
            drop(members.remove(0));
        }
        if let Some(member) = members.get(round as usize % 5) {
            member.update(format!("round {round}"));
        }
        if round % 10 == 0 {
            time::sleep(Duration::from_millis(10)).await;
        }
    }
    let mut expected = people(&nodes[0], &stage.topic);
    let start = time::Instant::now();
    // Each of them has a view of its own; when they are the same, they stay so.
    while nodes
        .iter()
        .any(|node| people(node, &stage.topic) != expected)
    {
        ensure!(start.elapsed() < PATIENCE, "the views differ");
        time::sleep(Duration::from_millis(10)).await;
        expected = people(&nodes[0], &stage.topic);
    }
    let connections: usize = expected.iter().map(|(.., connections)| connections).sum();
    equal("connections", connections, members.len())?;
    for view in &mut views {
        view.shows(&expected).await?;
    }
    Ok(())
}

/// Nobody hears of it as it happens.
async fn b8_who_is_watched_nowhere_is_found<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let _ada = enter(&there, &stage.topic, 1, "Ada");
    let bob = enter(&there, &stage.topic, 2, "Bob");
    time::sleep(Duration::from_millis(300)).await;
    drop(bob);
    time::sleep(Duration::from_millis(1_000)).await;
    View::new(&here, &stage.topic)
        .shows(&[seen(1, "Ada", 1)])
        .await
}

async fn b8_who_comes_and_goes_at_once_leaves_nothing<S: PresenceSpace>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let mut view = View::new(&here, &stage.topic);
    for key in 0..100 {
        drop(enter(&there, &stage.topic, key, "passes"));
    }
    let _ada = enter(&there, &stage.topic, 1_000, "Ada");
    view.shows(&[seen(1_000, "Ada", 1)]).await?;
    equal("topics", there.topics() + here.topics() > 0, true)
}

async fn b8_a_thousand_people_are_seen<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let mut view = View::new(&here, &stage.topic);
    let mut members: Vec<_> = (0..1_000)
        .map(|key| enter(&there, &stage.topic, key, "many"))
        .collect();
    let expected: Vec<_> = (0..1_000).map(|key| seen(key, "many", 1)).collect();
    view.shows(&expected).await?;
    members.truncate(10);
    view.shows(&expected[..10]).await
}

async fn b8_many_topics_are_seen<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let topics: Vec<_> = (0..50)
        .map(|topic| format!("{}-{topic}", stage.topic))
        .collect();
    let members: Vec<_> = (0..)
        .zip(&topics)
        .map(|(key, topic)| enter(&there, topic, key, "here"))
        .collect();
    let mut views: Vec<_> = topics.iter().map(|topic| View::new(&here, topic)).collect();
    for (key, view) in (0..).zip(&mut views) {
        view.shows(&[seen(key, "here", 1)]).await?;
    }
    drop(members);
    for view in &mut views {
        view.shows(&[]).await?;
    }
    drop(views);
    when(
        "topics are kept",
        || here.topics() + there.topics(),
        |topics| *topics == 0,
    )
    .await
}

async fn b8_any_name_is_a_topic_of_its_own<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let names = [
        "",
        ".",
        "*",
        ">",
        "a b",
        "é\u{0}",
        "lives",
        "room/lives",
        ":",
        "{x}",
    ];
    let names: Vec<_> = names
        .iter()
        .map(|name| format!("{}{name}", stage.topic))
        .collect();
    let _members: Vec<_> = (0..)
        .zip(&names)
        .map(|(key, topic)| enter(&there, topic, key, "here"))
        .collect();
    for (key, topic) in (0..).zip(&names) {
        View::new(&here, topic)
            .shows(&[seen(key, "here", 1)])
            .await?;
    }
    Ok(())
}

async fn b8_a_node_that_is_dropped_is_gone_at_once<S: PresenceSpace>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let mut view = View::new(&here, &stage.topic);
    let ada = enter(&there, &stage.topic, 1, "Ada");
    view.shows(&[seen(1, "Ada", 1)]).await?;
    drop(there);
    drop(ada);
    view.shows(&[]).await
}

async fn b8_a_topic_is_watched_again<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    for round in 0..5 {
        let ada = enter(&there, &stage.topic, 1, &round.to_string());
        let mut view = View::new(&here, &stage.topic);
        view.shows(&[seen(1, &round.to_string(), 1)]).await?;
        drop(view);
        // What happens now is not followed.
        drop(ada);
        let mut view = View::new(&here, &stage.topic);
        view.shows(&[]).await?;
    }
    Ok(())
}

async fn b8_a_node_is_ready<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let node = stage.space.node().await;
    ensure!(
        node.health().is_connected,
        "not connected: {:?}",
        node.health()
    );
    let other = stage.space.node().await;
    let _ada = enter(&other, &stage.topic, 1, "Ada");
    when_ready(&other).await?;
    let mut view = View::new(&node, &stage.topic);
    view.shows(&[seen(1, "Ada", 1)]).await?;
    when_ready(&node).await?;
    drop(view);
    when_ready(&node).await
}

async fn b8_a_restart_of_the_broker_moves_nobody<S: PresenceSpace>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let mut view = View::new(&here, &stage.topic);
    let _ada = enter(&there, &stage.topic, 1, "Ada");
    let _bob = enter(&here, &stage.topic, 2, "Bob");
    let both = [seen(1, "Ada", 1), seen(2, "Bob", 1)];
    view.shows(&both).await?;
    if !stage.space.restart().await {
        return Err(Failure::LeftOut);
    }
    let told = view.told_in(Duration::from_secs(12)).await?;
    ensure!(told.is_empty(), "{told:?}");
    // Everything is there again for who comes now.
    let late = stage.space.node().await;
    View::new(&late, &stage.topic).shows(&both).await?;
    when_ready(&here).await
}

async fn b8_what_changes_while_the_broker_is_restarted_is_seen<S: PresenceSpace>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = (stage.space.node().await, stage.space.node().await);
    let mut view = View::new(&here, &stage.topic);
    let ada = enter(&there, &stage.topic, 1, "Ada");
    let bob = enter(&there, &stage.topic, 2, "Bob");
    view.shows(&[seen(1, "Ada", 1), seen(2, "Bob", 1)]).await?;
    let restarting = stage.space.restart();
    let changing = async {
        for round in 0..20 {
            bob.update(round.to_string());
            time::sleep(Duration::from_millis(10)).await;
        }
        drop(ada);
    };
    let (is_restarted, ()) = tokio::join!(restarting, changing);
    if !is_restarted {
        return Err(Failure::LeftOut);
    }
    let _cy = enter(&there, &stage.topic, 3, "Cy");
    let limit = Duration::from_secs(20);
    view.shows_within(&[seen(2, "19", 1), seen(3, "Cy", 1)], limit)
        .await
}

async fn b8_a_node_that_was_cut_off_shortly_sees_what_has_changed<S: PresenceSpace>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let Some((here, cable)) = stage.space.node_with_cable().await else {
        return Err(Failure::LeftOut);
    };
    let there = stage.space.node().await;
    let (mut mine, mut theirs) = (
        View::new(&here, &stage.topic),
        View::new(&there, &stage.topic),
    );
    let ada = enter(&there, &stage.topic, 1, "Ada");
    let bob = enter(&here, &stage.topic, 2, "Bob");
    let both = [seen(1, "Ada", 1), seen(2, "Bob", 1)];
    mine.shows(&both).await?;
    theirs.shows(&both).await?;
    cable.cut();
    time::sleep(Duration::from_millis(200)).await;
    drop(ada);
    let _cy = enter(&there, &stage.topic, 3, "Cy");
    bob.update("Bob, alone".to_owned());
    // Nothing that happens here waits.
    let mut alone = [seen(1, "Ada", 1), seen(2, "Bob, alone", 1)];
    alone.sort();
    equal("the view", people(&here, &stage.topic), alone.to_vec())?;
    cable.mend();
    let expected = [seen(2, "Bob, alone", 1), seen(3, "Cy", 1)];
    let limit = Duration::from_secs(20);
    mine.shows_within(&expected, limit).await?;
    theirs.shows_within(&expected, limit).await
}

async fn b8_a_node_that_was_cut_off_is_gone_and_comes_back<S: PresenceSpace>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let Some((here, cable)) = stage.space.node_with_cable().await else {
        return Err(Failure::LeftOut);
    };
    let there = stage.space.node().await;
    let mut view = View::new(&there, &stage.topic);
    let _ada = enter(&there, &stage.topic, 1, "Ada");
    let _bob = enter(&here, &stage.topic, 2, "Bob");
    view.shows(&[seen(1, "Ada", 1), seen(2, "Bob", 1)]).await?;
    cable.cut();
    let limit = Duration::from_secs(20);
    view.shows_within(&[seen(1, "Ada", 1)], limit).await?;
    let _cy = enter(&here, &stage.topic, 3, "Cy");
    cable.mend();
    let everybody = [seen(1, "Ada", 1), seen(2, "Bob", 1), seen(3, "Cy", 1)];
    view.shows_within(&everybody, limit).await
}

async fn b8_who_is_cut_off_keeps_its_view<S: PresenceSpace>(stage: &Stage<'_, S>) -> Outcome {
    let Some((here, cable)) = stage.space.node_with_cable().await else {
        return Err(Failure::LeftOut);
    };
    let there = stage.space.node().await;
    let mut view = View::new(&here, &stage.topic);
    let _ada = enter(&there, &stage.topic, 1, "Ada");
    let both = [seen(1, "Ada", 1), seen(2, "Bob", 1)];
    let _bob = enter(&here, &stage.topic, 2, "Bob");
    view.shows(&both).await?;
    cable.cut();
    let told = view.told_in(Duration::from_secs(7)).await?;
    ensure!(told.is_empty(), "while it was cut off: {told:?}");
    ensure!(
        !here.health().is_ready(),
        "it is ready: {:?}",
        here.health()
    );
    cable.mend();
    let told = view.told_in(Duration::from_secs(8)).await?;
    ensure!(told.is_empty(), "when it was back: {told:?}");
    when_ready(&here).await?;
    view.shows(&both).await
}
