//! Types that are hard to say in TypeScript.

#![allow(dead_code, reason = "of the types only the shape is of interest")]

use std::collections::HashMap;

use dreamsocket_schema::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod ask {
    use super::{Deserialize, JsonSchema};

    #[derive(Deserialize, JsonSchema)]
    pub(crate) struct Message {
        item: Item,
    }

    #[derive(Deserialize, JsonSchema)]
    pub(crate) struct Item {
        id: u64,
    }
}

mod tell {
    use super::{JsonSchema, Serialize};

    #[derive(Serialize, JsonSchema)]
    pub(crate) struct Message {
        items: Vec<Item>,
        holder: Holder,
    }

    #[derive(Serialize, JsonSchema)]
    pub(crate) struct Item {
        title: String,
    }

    /// Only what it refers to has two shapes.
    #[derive(Serialize, JsonSchema)]
    pub(crate) struct Holder {
        item: Item,
    }
}

fn typescript<In: JsonSchema, Out: JsonSchema>() -> String {
    Protocol::new::<In, Out>("p", "1").typescript()
}

#[track_caller]
fn check<In: JsonSchema, Out: JsonSchema>(expected: &[&str]) {
    let typescript = typescript::<In, Out>();
    for expected in expected {
        assert!(
            typescript.contains(expected),
            "no {expected} in {typescript}"
        );
    }
}

#[test]
fn types_of_one_name_stay_two_types() {
    check::<ask::Message, tell::Message>(&[
        "interface Item {\n  id: number;\n}",
        "interface IncomingItem {\n  title: string;\n}",
        "interface Holder {\n  item: IncomingItem;\n}",
        "interface Message {\n  item: Item;\n}",
        "interface IncomingMessage {\n  holder: Holder;\n  items: IncomingItem[];\n}",
        "send(message: Message)",
        "onMessage(message: IncomingMessage)",
    ]);
}

#[test]
fn what_refers_to_types_of_two_shapes_has_two_itself() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Order {
        lines: Vec<Line>,
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Line {
        #[serde(skip_deserializing)]
        id: u64,
        count: u8,
    }
    check::<Order, Order>(&[
        "interface Line {\n  count: number;\n}",
        "interface IncomingLine {\n  count: number;\n  id: number;\n}",
        "interface Order {\n  lines: Line[];\n}",
        "interface IncomingOrder {\n  lines: IncomingLine[];\n}",
    ]);
}

#[test]
fn a_name_that_is_there_already_gets_a_number() {
    #[derive(Serialize, JsonSchema)]
    #[schemars(rename = "Item")]
    struct Other {
        item: tell::Item,
        taken: IncomingItem,
        state: State,
    }
    #[derive(Serialize, JsonSchema)]
    struct IncomingItem;
    #[derive(Serialize, JsonSchema)]
    struct State {
        on: bool,
    }
    check::<ask::Item, Other>(&[
        "interface Item {\n  id: number;\n}",
        "interface Item2 {\n  title: string;\n}",
        "interface State2 {\n  on: boolean;\n}",
        "interface IncomingItem2 {\n  item: Item2;\n  state: State2;\n  taken: IncomingItem;\n}",
    ]);
}

#[test]
fn a_field_that_one_side_may_leave_out_is_optional_for_both() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Both {
        #[serde(default)]
        tags: Vec<String>,
        required: bool,
    }
    let expected = "interface Both {\n  required: boolean;\n  tags?: string[];\n}";
    check::<Both, Both>(&[expected, "send(message: Both)", "onMessage(message: Both)"]);
    assert!(!typescript::<Both, Both>().contains("IncomingBoth"));
}

#[test]
fn a_message_may_hold_messages() {
    #[derive(Serialize, JsonSchema)]
    enum Tell {
        Value { n: i64 },
        Batch { messages: Vec<Self> },
    }
    check::<(), Tell>(&["messages: Tell[];"]);
}

#[test]
fn names_with_signs_are_found_by_what_refers_to_them() {
    #[derive(Serialize, JsonSchema)]
    #[schemars(rename = "List<{T}>")]
    struct List<T> {
        item: T,
        next: Option<Box<Self>>,
    }
    #[derive(Serialize, JsonSchema)]
    struct Tell {
        numbers: List<u8>,
    }
    check::<(), Tell>(&["interface List_uint8_ {", "numbers: List_uint8_;"]);
}

#[test]
fn roots_without_a_name_of_their_own_get_one_that_typescript_takes() {
    check::<(), String>(&["type null2 = null;", "type string2 = string;"]);
}

#[test]
fn keys_of_a_map_may_be_numbers() {
    #[derive(Serialize, JsonSchema)]
    struct Tell {
        pages: HashMap<u32, tell::Item>,
        scores: HashMap<i8, Option<u8>>,
    }
    check::<(), Tell>(&[
        "pages: { [key: string]: Item };",
        "scores: { [key: string]: number | null };",
    ]);
}

#[test]
fn maps_need_no_name_that_a_type_may_have() {
    #[derive(Serialize, JsonSchema)]
    struct Tree(HashMap<String, Self>);
    #[derive(Serialize, JsonSchema)]
    struct Record {
        trees: HashMap<String, Tree>,
        link: Url,
    }
    #[derive(Serialize, JsonSchema)]
    #[schemars(rename = "URL")]
    struct Url {
        host: String,
    }
    check::<(), Record>(&[
        "type Tree = { [key: string]: Tree };",
        "interface Record {\n  link: URL2;\n  trees: { [key: string]: Tree };\n}",
        "connect(url: string | URL,",
    ]);
}

#[test]
fn fields_may_stand_beside_a_map() {
    #[derive(Serialize, JsonSchema)]
    struct Page {
        id: u64,
        #[serde(flatten)]
        more: HashMap<String, String>,
    }
    #[derive(Serialize, JsonSchema)]
    struct Shelf {
        #[serde(flatten)]
        kind: Kind,
        #[serde(flatten)]
        pages: HashMap<u32, Page>,
    }
    #[derive(Serialize, JsonSchema)]
    enum Kind {
        Old { since: u16 },
        New { price: u16 },
    }
    check::<(), Shelf>(&[
        "interface Page {\n  id: number;\n  [key: string]: unknown;\n}",
        "& { [key: string]: unknown };",
    ]);
}

#[test]
fn what_is_said_of_a_field_takes_no_parentheses_away() {
    #[derive(Serialize, JsonSchema)]
    struct File {
        id: u64,
        #[serde(flatten)]
        content: Content,
    }
    #[derive(Serialize, JsonSchema)]
    #[serde(tag = "kind")]
    enum Content {
        Small {
            /// Bytes, < 1024.
            size: u64,
        },
        #[serde(rename = "\\\" (large")]
        Large {
            #[serde(rename = "parts <")]
            parts: Vec<Part>,
        },
    }
    #[derive(Serialize, JsonSchema)]
    enum Part {
        #[serde(rename = "|")]
        Bar,
    }
    check::<(), File>(&[
        "export type File = ({\n  kind: \"Small\";\n  /** Bytes, < 1024. */\n",
        "  \"parts <\": Part[];\n}) & {\n  id: number;\n}",
    ]);
}

#[test]
fn what_is_said_of_a_field_adds_no_parentheses() {
    #[derive(Serialize, JsonSchema)]
    struct Tell {
        lists: Vec<Vec<Inline>>,
    }
    #[derive(Serialize, JsonSchema)]
    #[schemars(inline)]
    struct Inline {
        /// One > of | several.
        n: u8,
    }
    check::<(), Tell>(&["    n: number;\n  }[][];"]);
}
