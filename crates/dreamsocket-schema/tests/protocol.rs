//! What is made of types, and what of a change breaks.

#![allow(dead_code, reason = "of the types only the shape is of interest")]

use std::collections::HashMap;

use dreamsocket_schema::{Protocol, changes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client asks for.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Ask {
    /// Two numbers.
    Add {
        a: i64,
        b: Option<i64>,
    },
    Search(Query),
    Stop,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Query {
    text: String,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(rename = "max-results")]
    most: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Tag {
    Old,
    New,
}

#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tell {
    Sum {
        sum: i64,
        took: f64,
    },
    Found {
        pages: Vec<Page>,
        by_tag: HashMap<String, u32>,
        place: (f64, f64),
    },
    Nothing {
        query: Query,
    },
}

#[derive(Serialize, JsonSchema)]
struct Page {
    name: String,
    /// Those that it leads to.
    links: Vec<Self>,
    kind: Kind,
}

#[derive(Serialize, JsonSchema)]
enum Kind {
    Plain,
    Shop { items: u32 },
    Two(u8, String),
}

fn protocol() -> Protocol {
    Protocol::new::<Ask, Tell>("search", "1.0.0").with_path("/search")
}

#[test]
fn types_become_typescript() {
    let typescript = protocol().typescript();
    let expected = include_str!("search.d.ts");
    if std::env::var_os("BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/search.d.ts");
        std::fs::write(path, &typescript).unwrap();
    } else {
        assert_eq!(typescript, expected, "BLESS=1 writes it anew");
    }
}

#[test]
fn the_client_is_small_and_needs_nothing() {
    let javascript = protocol().javascript();
    let lines = javascript.lines().map(str::trim);
    let code: Vec<_> = lines.filter(|line| !line.starts_with("//")).collect();
    let code = code.join("\n");
    assert!(code.len() < 4 * 1024, "{} bytes", code.len());
    assert!(!code.contains("import "));
}

