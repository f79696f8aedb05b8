//! B2: order, once, and gaps in their place.

use crate::conformance::support::{
    Stage, broken, cases, ensure, equal, expect, expect_no_more, next, note, publish, publish_note,
    reach,
};
use crate::conformance::{Note, Outcome, Space};
use crate::delivery::Delivery;
use crate::options::ChannelOptions;

cases![
    b2_messages_come_in_order_and_once,
    b2_messages_of_another_node_come_in_order_and_once,
    b2_each_of_many_publishers_is_in_order,
    b2_publishers_on_both_nodes_are_in_order_on_both,
    b2_every_subscriber_gets_every_message,
    b2_two_nodes_see_one_publisher_alike,
    b2_topics_are_apart,
    b2_an_excepted_one_misses_nothing,
    b2_one_is_excepted_from_another_node,
    b2_an_exception_on_another_topic_leaves_out_nobody,
    b2_a_gap_names_its_topic,
    b2_who_joins_in_the_middle_sees_a_run_without_gaps,
    b2_comings_and_goings_of_others_cost_nothing,
    b2_a_publisher_that_goes_takes_nothing_with_it,
];

fn large<M>() -> ChannelOptions<M> {
    ChannelOptions::new().capacity(100_000)
}

async fn b2_messages_come_in_order_and_once<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let mut channel = topic.subscribe_with(large());
    for number in 0..1_000 {
        publish(&topic, number)?;
    }
    expect(&mut channel, (0..1_000).map(Ok)).await?;
    expect_no_more(&mut channel, &topic).await
}

async fn b2_messages_of_another_node_come_in_order_and_once<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut channel = there.subscribe_with(large());
    reach(&here, &mut channel).await?;
    for number in 0..1_000 {
        publish(&here, number)?;
    }
    expect(&mut channel, (0..1_000).map(Ok)).await?;
    expect_no_more(&mut channel, &here).await
}

async fn b2_each_of_many_publishers_is_in_order<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    const PUBLISHERS: u32 = 8;
    const EACH: u32 = 200;
    let (here, there) = stage.two_topics("lobby").await;
    let mut channel = there.subscribe_with(large());
    reach(&here, &mut channel).await?;
    for key in 0..PUBLISHERS {
        let topic = here.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                let note = Note {
                    key,
                    number,
                    ..Note::default()
                };
                if topic.publish(note).is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let mut expected = [0; PUBLISHERS as usize];
    for _ in 0..PUBLISHERS * EACH {
        let Delivery::Message(note) = next(&mut channel).await? else {
            return Err(broken("a gap", "among messages that all had room"));
        };
        let Some(expected) = expected.get_mut(note.key as usize) else {
            return Err(broken("an unknown publisher", note.key));
        };
        equal("the number", note.number, *expected)?;
        *expected += 1;
    }
    Ok(())
}

async fn b2_publishers_on_both_nodes_are_in_order_on_both<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    const EACH: u32 = 300;
    let (here, there) = stage.two_topics("lobby").await;
    let mut channels = [here.subscribe_with(large()), there.subscribe_with(large())];
    for channel in &mut channels {
        reach(&here, channel).await?;
        reach(&there, channel).await?;
    }
    for number in 0..EACH {
        for (key, topic) in (0..).zip([&here, &there]) {
            let note = Note {
                key,
                number,
                text: "counted".to_owned(),
                ..Note::default()
            };
            publish_note(topic, note)?;
        }
    }
    for channel in &mut channels {
        let mut expected = [0; 2];
        while expected != [EACH; 2] {
            let note = match next(channel).await? {
                Delivery::Message(note) => note,
                Delivery::Missed(missed) => return Err(broken("a gap", missed)),
            };
            // What the other channel was reached with came here, too.
            if note.text.is_empty() {
                continue;
            }
            let Some(expected) = expected.get_mut(note.key as usize) else {
                return Err(broken("an unknown publisher", note.key));
            };
            equal("the number", note.number, *expected)?;
            *expected += 1;
        }
    }
    Ok(())
}

async fn b2_every_subscriber_gets_every_message<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut channels: Vec<_> = (0..100)
        .map(|number| if number % 2 == 0 { &here } else { &there }.subscribe())
        .collect();
    if let Some(last) = channels.last_mut() {
        reach(&here, last).await?;
    }
    for channel in &mut channels {
        while channel.try_recv().is_ok() {}
    }
    // The marks that reached one may be under way to the others.
    publish(&here, 0)?;
    for channel in &mut channels {
        while !matches!(next(channel).await?, Delivery::Message(note) if note.number == 0) {}
    }
    for number in 1..20 {
        publish(&here, number)?;
    }
    for channel in &mut channels {
        expect(channel, (1..20).map(Ok)).await?;
    }
    Ok(())
}

