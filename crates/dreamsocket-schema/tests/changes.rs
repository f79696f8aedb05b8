//! What of a change breaks, of values that may be one of several, and of lists.

#![allow(dead_code, reason = "of the types only the shape is of interest")]

use dreamsocket_schema::{Protocol, changes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A message with one field.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Message")]
struct Message<T> {
    it: T,
}

/// What changes when `it` becomes another type, in what clients send and in what they are sent; what breaks begins with `!`.
#[track_caller]
fn check<Old: JsonSchema, New: JsonSchema>(received: &[&str], sent: &[&str]) {
    let document = |protocol: Protocol| protocol.asyncapi();
    let old = document(Protocol::new::<Message<Old>, ()>("p", "1"));
    let new = document(Protocol::new::<Message<New>, ()>("p", "1"));
    assert_eq!(between(&old, &new), received, "what clients send");
    let old = document(Protocol::new::<(), Message<Old>>("p", "1"));
    let new = document(Protocol::new::<(), Message<New>>("p", "1"));
    assert_eq!(between(&old, &new), sent, "what clients are sent");
}

fn between(old: &Value, new: &Value) -> Vec<String> {
    let changes = changes(old, new);
    let told = changes.iter().map(|change| {
        let mark = if change.is_breaking { "!" } else { "" };
        let what = change.what.replace("what clients send, field `it`", "it");
        let what = what.replace("what clients are sent, field `it`", "it");
        format!("{mark}{what}")
    });
    told.collect()
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Query {
    text: String,
    most: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Place {
    x: f64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Either {
    Query(Query),
    Place(Place),
}

mod reordered {
    use super::{Deserialize, JsonSchema, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(crate) struct Query {
        most: u32,
        text: String,
    }
}

mod shorter {
    use super::{Deserialize, JsonSchema, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(crate) struct Query {
        text: String,
    }
}

mod looser {
    use super::{Deserialize, JsonSchema, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(crate) struct Query {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        most: Option<u32>,
    }
}

#[test]
fn a_struct_that_may_be_left_out() {
    check::<Query, Option<Query>>(
        &["it is optional now", "it: null is new"],
        &["!it: null is new"],
    );
    check::<Option<Query>, Query>(
        &["!it is required now", "!it: null is gone"],
        &["it: null is gone"],
    );
}

#[test]
fn fields_of_a_struct_that_may_be_left_out() {
    check::<Option<Query>, Option<shorter::Query>>(
        &["it, field `most` is gone"],
        &["!it, field `most` is gone"],
    );
    check::<Option<Query>, Option<looser::Query>>(
        &[
            "it, field `most` is optional now",
            "it, field `most`: null (uint32) is new",
        ],
        &[
            "!it, field `most` is optional now",
            "!it, field `most`: null (uint32) is new",
        ],
    );
    check::<Option<Query>, Option<reordered::Query>>(&[], &[]);
}

#[test]
fn a_struct_that_gets_an_alternative() {
    check::<Query, Either>(&["it: \"x\" is new"], &["!it: \"x\" is new"]);
    check::<Either, Query>(&["!it: \"x\" is gone"], &["it: \"x\" is gone"]);
    check::<Option<Query>, Option<Either>>(&["it: \"x\" is new"], &["!it: \"x\" is new"]);
    check::<Option<Either>, Option<Query>>(&["!it: \"x\" is gone"], &["it: \"x\" is gone"]);
}

#[test]
fn alternatives_in_a_type_of_their_own() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Wrapper(Query);
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Wrapped {
        Query(Wrapper),
        Place(Place),
    }
    check::<Either, Wrapped>(&[], &[]);
    check::<Wrapped, Either>(&[], &[]);
}

#[test]
fn alternatives_that_only_their_fields_tell_apart() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Area {
        width: u32,
        height: u32,
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Shape {
        Area { width: u32, height: u32 },
        Circle { radius: u32 },
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Shorter {
        Area { width: u32 },
        Circle { radius: u32 },
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Other {
        Line { length: u32 },
        Circle { radius: u32 },
    }
    check::<Shape, Shorter>(
        &["it, \"height\", \"width\", field `height` is gone"],
        &["!it, \"height\", \"width\", field `height` is gone"],
    );
    check::<Shorter, Shape>(
        &["!it, \"width\", field `height` is new"],
        &["it, \"width\", field `height` is new"],
    );
    check::<Area, Shorter>(
        &[
            "it, \"height\", \"width\", field `height` is gone",
            "it: \"radius\" is new",
        ],
        &[
            "!it, \"height\", \"width\", field `height` is gone",
            "!it: \"radius\" is new",
        ],
    );
    // What has no field in common is another one.
    check::<Shape, Other>(
        &[
            "!it: \"height\", \"width\" is gone",
            "it: \"length\" is new",
        ],
        &["it: \"height\", \"width\" is gone", "it: \"length\" is new"],
    );
}

#[test]
fn of_alternatives_those_that_are_most_alike_are_the_same() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Old {
        One { a: u8, b: u8 },
        Two { b: u8, c: u8 },
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum New {
        Two { b: u8, c: u8, d: u8 },
    }
    check::<Old, New>(
        &[
            "!it, \"b\", \"c\", field `d` is new",
            "!it: \"a\", \"b\" is gone",
        ],
        &[
            "it, \"b\", \"c\", field `d` is new",
            "it: \"a\", \"b\" is gone",
        ],
    );
}

#[test]
fn lists_of_other_lengths() {
    check::<[u8; 3], [u8; 4]>(
        &["!it: 3 items before, 4 items now"],
        &["it: 3 items before, 4 items now"],
    );
    check::<[u8; 4], [u8; 3]>(
        &["!it: 4 items before, 3 items now"],
        &["!it: 4 items before, 3 items now"],
    );
    check::<[u8; 4], Vec<u8>>(
        &["it: 4 items before, any number of items now"],
        &["!it: 4 items before, any number of items now"],
    );
    check::<Vec<u8>, [u8; 4]>(
        &["!it: any number of items before, 4 items now"],
        &["it: any number of items before, 4 items now"],
    );
    check::<Option<[u8; 3]>, Option<[u8; 4]>>(
        &["!it: 3 items before, 4 items now"],
        &["it: 3 items before, 4 items now"],
    );
    check::<[u8; 3], String>(
        &["!it: array is gone", "it: string is new"],
        &["it: array is gone", "!it: string is new"],
    );
}

#[test]
fn tuples_of_other_lengths() {
    check::<(u8, u8, u8), (u8, u8)>(
        &["!it: 3 items before, 2 items now", "it, field `2` is gone"],
        &["!it: 3 items before, 2 items now", "!it, field `2` is gone"],
    );
    check::<(u8, u8), (u8, u8, u8)>(
        &["!it: 2 items before, 3 items now", "!it, field `2` is new"],
        &["it: 2 items before, 3 items now", "it, field `2` is new"],
    );
}

#[test]
fn a_list_that_gets_one_of_another_length_beside_it() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Lists {
        Three([u8; 3]),
        Four([u8; 4]),
    }
    check::<[u8; 4], Lists>(
        &["it: 4 items before, 3 or 4 items now"],
        &["!it: 4 items before, 3 or 4 items now"],
    );
    check::<Lists, [u8; 4]>(
        &["!it: 3 or 4 items before, 4 items now"],
        &["it: 3 or 4 items before, 4 items now"],
    );
    check::<Lists, Vec<u8>>(
        &["it: 3 or 4 items before, any number of items now"],
        &["!it: 3 or 4 items before, any number of items now"],
    );
}

#[test]
fn a_tuple_that_becomes_a_list() {
    check::<(u8, u8), [u8; 2]>(&[], &[]);
    check::<[u8; 2], (u8, u8)>(&[], &[]);
    check::<Option<(u8, u8)>, Option<[u8; 2]>>(&[], &[]);
    check::<(u8, String), [u8; 2]>(
        &[
            "!it, field `1`: string is gone",
            "it, field `1`: integer (uint8) is new",
        ],
        &[
            "it, field `1`: string is gone",
            "!it, field `1`: integer (uint8) is new",
        ],
    );
    check::<Vec<u8>, (u8, String)>(
        &[
            "!it: any number of items before, 2 items now",
            "!it, field `0` is required now",
            "!it, field `1` is required now",
            "!it, field `1`: integer (uint8) is gone",
            "it, field `1`: string is new",
        ],
        &[
            "it: any number of items before, 2 items now",
            "it, field `0` is required now",
            "it, field `1` is required now",
            "it, field `1`: integer (uint8) is gone",
            "!it, field `1`: string is new",
        ],
    );
    check::<(u8, u8), Vec<u8>>(
        &[
            "it: 2 items before, any number of items now",
            "it, field `0` is optional now",
            "it, field `1` is optional now",
        ],
        &[
            "!it: 2 items before, any number of items now",
            "!it, field `0` is optional now",
            "!it, field `1` is optional now",
        ],
    );
}