#[test]
fn files_are_written_and_found_stale() {
    let folder = std::env::temp_dir().join(format!("dreamsocket-schema-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    assert_eq!(protocol().stale(&folder).unwrap().len(), 3);
    protocol().write(&folder).unwrap();
    assert_eq!(protocol().stale(&folder).unwrap().len(), 0);
    std::fs::write(folder.join("search.d.ts"), "other").unwrap();
    assert_eq!(
        protocol().stale(&folder).unwrap(),
        [folder.join("search.d.ts")]
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_document_is_asyncapi_3() {
    let document = protocol().asyncapi();
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(document["channels"]["socket"]["address"], "/search");
    assert_eq!(document["operations"]["receive"]["action"], "receive");
    let message = "/channels/socket/messages/received/payload/schema/oneOf";
    assert_eq!(
        document.pointer(message).unwrap().as_array().unwrap().len(),
        3
    );
}

#[derive(Serialize, JsonSchema)]
enum Tree {
    Leaf { page: Named<u8> },
    Branch { of: Vec<Self> },
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Named<{T}>")]
struct Named<T> {
    name: String,
    value: T,
}

#[test]
fn references_in_the_document_lead_to_schemas_in_it() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    found.push(reference.clone());
                }
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let trees = Protocol::new::<Ask, Tree>("trees", "1.0.0");
    for (document, count) in [(protocol().asyncapi(), 11), (trees.asyncapi(), 8)] {
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            let pointer = pointer.replace("%3C", "<").replace("%3E", ">");
            assert!(pointer.starts_with("/channels/socket"), "{reference}");
            assert!(document.pointer(&pointer).is_some(), "{reference}");
        }
        assert_eq!(found.len(), count, "{found:?}");
    }
}

#[test]
fn documents_with_references_within_their_schemas_are_compared() {
    #[derive(Serialize, JsonSchema)]
    #[schemars(rename = "Tree")]
    enum Changed {
        Leaf { page: Named<String> },
        Branch { of: Vec<Self> },
    }
    let new = Protocol::new::<(), Tree>("p", "1");
    let mut old = new.asyncapi();
    let schema = "/channels/socket/messages/sent/payload/schema";
    let within = old.to_string().replace(&format!("#{schema}"), "#");
    assert!(within.contains("\"#\"") && within.contains("\"#/$defs/Named%3Cuint8%3E\""));
    old = serde_json::from_str(&within).unwrap();
    assert_eq!(changes(&old, &new.asyncapi()), []);
    let changed = Protocol::new::<(), Changed>("p", "1").asyncapi();
    for old in [old, new.asyncapi()] {
        let changes = changes(&old, &changed);
        assert!(
            changes.iter().any(|change| change.what.contains("`value`")),
            "{changes:?}"
        );
    }
}

/// The changes between two protocols: breaking ones begin with `!`.
fn between(old: &Protocol, new: &Protocol) -> Vec<String> {
    let changes = changes(&old.asyncapi(), &new.asyncapi());
    let told = changes.iter().map(|change| {
        let mark = if change.is_breaking { "!" } else { "" };
        format!("{mark}{}", change.what)
    });
    told.collect()
}

macro_rules! versions {
    ($(#[$attributes:meta])* $old:ident { $($before:tt)* } $new:ident { $($after:tt)* }) => {{
        #[derive(Serialize, Deserialize, JsonSchema)]
        $(#[$attributes])*
        enum $old { $($before)* }
        #[derive(Serialize, Deserialize, JsonSchema)]
        $(#[$attributes])*
        enum $new { $($after)* }
        let received = between(&Protocol::new::<$old, ()>("p", "1"), &Protocol::new::<$new, ()>("p", "1"));
        let sent = between(&Protocol::new::<(), $old>("p", "1"), &Protocol::new::<(), $new>("p", "1"));
        (received, sent)
    }};
}

#[test]
fn what_is_the_same_changes_nothing() {
    assert!(between(&protocol(), &protocol()).is_empty());
}

#[test]
fn a_message_that_may_hold_another() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "type")]
    enum Chain {
        End { v: u8 },
        Node { next: Option<Box<Self>> },
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "type")]
    #[schemars(rename = "Chain")]
    enum Changed {
        End { v: String },
        Node { next: Option<Box<Self>> },
    }
    let (old, new) = (
        Protocol::new::<Chain, Chain>("p", "1"),
        Protocol::new::<Changed, Changed>("p", "1"),
    );
    assert!(between(&old, &old).is_empty());
    let changes = between(&old, &new);
    assert!(breaks(&changes), "{changes:?}");
}

