//! B7: what a lost connection costs is told, once, and goes on. Left out where nothing can break.

use std::time::Duration;

use tokio::time;

use crate::channel::Channel;
use crate::conformance::support::{
    Stage, broken, cases, ensure, equal, expect, expect_no_more, item, next, note, publish, reach,
    when_ready,
};
use crate::conformance::{Note, Outcome, Space};
use crate::delivery::Delivery;
use crate::options::ChannelOptions;

cases![
    b7_an_interruption_is_told_once_and_messages_go_on,
    b7_an_interruption_is_told_while_a_topic_is_quiet,
    b7_an_interruption_is_told_to_every_topic_and_subscriber,
    b7_every_interruption_is_told,
    b7_who_comes_after_an_interruption_is_told_nothing,
    b7_a_node_is_ready_again,
    b2_nothing_is_lost_untold_over_an_interruption,
    b3_policies_hold_over_an_interruption,
];

/// The next item is a gap that nobody knows the count of; messages that were on the way may come before.
async fn expect_interruption(channel: &mut Channel<Note>) -> Outcome {
    loop {
        match next(channel).await? {
            Delivery::Message(_) => {}
            Delivery::Missed(missed) => return equal("the gap's count", missed.count, None),
        }
    }
}

async fn b7_an_interruption_is_told_once_and_messages_go_on<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let (mut mine, mut theirs) = (here.subscribe(), there.subscribe());
    reach(&here, &mut theirs).await?;
    stage.interrupt().await?;
    expect_interruption(&mut mine).await?;
    expect_interruption(&mut theirs).await?;
    reach(&here, &mut mine).await?;
    reach(&there, &mut theirs).await?;
    for channel in [&mut mine, &mut theirs] {
        while let Ok(delivery) = channel.try_recv() {
            ensure!(item(&delivery).is_ok(), "a second gap: {delivery:?}");
        }
    }
    Ok(())
}

async fn b7_an_interruption_is_told_while_a_topic_is_quiet<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let there = stage.topic("quiet").await;
    let mut channel = there.subscribe();
    reach(&there, &mut channel).await?;
    stage.interrupt().await?;
    expect(&mut channel, [Err(None)]).await
}

async fn b7_an_interruption_is_told_to_every_topic_and_subscriber<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let node = stage.node().await;
    let mut channels: Vec<_> = (0..50)
        .flat_map(|topic| {
            let topic = node.topic(stage.name(&topic.to_string()));
            [topic.subscribe(), topic.subscribe()]
        })
        .collect();
    when_ready(&node).await?;
    stage.interrupt().await?;
    for channel in &mut channels {
        expect(channel, [Err(None)]).await?;
    }
    when_ready(&node).await?;
    for channel in &mut channels {
        ensure!(channel.try_recv().is_err(), "told twice");
    }
    Ok(())
}

async fn b7_every_interruption_is_told<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let mut channel = topic.subscribe();
    reach(&topic, &mut channel).await?;
    for _ in 0..3 {
        stage.interrupt().await?;
        expect_interruption(&mut channel).await?;
        reach(&topic, &mut channel).await?;
    }
    Ok(())
}

async fn b7_who_comes_after_an_interruption_is_told_nothing<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let node = stage.node().await;
    let mut before = node.topic(stage.name("before")).subscribe();
    when_ready(&node).await?;
    stage.interrupt().await?;
    expect_interruption(&mut before).await?;
    when_ready(&node).await?;
    let topic = node.topic(stage.name("after"));
    let mut after = topic.subscribe();
    expect_no_more(&mut after, &topic).await
}

async fn b7_a_node_is_ready_again<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let node = stage.node().await;
    let mut channel = node.topic(stage.name("lobby")).subscribe();
    when_ready(&node).await?;
    let before = node.health();
    stage.interrupt().await?;
    expect_interruption(&mut channel).await?;
    when_ready(&node).await?;
    let after = node.health();
    ensure!(
        after.disconnections > before.disconnections,
        "the interruption is not counted: {after:?}"
    );
    ensure!(
        after.gaps > before.gaps,
        "the gap is not counted: {after:?}"
    );
    Ok(())
}

/// Publishes all the while, and checks that what is missing is missing at a gap.
async fn b2_nothing_is_lost_untold_over_an_interruption<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let options = ChannelOptions::new().capacity(100_000);
    let mut channel = there.subscribe_with(options);
    reach(&here, &mut channel).await?;
    let publisher = here.clone();
    let publishing = tokio::spawn(async move {
        let mut number = 0;
        for _ in 0..1_000 {
            // One that failed has reached nobody: its number is used again.
            if publisher.publish(note(number)).is_ok() {
                number += 1;
            }
            time::sleep(Duration::from_millis(1)).await;
        }
        number
    });
    time::sleep(Duration::from_millis(100)).await;
    stage.interrupt().await?;
    let published = publishing.await.map_err(|error| broken("a task", error))?;
    ensure!(published > 0, "nothing was published");
    // The last one is received, or told as missed.
    let mut next_number = 0;
    let mut is_gap = false;
    while next_number < published {
        match time::timeout(Duration::from_secs(6), next(&mut channel)).await {
            Ok(delivery) => match item(&delivery?) {
                Ok(number) => {
                    ensure!(
                        number == next_number || (is_gap && number > next_number),
                        "message {number} came instead of {next_number}, after a gap: {is_gap}"
                    );
                    next_number = number + 1;
                    is_gap = false;
                }
                Err(_) => is_gap = true,
            },
            Err(_) => {
                ensure!(
                    is_gap,
                    "{next_number} of {published} is missing, and not told"
                );
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn b3_policies_hold_over_an_interruption<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let capacity = |messages| ChannelOptions::new().capacity(messages);
    let mut channels = [
        topic.subscribe_with(capacity(100)),
        topic.subscribe_with(capacity(100).drop_newest()),
        topic.subscribe_with(capacity(100).latest_per_key(|note: &Note| note.key)),
        topic.subscribe_with(capacity(100).end_when_full()),
    ];
    let mut witness = topic.subscribe();
    reach(&topic, &mut witness).await?;
    for channel in &mut channels {
        while channel.try_recv().is_ok() {}
    }
    publish(&topic, 1)?;
    expect(&mut witness, [Ok(1)]).await?;
    stage.interrupt().await?;
    expect_interruption(&mut witness).await?;
    for channel in &mut channels {
        // The gap is the engine's and not the channel's fault: none of them ends by it.
        expect(channel, [Ok(1), Err(None)]).await?;
    }
    Ok(())
}
