//! B5: what is kept is replayed, and what follows it goes on from there, on every node. Left out where nothing is kept.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time;

use crate::broadcaster::Broadcaster;
use crate::channel::Channel;
use crate::conformance::support::{
    Item, Stage, broken, cases, ensure, equal, expect, expect_no_more, item, next, note, publish,
    reach, when_ready,
};
use crate::conformance::{Failure, KEPT, Note, Outcome, Space};
use crate::delivery::Delivery;
use crate::options::ChannelOptions;
use crate::position::Position;
use crate::topic::Topic;

cases![
    b5_everything_since_a_position_and_then_what_is_published,
    b5_the_last_ones_and_then_what_is_published,
    b5_a_topic_that_said_nothing_begins_without_a_gap,
    b5_a_position_that_is_not_there_is_a_gap_and_then_everything_that_is_kept,
    b5_what_is_too_much_is_gone,
    b5_a_position_of_one_node_holds_on_another,
    b5_a_position_is_the_same_as_text,
    b5_a_position_of_another_topic_is_not_there,
    b5_a_replay_does_not_count_against_the_capacity,
    b5_who_was_left_out_gets_it_by_replay,
    b5_many_who_come_back_at_once_get_all_of_it,
    b5_nothing_is_lost_doubled_or_out_of_order_while_publishers_go_on,
    b5_what_is_kept_outlives_the_subscribers,
    b5_a_confirmed_message_is_kept,
    b5_an_interruption_is_bridged_or_told,
    b5_a_position_holds_over_an_interruption_or_is_told,
    b5_a_history_that_was_lost_is_a_gap,
];

async fn node<S: Space>(stage: &Stage<'_, S>) -> Result<Broadcaster<Note>, Failure> {
    stage.history_node().await.ok_or(Failure::LeftOut)
}

async fn topic<S: Space>(stage: &Stage<'_, S>, name: &str) -> Result<Topic<Note>, Failure> {
    Ok(node(stage).await?.topic(stage.name(name)))
}

/// Publishes, and gives the positions under which one who is subscribed receives.
async fn say(
    topic: &Topic<Note>,
    numbers: impl IntoIterator<Item = u32>,
) -> Result<Vec<Position>, Failure> {
    let mut channel = topic.subscribe();
    let mut positions = Vec::new();
    for number in numbers {
        publish(topic, number)?;
        expect(&mut channel, [Ok(number)]).await?;
        positions.push(position(&channel)?);
    }
    Ok(positions)
}

fn position(channel: &Channel<Note>) -> Result<Position, Failure> {
    let position = channel.position();
    position.ok_or_else(|| Failure::Broken("a message that is kept has no position".to_owned()))
}

fn numbers(numbers: impl IntoIterator<Item = u32>) -> impl Iterator<Item = Item> {
    numbers.into_iter().map(Ok)
}

fn kept() -> u32 {
    u32::try_from(KEPT).unwrap_or(u32::MAX)
}

async fn b5_everything_since_a_position_and_then_what_is_published<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let topic = topic(stage, "lobby").await?;
    let positions = say(&topic, 0..5).await?;
    let mut channel = topic.subscribe_from(&positions[1]);
    expect(&mut channel, numbers(2..5)).await?;
    publish(&topic, 5)?;
    expect(&mut channel, numbers(5..6)).await?;
    let mut again = topic.subscribe_from(&position(&channel)?);
    expect_no_more(&mut again, &topic).await
}

async fn b5_the_last_ones_and_then_what_is_published<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = topic(stage, "lobby").await?;
    say(&topic, 0..5).await?;
    let mut channel = topic.subscribe_last(2);
    expect(&mut channel, numbers(3..5)).await?;
    publish(&topic, 5)?;
    expect(&mut channel, numbers(5..6)).await?;
    let mut all = topic.subscribe_last(usize::MAX);
    expect(&mut all, numbers(0..6)).await?;
    expect_no_more(&mut topic.subscribe_last(0), &topic).await
}

async fn b5_a_topic_that_said_nothing_begins_without_a_gap<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let topic = topic(stage, "silent").await?;
    let mut channel = topic.subscribe_last(10);
    reach_exactly(&topic, &mut channel).await
}

/// A message that is published now is what comes next.
async fn reach_exactly(topic: &Topic<Note>, channel: &mut Channel<Note>) -> Outcome {
    expect_no_more(channel, topic).await
}

async fn b5_a_position_that_is_not_there_is_a_gap_and_then_everything_that_is_kept<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let topic = topic(stage, "lobby").await?;
    say(&topic, 0..3).await?;
    let mut channel = topic.subscribe_from(&Position::new(7, 1_000));
    expect(&mut channel, [Err(None), Ok(0), Ok(1), Ok(2)]).await?;
    expect_no_more(&mut channel, &topic).await
}