#[test]
fn a_message_more_or_less() {
    let (received, sent) =
        versions!(#[serde(tag = "type")] Old { A { x: u8 }, B } New { A { x: u8 }, C });
    assert_eq!(
        received,
        [
            "!what clients send: type \"B\" is gone",
            "what clients send: type \"C\" is new"
        ]
    );
    assert_eq!(
        sent,
        [
            "what clients are sent: type \"B\" is gone",
            "what clients are sent: type \"C\" is new"
        ]
    );
}

#[test]
fn a_field_more_or_less() {
    let (received, sent) =
        versions!(#[serde(tag = "type")] Old { A { x: u8, y: u8 } } New { A { x: u8, z: u8 } });
    let (of_received, of_sent) = (
        "what clients send, type \"A\"",
        "what clients are sent, type \"A\"",
    );
    assert_eq!(
        received,
        [
            format!("{of_received}, field `y` is gone"),
            format!("!{of_received}, field `z` is new")
        ]
    );
    assert_eq!(
        sent,
        [
            format!("!{of_sent}, field `y` is gone"),
            format!("{of_sent}, field `z` is new")
        ]
    );
}

#[test]
fn a_field_that_may_be_left_out() {
    let (received, sent) = versions!(Old { A { x: u8 } } New { A { x: Option<u8> } });
    assert!(
        received.iter().all(|change| !change.starts_with('!')),
        "{received:?}"
    );
    assert!(
        sent.iter().any(|change| change.starts_with('!')),
        "{sent:?}"
    );
    let (received, _) = versions!(Old { A { x: Option<u8> } } New { A { x: u8 } });
    assert!(
        received.iter().any(|change| change.starts_with('!')),
        "{received:?}"
    );
}

#[test]
fn a_field_of_another_type() {
    let (received, sent) = versions!(Old { A { x: u8 } } New { A { x: String } });
    for changes in [received, sent] {
        assert!(
            changes.iter().any(|change| change.starts_with('!')),
            "{changes:?}"
        );
    }
}

#[test]
fn what_is_refused_when_it_is_not_known() {
    let (received, sent) = versions!(#[serde(tag = "type", deny_unknown_fields)] Old { A { x: u8, y: u8 } } New { A { x: u8 } });
    assert_eq!(
        received,
        ["!what clients send, type \"A\", field `y` is gone"]
    );
    assert_eq!(
        sent,
        ["!what clients are sent, type \"A\", field `y` is gone"]
    );
}

#[test]
fn alternatives_that_look_alike_are_compared_in_their_order() {
    let (received, _) = versions!(#[serde(untagged)] Old { A { x: u8 }, B { x: String } } New { A { x: bool }, B { x: String } });
    assert!(
        received.iter().any(|change| change.starts_with('!')),
        "{received:?}"
    );
}

#[test]
fn values_of_a_map_whose_keys_are_numbers() {
    let (received, sent) =
        versions!(Old { A { x: HashMap<u32, u8> } } New { A { x: HashMap<u32, String> } });
    for changes in [received, sent] {
        assert!(
            changes.iter().any(|change| change.starts_with('!')),
            "{changes:?}"
        );
    }
    let (received, sent) =
        versions!(Old { A { x: HashMap<String, u8> } } New { A { x: HashMap<u32, u8> } });
    assert!(
        matches!(&received[..], [change] if change.starts_with('!') && change.ends_with("other keys")),
        "{received:?}"
    );
    assert!(
        matches!(&sent[..], [change] if !change.starts_with('!')),
        "{sent:?}"
    );
}

fn breaks(changes: &[String]) -> bool {
    changes.iter().any(|change| change.starts_with('!'))
}

#[test]
fn what_may_be_anything() {
    let anything = |received: Vec<String>, sent: Vec<String>| {
        assert!(
            !breaks(&received) && received.len() == 1,
            "it takes more: {received:?}"
        );
        assert!(breaks(&sent) && sent.len() == 1, "{sent:?}");
    };
    let (received, sent) = versions!(Old { A { x: u8 } } New { A { x: Value } });
    anything(received, sent);
    let (received, sent) = versions!(Old { A { x: Query } } New { A { x: Value } });
    anything(received, sent);
    let (received, sent) = versions!(Old { A { x: Vec<u8> } } New { A { x: Vec<Value> } });
    anything(received, sent);
    let (received, sent) =
        versions!(Old { A { x: HashMap<String, u8> } } New { A { x: HashMap<String, Value> } });
    anything(received, sent);

    // The same the other way round.
    let (received, sent) = versions!(Old { A { x: Value } } New { A { x: Status } });
    anything(sent, received);
    let (received, sent) = versions!(Old { A { x: Value } } New { A { x: Value } });
    assert_eq!((received.len(), sent.len()), (0, 0));
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum Status {
    Done { at: u64 },
    Failed { why: String },
}

#[test]
fn a_value_that_gets_alternatives() {
    let (received, sent) = versions!(Old { A { x: String } } New { A { x: Status } });
    assert!(breaks(&received), "{received:?}");
    assert!(breaks(&sent), "{sent:?}");
    let (received, sent) = versions!(Old { A { x: Status } } New { A { x: String } });
    assert!(breaks(&received), "{received:?}");
    assert!(breaks(&sent), "{sent:?}");
    // One more than there were is what a client lets pass, as a message that is new.
    let (received, sent) = versions!(Old { A { x: Before } } New { A { x: Status } });
    assert!(!breaks(&received), "{received:?}");
    assert!(!breaks(&sent), "{sent:?}");
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum Before {
    Done { at: u64 },
}
