//! `/metrics`, and the dashboard that draws it, beside the page that lists what there is.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::program::{Chat, get};

/// The metrics that the page lists.
fn listed() -> BTreeSet<String> {
    let page = include_str!("../../../../docs/observability.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    let names = names.filter(|name| name.starts_with("dreamsocket_"));
    names.map(str::to_owned).collect()
}

/// The metrics that a text names; a histogram's parts are the histogram's.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names = words.filter(|word| word.starts_with("dreamsocket_"));
    let name = |word: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts.iter().find_map(|part| word.strip_suffix(part));
        whole.unwrap_or(word).to_owned()
    };
    names.map(name).collect()
}

#[tokio::test]
async fn metrics_are_served_on_an_address_of_their_own() {
    let mut chat = Chat::start_with(&["--metrics", "127.0.0.1:0"]).await;
    let line = chat.next_line().await;
    let address = line.strip_prefix("metrics on http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap();
    let (mut ada, _) = chat.enter("garden", "Ada").await;
    ada.say("garden", "hello").await;
    ada.expect_said("hello").await;
    assert!(chat.get("/chat").await.starts_with("HTTP/1.1 426 "));
    assert!(chat.get("/metrics").await.starts_with("HTTP/1.1 404 "));

    let text = get(address, "/metrics").await;
    // Only there once one has ended, or a client was no HTTP client.
    let seldom = ["dreamsocket_closes_total", "dreamsocket_faults_total"].map(str::to_owned);
    let mut expected = listed();
    for name in &seldom {
        assert!(expected.remove(name), "{name}");
    }
    assert_eq!(named(&text), expected);
    for line in [
        "dreamsocket_connections{role=\"server\"} 1",
        "dreamsocket_refusals_total{status=\"426\",reason=\"handshake\"} 1",
        "dreamsocket_broadcaster_published_total{name=\"said\"} 1",
        "dreamsocket_broker_ready{name=\"people\"} 1",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
}

/// All values of this key, wherever they are.
fn collect<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => collect(value, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_draws_every_metric_and_no_other() {
    let dashboard = serde_json::from_str(include_str!("../../grafana.json")).unwrap();
    let mut expressions = Vec::new();
    collect(&dashboard, "expr", &mut expressions);
    assert_eq!(named(&expressions.join("\n")), listed());
}
