//! What clients ask for, and what they and others are told. What the page does with it is tested in `tests/browser`.

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::program::{Chat, PATIENCE};

#[tokio::test]
async fn two_people_see_each_other_come_talk_and_go() {
    let chat = Chat::start().await;
    let (mut ada, people) = chat.enter("garden", "Ada").await;
    assert_eq!(people, json!([{"name": "Ada", "tabs": 1}]));

    let (mut grace, people) = chat.enter("garden", "%20Grace%20").await;
    assert_eq!(
        people,
        json!([{"name": "Ada", "tabs": 1}, {"name": "Grace", "tabs": 1}])
    );
    ada.expect(json!({"type": "joined", "room": "garden", "name": "Grace"}))
        .await;

    grace
        .send(json!({"type": "typing", "room": "garden"}))
        .await;
    let typing = json!({"type": "typing", "room": "garden", "name": "Grace"});
    assert_eq!(ada.receive().await, typing);
    assert_eq!(grace.receive().await, typing);

    ada.say("garden", "  Good <b>evening</b>  ").await;
    let said =
        json!({"type": "said", "room": "garden", "name": "Ada", "text": "Good <b>evening</b>"});
    ada.expect(said.clone()).await;
    grace.expect(said).await;

    drop(grace); // Without a closing handshake, as when a phone loses its network.
    ada.expect(json!({"type": "left", "room": "garden", "name": "Grace"}))
        .await;

    let (_linus, people) = chat.enter("garden", "Linus").await;
    assert_eq!(
        people,
        json!([{"name": "Ada", "tabs": 1}, {"name": "Linus", "tabs": 1}])
    );
}

#[tokio::test]
async fn one_person_with_three_tabs_joins_and_leaves_once() {
    let chat = Chat::start().await;
    let (mut ada, _) = chat.enter("garden", "Ada").await;
    let (first, _) = chat.enter("garden", "Grace").await;
    ada.expect(json!({"type": "joined", "room": "garden", "name": "Grace"}))
        .await;
    let tabs = |count| json!({"type": "tabs", "room": "garden", "name": "Grace", "tabs": count});
    let (second, _) = chat.enter("garden", "Grace").await;
    assert_eq!(ada.receive().await, tabs(2));
    let (third, people) = chat.enter("garden", "Grace").await;
    assert_eq!(ada.receive().await, tabs(3));
    assert_eq!(
        people,
        json!([{"name": "Ada", "tabs": 1}, {"name": "Grace", "tabs": 3}])
    );
    drop(second);
    assert_eq!(ada.receive().await, tabs(2));
    drop(first);
    assert_eq!(ada.receive().await, tabs(1));
    drop(third);
    ada.expect(json!({"type": "left", "room": "garden", "name": "Grace"}))
        .await;
}

#[tokio::test]
async fn rooms_do_not_hear_each_other() {
    let chat = Chat::start().await;
    let (mut ada, _) = chat.enter("garden", "Ada").await;
    let (mut grace, people) = chat.enter("cellar", "Grace").await;
    assert_eq!(people, json!([{"name": "Grace", "tabs": 1}]));
    grace.say("cellar", "Anybody?").await;
    grace.receive().await;
    ada.say("garden", "Only me.").await;
    ada.expect(json!({"type": "said", "room": "garden", "name": "Ada", "text": "Only me."}))
        .await;
}

