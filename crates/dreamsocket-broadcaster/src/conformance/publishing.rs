//! B1: what publishing promises to the publisher.

use crate::conformance::support::{
    Stage, broken, cases, ensure, equal, expect, note, publish, reach,
};
use crate::conformance::{Outcome, Space};
use crate::options::ChannelOptions;

cases![
    b1_nobody_is_subscribed,
    b1_the_subscribers_of_this_node_are_counted,
    b1_those_of_other_nodes_are_not,
    b1_an_excepted_one_is_not_counted,
    b1_a_stalled_subscriber_holds_nobody_up,
    b1_a_confirmation_comes_without_subscribers,
    b1_what_is_confirmed_is_received,
    b1_confirmed_and_plain_messages_keep_their_order,
    b1_many_confirmations_at_once,
    b1_who_subscribes_and_publishes_gets_its_own_message,
    b1_what_was_published_is_counted,
];

async fn b1_nobody_is_subscribed<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("empty").await;
    for number in 0..10 {
        equal("local", publish(&topic, number)?, 0)?;
    }
    equal("subscribers", topic.subscribers(), 0)
}

async fn b1_the_subscribers_of_this_node_are_counted<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let first = topic.subscribe();
    let second = topic.subscribe();
    equal("local", publish(&topic, 0)?, 2)?;
    drop(first);
    equal("local", publish(&topic, 1)?, 1)?;
    drop(second);
    equal("local", publish(&topic, 2)?, 0)
}

async fn b1_those_of_other_nodes_are_not<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mine = here.subscribe();
    let mut theirs = there.subscribe();
    reach(&here, &mut theirs).await?;
    // With one node for all, they are the same.
    let here_now = here.subscribers();
    ensure!((1..=2).contains(&here_now), "{here_now} subscribers of 2");
    equal("local", publish(&here, 1)?, here_now)?;
    drop(mine);
    equal("local", publish(&here, 2)?, here_now - 1)
}

async fn b1_an_excepted_one_is_not_counted<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let (mine, other) = (topic.subscribe(), topic.subscribe());
    let published = topic.publish_except(mine.id(), note(1));
    let published = published.map_err(|error| broken("publish_except", error))?;
    equal("local", published.local, 1)?;
    drop(other);
    let published = topic.publish_except(mine.id(), note(2));
    let published = published.map_err(|error| broken("publish_except", error))?;
    equal("local", published.local, 0)
}

async fn b1_a_stalled_subscriber_holds_nobody_up<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut stalled = there.subscribe_with(ChannelOptions::new().capacity(1));
    let mut reader = there.subscribe_with(ChannelOptions::new().capacity(1_000));
    reach(&here, &mut reader).await?;
    while stalled.try_recv().is_ok() {}
    for number in 0..500 {
        publish(&here, number)?;
    }
    expect(&mut reader, (0..500).map(Ok)).await?;
    expect(&mut stalled, [Err(Some(499)), Ok(499)]).await
}

async fn b1_a_confirmation_comes_without_subscribers<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("empty").await;
    let confirmed = topic.publish_confirmed(note(1)).await;
    let confirmed = confirmed.map_err(|error| broken("publish_confirmed", error))?;
    equal("local", confirmed.local, 0)
}

async fn b1_what_is_confirmed_is_received<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut channel = there.subscribe();
    reach(&here, &mut channel).await?;
    for number in 0..20 {
        let confirmed = here.publish_confirmed(note(number)).await;
        confirmed.map_err(|error| broken("publish_confirmed", error))?;
    }
    expect(&mut channel, (0..20).map(Ok)).await
}

async fn b1_confirmed_and_plain_messages_keep_their_order<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut channel = there.subscribe();
    reach(&here, &mut channel).await?;
    for number in (0..20).step_by(2) {
        publish(&here, number)?;
        let confirmed = here.publish_confirmed(note(number + 1)).await;
        confirmed.map_err(|error| broken("publish_confirmed", error))?;
    }
    expect(&mut channel, (0..20).map(Ok)).await
}

async fn b1_many_confirmations_at_once<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let topic = topic.clone();
            tokio::spawn(async move { topic.publish_confirmed(note(number)).await })
        })
        .collect();
    for task in tasks {
        let confirmed = task.await.map_err(|error| broken("a task", error))?;
        confirmed.map_err(|error| broken("publish_confirmed", error))?;
    }
    Ok(())
}

async fn b1_who_subscribes_and_publishes_gets_its_own_message<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let node = stage.node().await;
    for round in 0..20 {
        let topic = node.topic(stage.name(&format!("lobby {round}")));
        let mut channel = topic.subscribe();
        publish(&topic, round)?;
        expect(&mut channel, [Ok(round)]).await?;
    }
    Ok(())
}

async fn b1_what_was_published_is_counted<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let node = stage.node().await;
    let topic = node.topic(stage.name("lobby"));
    let before = node.counts();
    let mut channel = topic.subscribe();
    for number in 0..5 {
        publish(&topic, number)?;
    }
    expect(&mut channel, (0..5).map(Ok)).await?;
    let after = node.counts();
    equal("published", after.published - before.published, 5)?;
    equal("delivered", after.delivered - before.delivered, 5)?;
    equal("the topic's published", topic.counts().published, 5)
}
