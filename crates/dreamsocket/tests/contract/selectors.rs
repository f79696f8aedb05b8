//! L7 and L4: sources of custom messages that come and go while messages wait.

use std::time::Duration;

use dreamsocket::testing::{Client, advance, settle};
use dreamsocket::{
    Broadcaster, Message, Selector, continue_connection, continue_connection_adding,
    continue_connection_removing, continue_connection_with_selector,
};
use tokio::sync::{broadcast, mpsc, watch};

use crate::stage::{Act, IGNORE, Stage, act};

/// Holds on "hold", so that messages wait; "replace", "add" and "remove" change the selector.
const CHANGE: Act = act!(|_, message, _, stage| {
    let Message::Text(text) = message else {
        return Ok(continue_connection());
    };
    stage.hold().await;
    let more = |text: &str| {
        let (sender, selector) = Selector::channel(4);
        sender.try_send(text.to_owned()).unwrap();
        selector
    };
    Ok(match &*text {
        "replace" => continue_connection_with_selector(more("from the new one")),
        "add" => continue_connection_adding(Selector::new().select_as("c", more("c1"))),
        "again" => continue_connection_adding(Selector::new().select_as("a", more("another a1"))),
        "remove" => continue_connection_removing("a"),
        "remove what is not there" => continue_connection_removing("z"),
        _ => continue_connection(),
    })
});

/// Two sources, "a" and "b", in each of which two messages wait when the handler returns.
async fn change(how: &str) -> Vec<String> {
    let (a, a_receiver) = mpsc::channel(4);
    let (b, b_receiver) = mpsc::channel(4);
    let selector = Selector::new()
        .select_as("a", a_receiver)
        .select_as("b", b_receiver);
    let (mut client, stage) = Stage::new(CHANGE).with_selector(selector).connect();
    client.send_text(how).await;
    for (sender, name) in [(&a, "a"), (&b, "b")] {
        sender.send(format!("{name}1")).await.unwrap();
        sender.send(format!("{name}2")).await.unwrap();
    }
    settle().await;
    assert_eq!(stage.messages(), [how]);
    stage.release();
    settle().await;
    let seen = stage.messages();
    // Sources that are there still work, those that are not are dropped.
    let _ = a.try_send("a3".to_owned());
    let _ = b.try_send("b3".to_owned());
    settle().await;
    let late = stage.messages();
    for (sender, name) in [(&a, "a"), (&b, "b")] {
        assert_eq!(
            sender.is_closed(),
            !late.contains(&format!("custom {name}3")),
            "{late:?}"
        );
    }
    let mut seen: Vec<_> = seen
        .iter()
        .map(|line| line.strip_prefix("custom ").unwrap().to_owned())
        .collect();
    // In order within a source; sorted, since sources take turns as they like.
    for name in ["a", "b"] {
        assert!(
            seen.iter()
                .filter(|line| line.starts_with(name))
                .is_sorted()
        );
    }
    seen.sort();
    seen
}

#[tokio::test(start_paused = true)]
async fn l7_another_selector_takes_the_place_of_the_old_one_and_of_what_waits_in_it() {
    assert_eq!(change("replace").await, ["from the new one"]);
}

#[tokio::test(start_paused = true)]
async fn l7_adding_leaves_the_others_and_their_messages_as_they_are() {
    assert_eq!(change("add").await, ["a1", "a2", "b1", "b2", "c1"]);
}

#[tokio::test(start_paused = true)]
async fn l7_adding_a_key_that_is_there_replaces_that_source() {
    assert_eq!(change("again").await, ["another a1", "b1", "b2"]);
}

#[tokio::test(start_paused = true)]
async fn l7_removing_takes_one_source_and_its_messages() {
    assert_eq!(change("remove").await, ["b1", "b2"]);
    assert_eq!(
        change("remove what is not there").await,
        ["a1", "a2", "b1", "b2"]
    );
    assert_eq!(change("nothing").await, ["a1", "a2", "b1", "b2"]);
}

