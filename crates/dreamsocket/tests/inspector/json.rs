//! The JSON for scripts: shapes, order, search, bounds.

use std::time::Duration;

use dreamsocket::inspector::Inspector;
use dreamsocket::{Broadcaster, Config, Hub, testing};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{column, connect, json as get, request, text};

#[tokio::test(start_paused = true)]
async fn a_connection_has_all_its_facts() {
    let hub = Hub::new(Config::default());
    let inspector = Inspector::new(&hub);
    let mut client = connect(&hub, [192, 0, 2, 7], None);
    client.send_text("hello").await;
    client.expect_text("hello").await;
    testing::advance(Duration::from_secs(5)).await;

    let id = client.connection().id().to_string();
    let listed = get(&inspector, "/connections.json").await;
    let expected = json!({
        "id": id, "peer_addr": "192.0.2.7:4321", "path": null, "subprotocol": null, "age_seconds": 5.0, "state": "Player",
        "is_client": false, "messages_in": 1, "bytes_in": 5, "messages_out": 1, "bytes_out": 5, "outbox_bytes": 0,
        "outbox_limit": 1024 * 1024, "round_trip_seconds": null, "missed": 0, "is_closing": false, "rates": null,
    });
    assert_eq!(listed["connections"], json!([expected]));
    assert_eq!(listed["matched"], 1);
    assert_eq!(listed["totals"]["connections"], 1);
    assert_eq!(listed["sort"], "outbox");

    // Rates are those since the last look.
    for _ in 0..8 {
        client.send_text("four").await;
        client.expect_text("four").await;
    }
    testing::advance(Duration::from_secs(4)).await;
    let listed = get(&inspector, "/connections.json").await;
    let rates =
        json!({ "messages_in": 2.0, "bytes_in": 8.0, "messages_out": 2.0, "bytes_out": 8.0 });
    assert_eq!(listed["connections"][0]["rates"], rates);
    assert_eq!(listed["totals"]["rates"], rates);

    client.close(1000, "").await;
    client.expect_closed(1000).await;
    client.ended().await;
    testing::advance(Duration::from_secs(1)).await;
    assert_eq!(get(&inspector, "/connections.json").await["matched"], 0);
}