async fn b2_two_nodes_see_one_publisher_alike<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (first, second) = stage.two_topics("lobby").await;
    let publisher = stage.topic("lobby").await;
    let mut channels = [
        first.subscribe_with(large()),
        second.subscribe_with(large()),
    ];
    for channel in &mut channels {
        reach(&publisher, channel).await?;
    }
    for number in 0..200 {
        publish(&publisher, number)?;
    }
    for channel in &mut channels {
        // Marks for the other one come before.
        while !matches!(next(channel).await?, Delivery::Message(note) if note.number == 0) {}
        expect(channel, (1..200).map(Ok)).await?;
    }
    Ok(())
}

async fn b2_topics_are_apart<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = (stage.node().await, stage.node().await);
    let topics = 50;
    let name = |topic: u32| stage.name(&format!("topic {topic}"));
    let mut channels = Vec::new();
    for topic in 0..topics {
        channels.push(there.topic(name(topic)).subscribe());
    }
    for (topic, channel) in (0..topics).zip(&mut channels) {
        reach(&here.topic(name(topic)), channel).await?;
    }
    for topic in 0..topics {
        publish(&here.topic(name(topic)), topic)?;
        publish(&here.topic(name(topic)), topic + 1)?;
    }
    for (topic, channel) in (0..topics).zip(&mut channels) {
        expect(channel, [Ok(topic), Ok(topic + 1)]).await?;
        expect_no_more(channel, &here.topic(name(topic))).await?;
    }
    Ok(())
}

async fn b2_an_excepted_one_misses_nothing<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let (mut mine, mut other) = (topic.subscribe(), topic.subscribe());
    publish(&topic, 1)?;
    let published = topic.publish_except(mine.id(), note(2));
    published.map_err(|error| broken("publish_except", error))?;
    publish(&topic, 3)?;
    expect(&mut mine, [Ok(1), Ok(3)]).await?;
    expect(&mut other, [Ok(1), Ok(2), Ok(3)]).await
}

async fn b2_one_is_excepted_from_another_node<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut theirs = there.subscribe();
    reach(&here, &mut theirs).await?;
    let mut beside = there.subscribe();
    publish(&here, 1)?;
    let published = here.publish_except(theirs.id(), note(2));
    published.map_err(|error| broken("publish_except", error))?;
    publish(&here, 3)?;
    expect(&mut theirs, [Ok(1), Ok(3)]).await?;
    expect(&mut beside, [Ok(1), Ok(2), Ok(3)]).await
}

async fn b2_an_exception_on_another_topic_leaves_out_nobody<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let elsewhere = stage.topic("elsewhere").await.subscribe();
    let mut theirs = there.subscribe();
    reach(&here, &mut theirs).await?;
    let published = here.publish_except(elsewhere.id(), note(1));
    published.map_err(|error| broken("publish_except", error))?;
    expect(&mut theirs, [Ok(1)]).await
}

async fn b2_a_gap_names_its_topic<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let mut channel = topic.subscribe_with(ChannelOptions::new().capacity(1));
    let mut other = topic.subscribe();
    publish(&topic, 0)?;
    publish(&topic, 1)?;
    expect(&mut other, [Ok(0), Ok(1)]).await?;
    match next(&mut channel).await? {
        Delivery::Missed(missed) => {
            equal("the count", missed.count, Some(1))?;
            equal("the source", &*missed.source, topic.name())
        }
        Delivery::Message(note) => Err(broken("no gap but", note.number)),
    }
}

async fn b2_who_joins_in_the_middle_sees_a_run_without_gaps<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut first = there.subscribe_with(large());
    reach(&here, &mut first).await?;
    let publisher = here.clone();
    let publishing = tokio::spawn(async move {
        for number in 0..2_000 {
            if publisher.publish(note(number)).is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut late = Vec::new();
    for _ in 0..20 {
        late.push(there.subscribe_with(large()));
        tokio::task::yield_now().await;
    }
    publishing.await.map_err(|error| broken("a task", error))?;
    expect(&mut first, (0..2_000).map(Ok)).await?;
    publish(&here, 2_000)?;
    for channel in &mut late {
        let Delivery::Message(begin) = next(channel).await? else {
            return Err(broken("a gap", "at the beginning"));
        };
        expect(channel, (begin.number + 1..=2_000).map(Ok)).await?;
    }
    Ok(())
}

async fn b2_comings_and_goings_of_others_cost_nothing<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut steady = there.subscribe_with(large());
    reach(&here, &mut steady).await?;
    for number in 0..500 {
        let others = [here.subscribe(), there.subscribe()];
        publish(&here, number)?;
        drop(others);
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    expect(&mut steady, (0..500).map(Ok)).await?;
    ensure!(there.subscribers() == 1, "{} are left", there.subscribers());
    Ok(())
}

async fn b2_a_publisher_that_goes_takes_nothing_with_it<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let there = stage.topic("lobby").await;
    let mut channel = there.subscribe_with(large());
    for round in 0..3 {
        let here = stage.topic("lobby").await;
        reach(&here, &mut channel).await?;
        for number in 0..50 {
            publish(&here, round * 50 + number)?;
        }
        drop(here);
        expect(&mut channel, (round * 50..round * 50 + 50).map(Ok)).await?;
    }
    Ok(())
}
