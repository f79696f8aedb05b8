//! B3: each channel's bound and policy hold whatever the messages came through; and what a channel's reader can rely on.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use tokio::time;

use crate::channel::End;
use crate::conformance::support::{
    Stage, broken, cases, ensure, equal, expect, expect_no_more, item, next, publish, publish_note,
    reach,
};
use crate::conformance::{Note, Outcome, Space};
use crate::delivery::Delivery;
use crate::error::TryRecvError;
use crate::options::ChannelOptions;

cases![
    b3_the_oldest_is_dropped_and_told,
    b3_the_newest_is_dropped_and_told,
    b3_the_latest_of_each_key_stays,
    b3_a_full_channel_ends,
    b3_a_channel_that_ends_takes_nobody_with_it,
    b3_policies_stand_side_by_side,
    b3_a_capacity_of_nothing_is_one,
    b3_each_message_is_counted_once,
    a_dropped_receive_takes_nothing,
    many_are_taken_at_once,
    messages_are_shared,
    a_waiting_reader_is_woken,
    a_dropped_channel_unsubscribes,
];

fn capacity(messages: usize) -> ChannelOptions<Note> {
    ChannelOptions::new().capacity(messages)
}

/// Publishes the numbers on one node and returns when they have come to another, where the channels are.
async fn overrun<S: Space, const N: usize>(
    stage: &Stage<'_, S>,
    options: [ChannelOptions<Note>; N],
    keys: u32,
    count: u32,
) -> Result<[crate::channel::Channel<Note>; N], crate::conformance::Failure> {
    let (here, there) = stage.two_topics("lobby").await;
    let mut witness = there.subscribe_with(capacity(10_000));
    reach(&here, &mut witness).await?;
    let channels = options.map(|options| there.subscribe_with(options));
    for number in 0..count {
        let note = Note {
            key: number % keys,
            number,
            ..Note::default()
        };
        publish_note(&here, note)?;
    }
    expect(&mut witness, (0..count).map(Ok)).await?;
    Ok(channels)
}

async fn b3_the_oldest_is_dropped_and_told<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let [mut channel] = overrun(stage, [capacity(3)], 1, 10).await?;
    expect(&mut channel, [Err(Some(7)), Ok(7), Ok(8), Ok(9)]).await
}

async fn b3_the_newest_is_dropped_and_told<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let [mut channel] = overrun(stage, [capacity(3).drop_newest()], 1, 10).await?;
    expect(&mut channel, [Ok(0), Ok(1), Ok(2), Err(Some(7))]).await
}

async fn b3_the_latest_of_each_key_stays<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let options = capacity(5).latest_per_key(|note: &Note| note.key);
    let [mut channel] = overrun(stage, [options], 3, 10).await?;
    expect(&mut channel, [Ok(9), Ok(7), Ok(8)]).await?;
    equal("coalesced", channel.counts().coalesced, 7)
}

async fn b3_a_full_channel_ends<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let [mut channel] = overrun(stage, [capacity(3).end_when_full()], 1, 10).await?;
    equal("received", channel.try_recv(), Err(TryRecvError::Ended))?;
    equal("the end", channel.end(), Some(End::Lagged))
}

async fn b3_a_channel_that_ends_takes_nobody_with_it<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut stays = there.subscribe();
    reach(&here, &mut stays).await?;
    let ends = there.subscribe_with(capacity(1).end_when_full());
    for number in 0..3 {
        publish(&here, number)?;
    }
    expect(&mut stays, (0..3).map(Ok)).await?;
    equal("the end", ends.end(), Some(End::Lagged))?;
    drop(ends);
    publish(&here, 3)?;
    expect(&mut stays, [Ok(3)]).await
}

async fn b3_policies_stand_side_by_side<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let options = [
        capacity(2),
        capacity(2).drop_newest(),
        capacity(2).latest_per_key(|note: &Note| note.key),
        capacity(100),
    ];
    let [mut oldest, mut newest, mut latest, mut all] = overrun(stage, options, 1, 5).await?;
    expect(&mut oldest, [Err(Some(3)), Ok(3), Ok(4)]).await?;
    expect(&mut newest, [Ok(0), Ok(1), Err(Some(3))]).await?;
    expect(&mut latest, [Ok(4)]).await?;
    expect(&mut all, (0..5).map(Ok)).await
}

async fn b3_a_capacity_of_nothing_is_one<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let [mut channel] = overrun(stage, [capacity(0)], 1, 3).await?;
    expect(&mut channel, [Err(Some(2)), Ok(2)]).await
}

async fn b3_each_message_is_counted_once<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let [mut channel] = overrun(stage, [capacity(4)], 1, 10).await?;
    expect(&mut channel, [Err(Some(6)), Ok(6)]).await?;
    let counts = channel.counts();
    equal("received", counts.received, 1)?;
    equal("missed", counts.missed, 6)?;
    equal("waiting", counts.waiting, 3)
}

async fn a_dropped_receive_takes_nothing<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let mut channel = topic.subscribe();
    for number in 0..20 {
        let dropped = time::timeout(Duration::from_millis(1), channel.recv()).await;
        ensure!(
            dropped.is_err(),
            "{dropped:?} came, though nothing was published"
        );
        publish(&topic, number)?;
        expect(&mut channel, [Ok(number)]).await?;
    }
    Ok(())
}

async fn many_are_taken_at_once<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let [mut channel] = overrun(stage, [capacity(100)], 1, 10).await?;
    let mut batch = VecDeque::new();
    let taken = poll_fn(|cx| channel.poll_recv_many(cx, &mut batch, 4)).await;
    equal("taken", (taken, batch.len()), (4, 4))?;
    let taken = poll_fn(|cx| channel.poll_recv_many(cx, &mut batch, 100)).await;
    equal("taken", (taken, batch.len()), (6, 10))?;
    let numbers: Vec<_> = batch
        .into_iter()
        .map(|delivery| item(&delivery.map(|note| (*note).clone())))
        .collect();
    equal("the messages", numbers, (0..10).map(Ok).collect())
}

async fn messages_are_shared<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let [mut first, mut second] = overrun(stage, [capacity(9), capacity(9)], 1, 1).await?;
    match (first.try_recv_shared(), second.try_recv_shared()) {
        (Ok(Delivery::Message(first)), Ok(Delivery::Message(second))) => {
            equal("the message", first, second)
        }
        other => Err(broken("not two messages but", other)),
    }
}

async fn a_waiting_reader_is_woken<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut channel = there.subscribe();
    reach(&here, &mut channel).await?;
    let reader = tokio::spawn(async move { next(&mut channel).await.map(|got| item(&got)).ok() });
    time::sleep(Duration::from_millis(20)).await;
    publish(&here, 7)?;
    let read = reader.await.map_err(|error| broken("a task", error))?;
    equal("read", read, Some(Ok(7)))
}

async fn a_dropped_channel_unsubscribes<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let topic = stage.topic("lobby").await;
    let (first, mut second) = (topic.subscribe(), topic.subscribe());
    equal("subscribers", topic.subscribers(), 2)?;
    drop(first);
    equal("subscribers", topic.subscribers(), 1)?;
    expect_no_more(&mut second, &topic).await?;
    drop(second);
    equal("subscribers", topic.subscribers(), 0)?;
    // And in again, as if nothing had been.
    publish(&topic, 1)?;
    let mut third = topic.subscribe();
    publish(&topic, 2)?;
    expect(&mut third, [Ok(2)]).await
}