async fn b5_what_is_too_much_is_gone<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = topic(stage, "lobby").await?;
    let positions = say(&topic, 0..kept() + 2).await?;
    // The one before the first that is kept is still known.
    let mut channel = topic.subscribe_from(&positions[1]);
    expect(&mut channel, numbers(2..kept() + 2)).await?;
    let mut channel = topic.subscribe_from(&positions[0]);
    expect(&mut channel, [Err(None)]).await?;
    expect(&mut channel, numbers(2..kept() + 2)).await?;
    // So it is with a node that has to ask for it.
    let there = node(stage).await?.topic(stage.name("lobby"));
    let mut channel = there.subscribe_from(&positions[1]);
    expect(&mut channel, numbers(2..kept() + 2)).await?;
    let mut channel = there.subscribe_from(&positions[0]);
    expect(&mut channel, [Err(None)]).await?;
    expect(&mut channel, numbers(2..kept() + 2)).await
}

async fn b5_a_position_of_one_node_holds_on_another<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let here = topic(stage, "lobby").await?;
    let positions = say(&here, 0..5).await?;
    drop(here);
    let there = topic(stage, "lobby").await?;
    let mut channel = there.subscribe_from(&positions[2]);
    expect(&mut channel, numbers(3..5)).await?;
    // Who is there already does not hinder it.
    let mut channel = there.subscribe_from(&positions[0]);
    expect(&mut channel, numbers(1..5)).await?;
    equal("the position", position(&channel)?, positions[4])
}

async fn b5_a_position_is_the_same_as_text<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = topic(stage, "lobby").await?;
    for position in say(&topic, 0..3).await? {
        let text = position.to_string();
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        ensure!(
            text.len() <= 35 && text.bytes().all(is_fit),
            "it prints as {text}"
        );
        let parsed: Position = text
            .parse()
            .map_err(|error| broken("it does not parse", error))?;
        equal("the position", parsed, position)?;
    }
    Ok(())
}

async fn b5_a_position_of_another_topic_is_not_there<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let lobby = topic(stage, "lobby").await?;
    let hall = topic(stage, "hall").await?;
    let positions = say(&lobby, 0..3).await?;
    let later = say(&hall, 5..8).await?;
    let mut channel = hall.subscribe_from(&positions[1]);
    expect(&mut channel, [Err(None), Ok(5), Ok(6), Ok(7)]).await?;
    // Also one that is behind everything here.
    let mut channel = lobby.subscribe_from(&later[2]);
    expect(&mut channel, [Err(None), Ok(0), Ok(1), Ok(2)]).await
}

async fn b5_a_replay_does_not_count_against_the_capacity<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let topic = topic(stage, "lobby").await?;
    say(&topic, 0..kept()).await?;
    let options = || ChannelOptions::new().capacity(2).last(KEPT);
    let mut channel = topic.subscribe_with(options());
    expect(&mut channel, numbers(0..kept())).await?;
    let there = node(stage).await?.topic(stage.name("lobby"));
    let mut channel = there.subscribe_with(options());
    expect(&mut channel, numbers(0..kept())).await?;
    expect_no_more(&mut channel, &there).await
}

async fn b5_who_was_left_out_gets_it_by_replay<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = topic(stage, "lobby").await?;
    let mut channel = topic.subscribe();
    publish(&topic, 0)?;
    let published = topic.publish_except(channel.id(), note(1));
    published.map_err(|error| broken("publish failed", error))?;
    publish(&topic, 2)?;
    expect(&mut channel, [Ok(0), Ok(2)]).await?;
    expect(&mut topic.subscribe_last(9), numbers(0..3)).await
}

async fn b5_many_who_come_back_at_once_get_all_of_it<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let here = topic(stage, "lobby").await?;
    let positions = say(&here, 0..10).await?;
    let there = topic(stage, "lobby").await?;
    let mut channels: Vec<_> = (0..100)
        .map(|_| there.subscribe_from(&positions[4]))
        .collect();
    for channel in &mut channels {
        expect(channel, numbers(5..10)).await?;
    }
    expect_no_more(&mut channels[99], &there).await
}

