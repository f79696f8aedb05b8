//! Many topics, subscribers and nodes; coming and going; what a node tells of itself.

use crate::conformance::support::{
    Stage, broken, cases, ensure, equal, expect, expect_no_more, next, note, publish, reach,
    when_ready,
};
use crate::conformance::{Outcome, Space};
use crate::delivery::Delivery;

cases![
    a_topic_is_its_name,
    b6_topics_are_let_go_with_their_last_subscriber,
    b7_a_node_is_ready_when_it_is_made,
    nothing_from_before_is_received,
    a_thousand_topics_work,
    a_node_that_comes_later_hears_from_then_on,
    a_node_that_goes_leaves_the_others_as_they_are,
    three_nodes_hear_each_other,
    publishers_on_many_threads_lose_nothing,
    a_quiet_topic_stays_without_gaps,
];

async fn a_topic_is_its_name<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let node = stage.node().await;
    let mut channel = node.topic(stage.name("lobby")).subscribe();
    publish(&node.topic(stage.name("lobby")), 1)?;
    let kept = node.topic(stage.name("lobby"));
    publish(&kept.clone(), 2)?;
    expect(&mut channel, [Ok(1), Ok(2)]).await
}

async fn b6_topics_are_let_go_with_their_last_subscriber<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let node = stage.node().await;
    let before = node.topics();
    let channels: Vec<_> = (0..100)
        .map(|topic| {
            let topic = node.topic(stage.name(&topic.to_string()));
            [topic.subscribe(), topic.subscribe()]
        })
        .collect();
    equal("topics", node.topics() - before, 100)?;
    drop(channels);
    equal("topics", node.topics(), before)
}

async fn b7_a_node_is_ready_when_it_is_made<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let node = stage.node().await;
    ensure!(
        node.health().is_connected,
        "not connected: {:?}",
        node.health()
    );
    let channel = node.topic(stage.name("lobby")).subscribe();
    when_ready(&node).await?;
    drop(channel);
    when_ready(&node).await
}

async fn nothing_from_before_is_received<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    for number in 0..10 {
        publish(&topic, number)?;
    }
    let mut channel = topic.subscribe();
    expect_no_more(&mut channel, &topic).await
}

async fn a_thousand_topics_work<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    const TOPICS: u32 = 1_000;
    let (here, there) = (stage.node().await, stage.node().await);
    let name = |topic: u32| stage.name(&topic.to_string());
    let mut channels: Vec<_> = (0..TOPICS)
        .map(|topic| there.topic(name(topic)).subscribe())
        .collect();
    when_ready(&there).await?;
    // The last one was subscribed last.
    if let Some(last) = channels.last_mut() {
        reach(&here.topic(name(TOPICS - 1)), last).await?;
    }
    for topic in 0..TOPICS {
        publish(&here.topic(name(topic)), topic)?;
    }
    for (topic, channel) in (0..TOPICS).zip(&mut channels) {
        expect(channel, [Ok(topic)]).await?;
    }
    Ok(())
}

async fn a_node_that_comes_later_hears_from_then_on<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let here = stage.topic("lobby").await;
    for number in 0..10 {
        publish(&here, number)?;
    }
    let there = stage.topic("lobby").await;
    let mut channel = there.subscribe();
    reach(&here, &mut channel).await?;
    publish(&here, 10)?;
    expect(&mut channel, [Ok(10)]).await
}

async fn a_node_that_goes_leaves_the_others_as_they_are<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let goes = stage.topic("lobby").await;
    let mut stays = there.subscribe();
    let mut leaves = goes.subscribe();
    reach(&here, &mut stays).await?;
    reach(&here, &mut leaves).await?;
    drop((goes, leaves));
    let Delivery::Message(first) = next(&mut stays).await? else {
        return Err(broken("a gap", "for who stays"));
    };
    // What the other one was reached with, up to the last of it.
    let mut last = first.number;
    publish(&here, 7)?;
    while last != 7 {
        let Delivery::Message(note) = next(&mut stays).await? else {
            return Err(broken("a gap", "for who stays"));
        };
        last = note.number;
    }
    expect_no_more(&mut stays, &here).await
}

async fn three_nodes_hear_each_other<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topics = [
        stage.topic("lobby").await,
        stage.topic("lobby").await,
        stage.topic("lobby").await,
    ];
    let mut channels: Vec<_> = topics.iter().map(|topic| topic.subscribe()).collect();
    for topic in &topics {
        for channel in &mut channels {
            reach(topic, channel).await?;
        }
    }
    for (number, topic) in (0..).zip(&topics) {
        publish(topic, number)?;
    }
    for channel in &mut channels {
        let mut seen = Vec::new();
        while seen.len() < topics.len() {
            match next(channel).await? {
                Delivery::Message(note) if note.number < 3 => seen.push(note.number),
                // A mark of another's.
                Delivery::Message(_) => {}
                Delivery::Missed(missed) => return Err(broken("a gap", missed)),
            }
        }
        seen.sort_unstable();
        equal("seen", seen, vec![0, 1, 2])?;
    }
    Ok(())
}

async fn publishers_on_many_threads_lose_nothing<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    const PUBLISHERS: u32 = 4;
    const EACH: u32 = 250;
    let (here, there) = stage.two_topics("lobby").await;
    let options = crate::options::ChannelOptions::new().capacity(10_000);
    let mut channel = there.subscribe_with(options);
    reach(&here, &mut channel).await?;
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let topic = here.clone();
            tokio::task::spawn_blocking(move || {
                let numbers = publisher * EACH..(publisher + 1) * EACH;
                numbers
                    .into_iter()
                    .all(|number| topic.publish(note(number)).is_ok())
            })
        })
        .collect();
    for publishing in publishing {
        let published = publishing
            .await
            .map_err(|error| broken("a thread", error))?;
        ensure!(published, "publish failed");
    }
    let mut seen = Vec::new();
    for _ in 0..PUBLISHERS * EACH {
        match next(&mut channel).await? {
            Delivery::Message(note) => seen.push(note.number),
            Delivery::Missed(missed) => return Err(broken("a gap", missed)),
        }
    }
    seen.sort_unstable();
    equal("seen", seen, (0..PUBLISHERS * EACH).collect())
}

/// Long enough for announcements, of which nothing is to be seen.
async fn a_quiet_topic_stays_without_gaps<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut channel = there.subscribe();
    reach(&here, &mut channel).await?;
    publish(&here, 1)?;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let mut late = there.subscribe();
    publish(&here, 2)?;
    expect(&mut channel, [Ok(1), Ok(2)]).await?;
    expect(&mut late, [Ok(2)]).await
}
