//! 10,000 connections, listed and searched with answers of a bounded size.

use dreamsocket::inspector::Inspector;
use dreamsocket::testing::Client;
use dreamsocket::{Config, Hub};

use crate::stage::{column, connect, json};

const CROWD: usize = 10_000;

#[tokio::test(start_paused = true)]
async fn ten_thousand_connections_are_listed_and_searched_in_windows() {
    let hub = Hub::new(Config::default());
    let inspector = Inspector::new(&hub);
    let clients: Vec<Client> = (0..CROWD)
        .map(|number| {
            connect(
                &hub,
                [10, 0, (number / 250) as u8, (number % 250) as u8],
                None,
            )
        })
        .collect();
    clients[7_777].connection().try_send_text("waits").unwrap();

    let listed = json(&inspector, "/connections.json").await;
    assert_eq!(listed["matched"], CROWD);
    assert_eq!(column(&listed, "id").len(), 100);
    assert_eq!(
        column(&listed, "id")[0],
        &*clients[7_777].connection().id().to_string()
    );
    // However much is asked for.
    let listed = json(&inspector, "/connections.json?limit=1000000").await;
    assert_eq!(column(&listed, "id").len(), 500);
    assert!(
        listed.to_string().len() < 500 * 600,
        "{}",
        listed.to_string().len()
    );
    let listed = json(&inspector, "/connections.json?search=10.0.31.27%3A").await;
    assert_eq!(listed["matched"], 1);

    // The windows, one after the other, are the list: each connection once.
    let mut seen = std::collections::HashSet::new();
    for offset in (0..CROWD).step_by(500) {
        let uri = format!("/connections.json?sort=peer&limit=500&offset={offset}");
        let listed = json(&inspector, &uri).await;
        seen.extend(column(&listed, "id").into_iter().map(ToString::to_string));
    }
    assert_eq!(seen.len(), CROWD);
    assert_eq!(hub.list_connections().len(), CROWD);
}

#[tokio::test(start_paused = true)]
async fn without_an_inspector_no_details_are_kept() {
    let hub = Hub::new(Config::default());
    let before = connect(&hub, [10, 0, 0, 1], None);
    let listed = hub.list_connections();
    assert_eq!(listed[0].id, before.connection().id());
    assert_eq!(
        (listed[0].age, &listed[0].state, listed[0].missed),
        (None, &None, None)
    );

    hub.keep_details();
    let after = connect(&hub, [10, 0, 0, 2], None);
    let listed = hub.list_connections();
    let after = listed
        .iter()
        .find(|info| info.id == after.connection().id());
    assert_eq!(after.unwrap().state.as_deref(), Some("Player"));
    assert!(hub.connection(before.connection().id()).is_some());
    let unknown = "00000000000000ff".parse().unwrap();
    assert!(hub.connection(unknown).is_none());
}