#[tokio::test(start_paused = true)]
async fn l7_a_second_room_without_resubscribing_to_the_first() {
    let broadcaster = Broadcaster::new();
    let (lobby, attic) = (broadcaster.topic("lobby"), broadcaster.topic("attic"));
    struct Rooms {
        lobby: dreamsocket::Topic<String>,
        attic: dreamsocket::Topic<String>,
    }
    async fn on_init(_: &dreamsocket::Connection, rooms: &Rooms) -> ((), Option<Selector<String>>) {
        ((), Some(Selector::from(rooms.lobby.subscribe())))
    }
    async fn on_message(
        (): &mut (),
        message: Message<String>,
        connection: &dreamsocket::Connection,
        rooms: &Rooms,
    ) -> Result<dreamsocket::Action<String>, dreamsocket::SendError> {
        match message {
            Message::Text(text) if text == "enter attic" => {
                return Ok(continue_connection_adding(rooms.attic.subscribe()));
            }
            Message::Text(text) if text == "leave lobby" => {
                return Ok(continue_connection_removing("lobby"));
            }
            Message::Custom(text) => connection.send_text(text).await?,
            _ => {}
        }
        Ok(continue_connection())
    }
    async fn on_close((): (), _: &Rooms) {}
    let rooms = Rooms {
        lobby: lobby.clone(),
        attic: attic.clone(),
    };
    let mut client: Client = crate::builder().connect(rooms, on_init, on_message, on_close);
    settle().await;
    client.send_text("enter attic").await;
    assert_eq!(lobby.publish("to the lobby".to_owned()).unwrap().local, 1);
    assert_eq!(attic.publish("to the attic".to_owned()).unwrap().local, 1);
    client.expect_text("to the lobby").await;
    client.expect_text("to the attic").await;
    client.send_text("leave lobby").await;
    assert_eq!(lobby.publish("to nobody".to_owned()).unwrap().local, 0);
    client.vanish().await;
    assert_eq!(attic.publish("to nobody".to_owned()).unwrap().local, 0);
}

#[tokio::test(start_paused = true)]
async fn l4_a_gap_comes_in_its_place() {
    const HOLD: Act = act!(|_, message, _, stage| {
        if let Message::Text(_) = message {
            stage.hold().await;
        }
        Ok(continue_connection())
    });
    let (sender, receiver) = broadcast::channel(2);
    let selector = Selector::new().select_as("news", receiver);
    let (mut client, stage) = Stage::new(HOLD).with_selector(selector).connect();
    client.send_text("hold").await;
    for number in 0..5 {
        sender.send(number.to_string()).unwrap();
    }
    stage.release();
    settle().await;
    assert_eq!(
        stage.messages(),
        ["hold", "missed Some(3) of news", "custom 3", "custom 4"]
    );
}

#[tokio::test(start_paused = true)]
async fn timers_and_values_are_sources() {
    let (sender, receiver) = watch::channel("current".to_owned());
    let selector = Selector::new()
        .merge(receiver)
        .merge(Selector::every(Duration::from_secs(2), "tick".to_owned()))
        .merge(Selector::after(Duration::from_secs(3), "alarm".to_owned()));
    let (client, stage) = Stage::new(IGNORE).with_selector(selector).connect();
    settle().await;
    assert_eq!(stage.messages(), ["custom current"]);
    sender.send_replace("skipped".to_owned());
    sender.send_replace("newer".to_owned());
    advance(Duration::from_secs(5)).await;
    assert_eq!(
        stage.messages(),
        ["custom newer", "custom tick", "custom alarm", "custom tick"]
    );
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ends_is_dropped_quietly() {
    let (sender, selector) = Selector::channel(1);
    let (mut client, stage) = Stage::new(IGNORE).with_selector(selector).connect();
    sender.send("last".to_owned()).await.unwrap();
    drop(sender);
    settle().await;
    client.send_text("goes on").await;
    assert_eq!(stage.messages(), ["custom last", "goes on"]);
}