#[tokio::test(start_paused = true)]
async fn slow_readers_come_first_and_what_they_missed_is_told() {
    let hub = Hub::new(Config::default());
    let events = Broadcaster::<String>::new();
    let inspector = Inspector::new(&hub).with_broadcaster("events", &events);
    let quick = connect(&hub, [192, 0, 2, 1], None);
    let mut slow = connect(&hub, [192, 0, 2, 2], None);
    slow.stall();
    slow.connection().try_send_binary(vec![0; 10_000]).unwrap();
    let topic = events.topic("news");
    let late = connect(&hub, [192, 0, 2, 3], Some(topic.clone()));
    testing::settle().await;
    // As many as a channel holds, and some more.
    let published = 256 + 5;
    for number in 0..published {
        topic.publish(number.to_string()).unwrap();
    }
    testing::settle().await;

    let listed = get(&inspector, "/connections.json").await;
    let expected = [&slow, &late, &quick].map(|client| json!(client.connection().id().to_string()));
    assert_eq!(column(&listed, "id"), expected.each_ref());
    assert_eq!(column(&listed, "missed"), [&json!(0), &json!(5), &json!(0)]);
    assert_eq!(listed["connections"][0]["outbox_bytes"], 10_064);

    let topics = get(&inspector, "/topics.json").await;
    let expected = json!({
        "name": "events", "is_ready": true, "disconnections": 0, "gaps": 0, "published": published,
        "delivered": published, "missed": 5, "topics": 1,
        "busiest": [{ "name": "news", "subscribers": 1, "published": published, "delivered": published, "missed": 5 }],
    });
    assert_eq!(topics, json!({ "broadcasters": [expected] }));
    let found = get(&inspector, "/topics.json?search=weather").await;
    assert_eq!(found["broadcasters"][0]["busiest"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn order_search_and_window_are_those_that_were_asked_for() {
    let hub = Hub::new(Config::default());
    let inspector = Inspector::new(&hub);
    let mut clients = Vec::new();
    for number in [3, 1, 2] {
        clients.push(connect(&hub, [10, 0, 0, number], None));
        testing::advance(Duration::from_secs(1)).await;
    }
    let peers = async |query: &str| -> Vec<Value> {
        let listed = get(&inspector, &format!("/connections.json?{query}")).await;
        column(&listed, "peer_addr").into_iter().cloned().collect()
    };
    let expect = |numbers: &[u8]| -> Vec<Value> {
        let peers = numbers.iter().map(|number| format!("10.0.0.{number}:4321"));
        peers.map(Value::from).collect()
    };
    assert_eq!(peers("sort=peer&order=ascending").await, expect(&[1, 2, 3]));
    assert_eq!(peers("sort=peer").await, expect(&[3, 2, 1]));
    assert_eq!(peers("sort=age").await, expect(&[3, 1, 2]));
    assert_eq!(peers("sort=age&limit=1&offset=1").await, expect(&[1]));
    assert_eq!(peers("sort=age&offset=7").await, expect(&[]));
    assert_eq!(peers("search=0.0.2%3A+pLaYer").await, expect(&[2]));
    assert_eq!(peers("search=0.0.2+nobody").await, expect(&[]));
    let id = clients[0].connection().id();
    assert_eq!(peers(&format!("search={id}")).await, expect(&[3]));

    for wrong in ["sort=colour", "limit=-1", "limit=many", "colour=red"] {
        let uri = format!("/connections.json?{wrong}");
        let answer = request(&inspector, Method::GET, &uri, &[]).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong}");
        assert_eq!(text(answer).await.lines().count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_is_short_and_of_few_words() {
    let inspector = Inspector::new(&Hub::new(Config::default()));
    for path in ["/connections.json", "/topics.json"] {
        for (search, status) in [
            ("x".repeat(100), StatusCode::OK),
            ("x".repeat(101), StatusCode::BAD_REQUEST),
            // So many characters, and more bytes.
            ("%C3%A9".repeat(100), StatusCode::OK),
            ("x+".repeat(8), StatusCode::OK),
            ("x+".repeat(9), StatusCode::BAD_REQUEST),
        ] {
            let uri = format!("{path}?search={search}");
            let answer = request(&inspector, Method::GET, &uri, &[]).await;
            assert_eq!(answer.status(), status, "{uri}");
            let line = text(answer).await;
            let says_why = line.contains("100 characters and 8 words");
            assert_eq!(says_why, status == StatusCode::BAD_REQUEST, "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_topics_within_a_second_shares_a_listing() {
    let hub = Hub::new(Config::default());
    let events = Broadcaster::<String>::new();
    let inspector = Inspector::new(&hub).with_broadcaster("events", &events);
    let names = async |query: &str| -> Vec<Value> {
        let topics = get(&inspector, &format!("/topics.json?{query}")).await;
        let busiest = topics["broadcasters"][0]["busiest"].as_array().unwrap();
        busiest.iter().map(|topic| topic["name"].clone()).collect()
    };
    let _first = ["attic", "garden", "garden"].map(|name| events.topic(name).subscribe());
    assert_eq!(names("limit=1").await, ["garden"]);
    let _then = events.topic("cellar").subscribe();
    assert_eq!(names("").await, ["garden", "attic"]);
    // A search is its own.
    assert_eq!(names("search=cell").await, ["cellar"]);
    testing::advance(Duration::from_secs(1)).await;
    assert_eq!(names("").await, ["garden", "attic", "cellar"]);
}

#[tokio::test(start_paused = true)]
async fn the_summary_has_closes_by_code_and_a_drains_progress() {
    let hub = Hub::new(Config::default());
    let inspector = Inspector::new(&hub);
    let mut clients: Vec<_> = (0..3).map(|_| connect(&hub, [10, 0, 0, 1], None)).collect();
    let mut gone = clients.remove(0);
    gone.close(4001, "").await;
    gone.ended().await;
    testing::advance(Duration::from_secs(25)).await;

    let summary = get(&inspector, "/summary.json").await;
    assert_eq!(summary["connections"], 2);
    assert_eq!(summary["max_connections"], 10_000);
    assert_eq!(summary["opened"], 3);
    assert_eq!(summary["closed"], json!({ "peer": 1 }));
    assert_eq!(summary["uptime_seconds"], 25.0);
    assert_eq!(summary["drain"], Value::Null);
    let bars = summary["closes"]["bars"].as_array().unwrap();
    assert_eq!(
        (bars.len(), &summary["closes"]["seconds_each"]),
        (180, &json!(10))
    );
    assert_eq!(bars[180 - 3], json!({ "4000-4999": 1 }));

    clients[0].stall();
    hub.drain();
    testing::advance(Duration::from_secs(1)).await;
    let summary = get(&inspector, "/summary.json").await;
    let drain =
        json!({ "started_seconds": 1.0, "cut_in_seconds": 9.0, "clean": 1, "cut": 0, "left": 1 });
    assert_eq!(summary["drain"], drain);
}