#[tokio::test]
async fn l7_one_connection_is_in_several_rooms_and_leaves_one() {
    let chat = Chat::start().await;
    let (mut ada, _) = chat.enter("garden", "Ada").await;
    // A room may have the name of anything that the handlers use inside.
    ada.enter("people").await;
    ada.enter("said").await;
    let (mut grace, _) = chat.enter("people", "Grace").await;
    ada.expect(json!({"type": "joined", "room": "people", "name": "Grace"}))
        .await;
    for room in ["garden", "people"] {
        ada.say(room, "Here.").await;
        ada.expect(json!({"type": "said", "room": room, "name": "Ada", "text": "Here."}))
            .await;
    }
    grace.receive().await;
    ada.send(json!({"type": "leave", "room": "people"})).await;
    grace
        .expect(json!({"type": "left", "room": "people", "name": "Ada"}))
        .await;
    grace.say("people", "Gone?").await;
    grace.receive().await;
    ada.say("people", "I am not there.").await;
    ada.expect_refusal("You are not in this room.").await;
    ada.say("garden", "But here.").await;
    ada.expect(json!({"type": "said", "room": "garden", "name": "Ada", "text": "But here."}))
        .await;

    for number in 3..=8 {
        ada.enter(&format!("room {number}")).await;
    }
    ada.send(json!({"type": "enter", "room": "one more"})).await;
    ada.expect_room_refusal("one more", "At most 8 rooms at a time; leave one.")
        .await;
    ada.enter("garden").await; // Where it is already: no further room.
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_the_connection_goes_on() {
    let chat = Chat::start().await;
    let (mut ada, _) = chat.enter("garden", "Ada").await;
    ada.say("garden", &"é".repeat(2_001)).await;
    ada.expect_refusal("At most 2000 characters; this message has 2001.")
        .await;
    for nonsense in [
        "",
        "hello",
        "[]",
        r#"{"type":"dance"}"#,
        r#"{"type":"say"}"#,
    ] {
        ada.socket.send(Message::text(nonsense)).await.unwrap();
        let answer = ada.receive().await;
        assert_eq!(answer["type"], "refused", "{nonsense}: {answer}");
    }
    for (room, reason) in [
        (" ", "Choose a room."),
        ("a\nb", "This room has a character that cannot be shown."),
        (
            "garden-garden-garden-garden-garde",
            "At most 32 characters; this room has 33.",
        ),
    ] {
        ada.send(json!({"type": "enter", "room": room})).await;
        ada.expect_room_refusal(room, reason).await;
    }
    ada.say("garden", "   ").await; // Nothing to say: nothing is said.
    let text = "é".repeat(2_000);
    ada.say("garden", &text).await;
    ada.expect(json!({"type": "said", "room": "garden", "name": "Ada", "text": text}))
        .await;
    ada.say("garden", &"é".repeat(10_000)).await;
    ada.expect_close(1009, "").await;
}

#[tokio::test]
async fn whoever_is_too_fast_is_told_and_waits() {
    let chat = Chat::start_with(&["--pace", "20"]).await;
    let (mut ada, _) = chat.enter("garden", "Ada").await;
    let start = Instant::now();
    for number in 0..31 {
        ada.say("garden", &number.to_string()).await;
    }
    let (mut said, mut slowed) = (0, 0);
    while said < 31 {
        let message = ada.receive().await;
        if message["type"] == "slowed" {
            slowed += 1;
        } else {
            assert_eq!(message["text"], said.to_string());
            said += 1;
        }
    }
    // Twelve at once, one of them to enter; then one in 50 ms.
    assert!(start.elapsed() >= Duration::from_millis(950));
    assert!(slowed > 0);
}

#[tokio::test]
async fn a_client_that_was_too_slow_is_told_what_passed_it_by() {
    let chat = Chat::start().await;
    let (mut grace, _) = chat.enter("garden", "Grace").await;
    let (mut ada, _) = chat.enter("garden", "Ada").await;

    // More than the sockets' buffers, the outbox and the channel of the one that does not read can hold.
    let text = "𝄞".repeat(2_000);
    for _ in 0..60 {
        for _ in 0..20 {
            ada.say("garden", &text).await;
        }
        for _ in 0..20 {
            assert_eq!(ada.receive().await["text"], text);
        }
    }

    let missed = loop {
        let message = grace.receive().await;
        if message["type"] == "missed" {
            break message;
        }
    };
    assert_eq!(missed["room"], "garden");
    assert!(missed["count"].as_u64() > Some(0), "{missed}");
    ada.say("garden", "Still there?").await;
    while grace.receive().await["text"] != "Still there?" {}
}

#[tokio::test]
async fn whoever_comes_hears_the_last_fifty() {
    let chat = Chat::start().await;
    let (mut ada, _) = chat.enter("garden", "Ada").await;
    for number in 0..60 {
        ada.say("garden", &number.to_string()).await;
        ada.expect_said(&number.to_string()).await;
    }
    let (mut grace, _) = chat.enter("garden", "Grace").await;
    for number in 10..60 {
        grace.expect_said(&number.to_string()).await;
    }
    ada.say("garden", "Welcome.").await;
    grace.expect_said("Welcome.").await;
}

#[tokio::test]
async fn b5_whoever_comes_back_hears_what_was_said_meanwhile_once_and_in_order() {
    let chat = Chat::start().await;
    let (mut ada, _) = chat.enter("garden", "Ada").await;
    ada.say("garden", "Before").await;
    ada.expect_said("Before").await;
    let (mut grace, _) = chat.enter("garden", "Grace").await;
    let position = grace.expect_said("Before").await;
    drop(grace);
    for number in 0..20 {
        ada.say("garden", &number.to_string()).await;
    }
    let mut grace = chat.connect("user=Grace").await;
    grace.enter_since("garden", Some(&position)).await;
    for number in 0..20 {
        grace.expect_said(&number.to_string()).await;
    }
    ada.say("garden", "After").await;
    grace.expect_said("After").await;
}

#[tokio::test]
async fn b5_whoever_was_away_for_too_long_is_told_that_some_is_missing() {
    let chat = Chat::start().await;
    let (mut ada, _) = chat.enter("garden", "Ada").await;
    ada.say("garden", "Before").await;
    let position = ada.expect_said("Before").await;
    for number in 0..70 {
        ada.say("garden", &number.to_string()).await;
        ada.expect_said(&number.to_string()).await;
    }
    // A position of another life of the server is not there, either.
    let other = Chat::start().await;
    let (mut foreign, _) = other.enter("garden", "Ada").await;
    foreign.say("garden", "Elsewhere").await;
    let elsewhere = foreign.expect_said("Elsewhere").await;
    for position in [position, elsewhere] {
        let mut grace = chat.connect("user=Grace").await;
        grace.enter_since("garden", Some(&position)).await;
        let missed = grace.receive().await;
        assert_eq!(
            (&missed["type"], &missed["room"]),
            (&json!("missed"), &json!("garden"))
        );
        for number in 20..70 {
            grace.expect_said(&number.to_string()).await;
        }
    }
    let mut mallory = chat.connect("user=Mallory").await;
    mallory
        .send(json!({"type": "enter", "room": "garden", "since": "../../etc"}))
        .await;
    assert_eq!(mallory.receive().await["type"], "refused");
}

#[tokio::test]
async fn a_name_that_cannot_be_used_closes_with_the_reason() {
    let chat = Chat::start().await;
    for (query, reason) in [
        ("", "Choose a name."),
        ("user=%20", "Choose a name."),
        (
            "user=A%0ada",
            "This name has a character that cannot be shown.",
        ),
        (
            "user=garden-garden-garden-garden-garde",
            "At most 32 characters; this name has 33.",
        ),
    ] {
        chat.connect(query).await.expect_close(1008, reason).await;
    }
    chat.enter("garden", "AdaAdaAdaAdaAdaAdaAdaAdaAdaAdaAd")
        .await;
}

#[tokio::test]
async fn the_page_comes_with_a_policy_that_lets_nothing_else_in() {
    let chat = Chat::start().await;
    for (path, kind, content) in [
        ("/", "text/html", "<title>Dreamsocket chat</title>"),
        ("/style.css", "text/css", "prefers-color-scheme"),
        ("/app.js", "text/javascript", "./chat.js"),
        ("/chat.js", "text/javascript", "new WebSocket"),
        ("/view.js", "text/javascript", "textContent"),
        ("/icon.svg", "image/svg+xml", "<svg"),
    ] {
        let response = chat.get(path).await;
        assert!(
            response.starts_with("HTTP/1.1 200 OK\r\n"),
            "{path}: {response}"
        );
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-type: {kind}; charset=utf-8\r\n")),
            "{path}: {head}"
        );
        assert!(
            head.contains("content-security-policy: default-src 'none'; script-src 'self';"),
            "{path}: {head}"
        );
        assert!(body.contains(content), "{path}");
        assert!(
            !body.contains("https://") && !body.contains("innerHTML"),
            "{path} reaches outside, or makes HTML of text"
        );
    }
    assert!(chat.get("/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn an_address_in_use_is_one_clear_line_and_a_failure() {
    let chat = Chat::start().await;
    let output = Command::new(env!("CARGO_BIN_EXE_chat"))
        .args(["--listen", &chat.address])
        .output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains(&chat.address) && error.contains("in use"),
        "{error}"
    );
}

#[tokio::test]
async fn a_broker_that_cannot_be_had_is_one_clear_line_and_a_failure() {
    // Port 1 of the loopback address, where nobody listens.
    let away = |feature, url| if feature { "" } else { url };
    for (flags, words) in [
        (
            vec![
                "--nats",
                "nats://127.0.0.1:1",
                "--redis",
                "redis://127.0.0.1:1",
            ],
            "exclude each other",
        ),
        (
            vec!["--nats", "nats://127.0.0.1:1"],
            away(cfg!(feature = "nats"), "--features nats"),
        ),
        (
            vec!["--redis", "redis://127.0.0.1:1"],
            away(cfg!(feature = "redis"), "--features redis"),
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_chat"))
            .args(flags)
            .output();
        let output = timeout(PATIENCE, output).await.unwrap().unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        let last = error.lines().last().unwrap();
        assert!(
            last.starts_with("chat: ") && last.contains(words),
            "{error}"
        );
    }
}

#[tokio::test]
async fn flags_of_tls_that_do_not_fit_are_one_clear_line_and_a_failure() {
    let both = ["--tls-cert", "no-such.pem", "--tls-key", "no-key.pem"];
    // A build without TLS says how to get one with it.
    let unusable = if cfg!(feature = "tls") {
        "cannot read no-such.pem"
    } else {
        "--features tls"
    };
    for (flags, words) in [
        (&both[..2], "--tls-cert and --tls-key go together"),
        (&both[2..], "--tls-cert and --tls-key go together"),
        (&both[..], unusable),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_chat"))
            .args(flags)
            .output();
        let output = timeout(PATIENCE, output).await.unwrap().unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(words), "{error}");
    }
}