/// Two nodes publish all the while; on one a subscriber goes away and comes back where it was, again and again.
async fn b5_nothing_is_lost_doubled_or_out_of_order_while_publishers_go_on<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    const EACH: u32 = 300;
    let topics = [topic(stage, "lobby").await?, topic(stage, "lobby").await?];
    let watching = topic(stage, "lobby").await?;
    let options = || ChannelOptions::new().capacity(100_000);
    let mut channel = watching.subscribe_with(options());
    let mut all = watching.subscribe_with(options());
    reach(&watching, &mut all).await?;
    expect_mark(&mut channel).await?;
    let mut publishing = Vec::new();
    for (key, topic) in (1..).zip(topics) {
        publishing.push(tokio::spawn(async move {
            for number in 0..EACH {
                let said = Note {
                    key,
                    ..note(number)
                };
                if topic.publish(said).is_err() {
                    return false;
                }
                if number % 8 == 0 {
                    time::sleep(Duration::from_millis(1)).await;
                }
            }
            true
        }));
    }
    let mut seen = VecDeque::new();
    while seen.len() < 2 * EACH as usize {
        for _ in 0..20 {
            if seen.len() == 2 * EACH as usize {
                break;
            }
            match next(&mut channel).await? {
                Delivery::Message(note) if note.key > 0 => seen.push_back((note.key, note.number)),
                Delivery::Message(_) => {}
                Delivery::Missed(missed) => return Err(broken("a gap", missed)),
            }
        }
        let reached = position(&channel)?;
        channel = watching.subscribe_with(options().since(reached));
    }
    for publishing in publishing {
        let is_published = publishing.await.unwrap_or(false);
        ensure!(is_published, "publish failed");
    }
    let mut expected = VecDeque::new();
    while expected.len() < seen.len() {
        match next(&mut all).await? {
            Delivery::Message(note) if note.key > 0 => expected.push_back((note.key, note.number)),
            Delivery::Message(_) => {}
            Delivery::Missed(missed) => return Err(broken("a gap", missed)),
        }
    }
    ensure!(
        seen == expected,
        "they came otherwise: {seen:?} instead of {expected:?}"
    );
    Ok(())
}

async fn expect_mark(channel: &mut Channel<Note>) -> Outcome {
    let delivery = next(channel).await?;
    ensure!(item(&delivery).is_ok(), "a gap: {delivery:?}");
    Ok(())
}

async fn b5_what_is_kept_outlives_the_subscribers<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = topic(stage, "lobby").await?;
    say(&topic, 0..3).await?;
    equal("the subscribers' number", topic.subscribers(), 0)?;
    expect(&mut topic.subscribe_last(9), numbers(0..3)).await
}

async fn b5_a_confirmed_message_is_kept<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let here = topic(stage, "orders").await?;
    for number in 0..3 {
        let published = here.publish_confirmed(note(number)).await;
        published.map_err(|error| broken("it is not confirmed", error))?;
    }
    drop(here);
    let there = topic(stage, "orders").await?;
    expect(&mut there.subscribe_last(9), numbers(0..3)).await
}

/// What comes until that message: in order, and either all of it or a gap.
async fn expect_all_or_gap(channel: &mut Channel<Note>, from: u32, to: u32) -> Outcome {
    let mut expected = from;
    let mut is_told = false;
    while expected < to {
        match next(channel).await? {
            Delivery::Missed(_) => is_told = true,
            Delivery::Message(note) if note.number == expected => expected += 1,
            Delivery::Message(note) => {
                let is_behind = note.number > expected && note.number < to;
                ensure!(
                    is_told && is_behind,
                    "{} came instead of {expected}",
                    note.number
                );
                expected = note.number + 1;
            }
        }
    }
    Ok(())
}

async fn b5_an_interruption_is_bridged_or_told<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let here = node(stage).await?;
    let topic = here.topic(stage.name("lobby"));
    let mut channel = topic.subscribe();
    publish(&topic, 0)?;
    expect(&mut channel, [Ok(0)]).await?;
    stage.interrupt().await?;
    // Whoever can publish again may be heard by who is not back yet.
    let late = node(stage).await?;
    when_ready(&late).await?;
    let late = late.topic(stage.name("lobby"));
    let published = late.publish_confirmed(note(1)).await;
    published.map_err(|error| broken("it is not confirmed", error))?;
    let published = late.publish_confirmed(note(2)).await;
    published.map_err(|error| broken("it is not confirmed", error))?;
    expect_all_or_gap(&mut channel, 1, 3).await
}

async fn b5_a_position_holds_over_an_interruption_or_is_told<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let here = node(stage).await?;
    let topic = here.topic(stage.name("lobby"));
    let positions = say(&topic, 0..3).await?;
    stage.interrupt().await?;
    let late = node(stage).await?.topic(stage.name("lobby"));
    let mut channel = late.subscribe_from(&positions[0]);
    let published = late.publish_confirmed(note(3)).await;
    published.map_err(|error| broken("it is not confirmed", error))?;
    expect_all_or_gap(&mut channel, 1, 4).await
}

async fn b5_a_history_that_was_lost_is_a_gap<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let here = topic(stage, "lobby").await?;
    let positions = say(&here, 0..3).await?;
    drop(here);
    if !stage.lose_history().await {
        return Err(Failure::LeftOut);
    }
    let there = topic(stage, "lobby").await?;
    let mut channel = there.subscribe_from(&positions[1]);
    expect(&mut channel, [Err(None)]).await?;
    let published = there.publish_confirmed(note(3)).await;
    published.map_err(|error| broken("it is not confirmed", error))?;
    expect(&mut channel, [Ok(3)]).await
}
