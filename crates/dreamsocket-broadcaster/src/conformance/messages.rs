//! B9: whatever a message or a topic's name is, it arrives as it was.

use crate::conformance::support::{
    Stage, broken, cases, ensure, equal, expect, next, note, publish_note, reach,
};
use crate::conformance::{Note, Outcome, Space};
use crate::delivery::Delivery;

cases![
    b9_any_text_arrives_as_it_was,
    b9_any_bytes_arrive_as_they_were,
    b9_a_large_message_arrives_whole,
    b9_many_small_messages_and_a_large_one_keep_their_order,
    b9_any_text_is_the_name_of_a_topic_of_its_own,
    b9_a_long_name_is_a_topic,
];

/// Publishes the notes on one node and compares what comes to another.
async fn round_trip<S: Space>(stage: &Stage<'_, S>, notes: Vec<Note>) -> Outcome {
    let (here, there) = stage.two_topics("lobby").await;
    let mut channel = there.subscribe();
    reach(&here, &mut channel).await?;
    for note in &notes {
        publish_note(&here, note.clone())?;
    }
    for (place, note) in notes.iter().enumerate() {
        match next(&mut channel).await? {
            // Not shown: it may be long.
            Delivery::Message(got) => ensure!(got == *note, "message {place} is another"),
            Delivery::Missed(missed) => return Err(broken("a gap", missed)),
        }
    }
    Ok(())
}

async fn b9_any_text_arrives_as_it_was<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let texts = [
        "",
        " ",
        "hello",
        "\"quoted\" and \\escaped\\",
        "two\r\nlines\n",
        "\0\u{1}\u{7f}",
        "grüße, 你好, 👩‍👩‍👧",
        "*.>$:",
    ];
    let notes = texts.map(|text| Note {
        text: text.to_owned(),
        ..Note::default()
    });
    round_trip(stage, notes.into()).await
}

async fn b9_any_bytes_arrive_as_they_were<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let all = (0..=255).collect::<Vec<u8>>();
    let notes = [vec![], vec![0], b"\r\n".to_vec(), all].map(|bytes| Note {
        bytes,
        ..Note::default()
    });
    round_trip(stage, notes.into()).await
}

async fn b9_a_large_message_arrives_whole<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let text = "0123456789abcdef".repeat(40_000);
    let large = Note {
        text,
        ..Note::default()
    };
    round_trip(stage, vec![large.clone(), note(1), large]).await
}

async fn b9_many_small_messages_and_a_large_one_keep_their_order<S: Space>(
    stage: &Stage<'_, S>,
) -> Outcome {
    let mut notes: Vec<_> = (0..100).map(note).collect();
    if let Some(middle) = notes.get_mut(50) {
        middle.text = "x".repeat(300_000);
    }
    round_trip(stage, notes).await
}

async fn b9_any_text_is_the_name_of_a_topic_of_its_own<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = (stage.node().await, stage.node().await);
    let names = [
        "", " ", ".", "..", "a.b", "a b", "a=b", "a=2Eb", "*", ">", "?", "[ab]", "\0", "\r\n", "é",
        "你好", "👋", "%20", "a/b", "a:b", "A", "a",
    ];
    let mut channels = Vec::new();
    for name in names {
        channels.push(there.topic(stage.name(name)).subscribe());
    }
    for (name, channel) in names.iter().zip(&mut channels) {
        reach(&here.topic(stage.name(name)), channel).await?;
    }
    for (number, name) in (0..).zip(names) {
        publish_note(&here.topic(stage.name(name)), note(number))?;
        publish_note(&here.topic(stage.name(name)), note(number + 1))?;
    }
    for (number, channel) in (0..).zip(&mut channels) {
        expect(channel, [Ok(number), Ok(number + 1)]).await?;
        ensure!(
            channel.try_recv().is_err(),
            "{:?} is not alone",
            channel.topic_name()
        );
    }
    Ok(())
}

async fn b9_a_long_name_is_a_topic<S: Space>(stage: &Stage<'_, S>) -> Outcome {
    let (here, there) = (stage.node().await, stage.node().await);
    // The worst case for a link that has to write other bytes than letters in a longer way.
    let mut name = stage.name("");
    while name.len() < 512 {
        name.push('.');
    }
    let mut channel = there.topic(name.clone()).subscribe();
    reach(&here.topic(name.clone()), &mut channel).await?;
    publish_note(&here.topic(name.clone()), note(1))?;
    expect(&mut channel, [Ok(1)]).await?;
    equal("the name", channel.topic_name(), &*name)
}
