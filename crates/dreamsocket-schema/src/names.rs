//! What types are called in TypeScript, where both directions share one module.
//!
//! A schema does not say which module of Rust a type is from, and serde may read a type in another shape than it writes. So
//! two types of one name are one only if they look alike.

use std::collections::{BTreeMap, BTreeSet};

use schemars::Schema;
use serde_json::Value;

use crate::reference::{pointer, pointer_to, redirect};
use crate::typescript::{ANY, declare, plain};

/// What cannot be declared, or is declared or used by the module itself.
const TAKEN: [&str; 17] = [
    "Connection",
    "Handlers",
    "State",
    "URL",
    "any",
    "bigint",
    "boolean",
    "connect",
    "never",
    "null",
    "number",
    "object",
    "string",
    "symbol",
    "undefined",
    "unknown",
    "void",
];

/// The types of both directions.
pub(crate) struct Types {
    /// The name of what clients send.
    pub(crate) outgoing: String,
    /// The name of what they are sent.
    pub(crate) incoming: String,
    /// All types. What would be a reference is the name of what it refers to.
    pub(crate) by_name: BTreeMap<String, Value>,
}

impl Types {
    pub(crate) fn new(received: &Schema, sent: &Schema) -> Self {
        let outgoing = Direction::new(received, "Outgoing");
        let incoming = Direction::new(sent, "Incoming");
        // What is found to differ gets two names, by which what refers to it may differ, too.
        let mut apart = BTreeSet::new();
        loop {
            let incoming = incoming.apart(&apart, &outgoing);
            let mut by_name = outgoing.by_name();
            let sent = incoming.by_name();
            let found = apart.len();
            for (name, sent) in sent {
                let Some(received) = by_name.get(&name) else {
                    by_name.insert(name, sent);
                    continue;
                };
                // What a client may leave out the server always sends. The looser holds for both.
                let (loose, other) = (loosened(received, &sent), loosened(&sent, received));
                if declared(&name, &loose) == declared(&name, &other) {
                    by_name.insert(name, loose);
                } else {
                    apart.insert(name);
                }
            }
            if apart.len() == found {
                return Self {
                    outgoing: outgoing.root_name(),
                    incoming: incoming.root_name(),
                    by_name,
                };
            }
        }
    }
}

/// The types of one direction, by their pointers; that of the root is empty.
#[derive(Clone)]
struct Direction {
    names: BTreeMap<String, String>,
    schemas: BTreeMap<String, Schema>,
}

impl Direction {
    fn new(root: &Schema, otherwise: &str) -> Self {
        let mut root = root.clone();
        let title = root.get("title").and_then(Value::as_str);
        let title = title.unwrap_or(otherwise).to_owned();
        let definitions = match root.remove("$defs") {
            Some(Value::Object(definitions)) => definitions,
            _ => serde_json::Map::new(),
        };
        let mut direction = Self {
            names: BTreeMap::new(),
            schemas: BTreeMap::new(),
        };
        let mut taken = TAKEN.map(str::to_owned).into();
        direction.insert(String::new(), &title, root, &mut taken);
        for (name, schema) in definitions {
            if let Ok(schema) = Schema::try_from(schema) {
                direction.insert(pointer_to(&name), &name, schema, &mut taken);
            }
        }
        direction
    }

    fn insert(
        &mut self,
        pointer: String,
        name: &str,
        schema: Schema,
        taken: &mut BTreeSet<String>,
    ) {
        self.names
            .insert(pointer.clone(), free(&plain(name), taken));
        self.schemas.insert(pointer, schema);
    }

    /// With other names for those that are `apart` from the other direction's.
    fn apart(&self, apart: &BTreeSet<String>, other: &Self) -> Self {
        let mut direction = self.clone();
        let names = self.names.values().chain(other.names.values());
        let mut taken = names.cloned().collect();
        for name in direction.names.values_mut() {
            if apart.contains(name) {
                *name = free(&format!("Incoming{name}"), &mut taken);
            }
        }
        direction
    }

    fn root_name(&self) -> String {
        self.names.get("").cloned().unwrap_or_default()
    }

    fn by_name(&self) -> BTreeMap<String, Value> {
        let named = self.names.iter().filter_map(|(pointer, name)| {
            let mut schema = self.schemas.get(pointer)?.clone();
            redirect(&mut schema, |reference| self.name_of(reference));
            Some((name.clone(), schema.to_value()))
        });
        named.collect()
    }

    fn name_of(&self, reference: &str) -> String {
        let name = pointer(reference).and_then(|pointer| self.names.get(&*pointer));
        name.map_or_else(|| ANY.to_owned(), Clone::clone)
    }
}

/// The name, with a number if it is there already.
fn free(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut free = name.to_owned();
    let mut number = 2;
    while !taken.insert(free.clone()) {
        free = format!("{name}{number}");
        number += 1;
    }
    free
}

fn declared(name: &str, schema: &Value) -> String {
    let mut text = String::new();
    declare(&mut text, name, schema);
    text
}

/// One of two schemas, in which only those fields are required that the other requires, too.
fn loosened(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let loosened = one.iter().map(|(key, value)| {
                let other = other.get(key).unwrap_or(&Value::Null);
                let value = match value {
                    // And not a field that has this name.
                    Value::Array(required) if key == "required" => {
                        let is_shared = |field: &&Value| {
                            other.as_array().is_some_and(|other| other.contains(field))
                        };
                        required.iter().filter(is_shared).cloned().collect()
                    }
                    _ => loosened(value, other),
                };
                (key.clone(), value)
            });
            Value::Object(loosened.collect())
        }
        (Value::Array(one), Value::Array(other)) => {
            let others = other.iter().chain(std::iter::repeat(&Value::Null));
            one.iter()
                .zip(others)
                .map(|(one, other)| loosened(one, other))
                .collect()
        }
        _ => one.clone(),
    }
}
