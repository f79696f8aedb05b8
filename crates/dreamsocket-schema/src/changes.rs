//! What has changed between two documents of a protocol, and what of it breaks clients that know the old one.
//!
//! Which change breaks depends on the direction. What clients send may become less strict, what they are sent more. So the
//! two are compared by one rule, with the sides exchanged: whatever was allowed on the writing side must be allowed on the
//! reading side.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde_json::{Map, Value};

use crate::asyncapi::{RECEIVED, SCHEMA, SENT, schema_of};
use crate::reference::pointer;

/// A difference between two versions of a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Whether a client that was made for the old version may fail with the new one.
    pub is_breaking: bool,
    /// Where and what, in words.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_breaking {
            "breaking"
        } else {
            "compatible"
        };
        write!(f, "{kind}: {}", self.what)
    }
}

/// What has changed from the old AsyncAPI document to the new one.
///
/// Clients break by: a message, or a value of one, that they send and that is not taken any more; a field that they
/// have to send now; a field that they were always sent and are not any more; one of another type. New messages, and
/// other alternatives, that they are sent beside those that there were do not break them: a client has to let pass what it
/// does not know.
#[must_use]
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    for (message, who) in [
        (RECEIVED, "what clients send"),
        (SENT, "what clients are sent"),
    ] {
        let pointer = schema_of(message);
        let (Some(old), Some(new)) = (old.pointer(&pointer), new.pointer(&pointer)) else {
            found.push(Change {
                is_breaking: true,
                what: format!("{who}: one of the documents does not say"),
            });
            continue;
        };
        let mut comparison = Comparison {
            old_root: old,
            new_root: new,
            is_sent: message == SENT,
            seen: HashSet::new(),
            found: &mut found,
        };
        comparison.compare(who, old, new);
    }
    found
}

struct Comparison<'a> {
    old_root: &'a Value,
    new_root: &'a Value,
    /// Whether clients are sent it; else they send it.
    is_sent: bool,
    /// Pairs that were compared and that refer to definitions, alone or beside others: those may refer to themselves.
    seen: HashSet<(String, String)>,
    found: &'a mut Vec<Change>,
}

/// What a schema comes to, references followed.
#[derive(Default)]
struct Shape {
    /// One of the alternatives, or the schema itself, says nothing.
    has_any: bool,
    /// The alternatives, by what tells them apart.
    choices: BTreeMap<String, Value>,
    /// Types, constants, and formats of numbers.
    kinds: BTreeSet<String>,
    properties: Map<String, Value>,
    required: BTreeSet<String>,
    /// Of a list or a map.
    items: Option<Value>,
    /// The patterns of a map's keys; without one they may be any.
    keys: BTreeSet<String>,
    /// Fields that are not named are refused (serde's `deny_unknown_fields`).
    is_closed: bool,
}

impl Comparison<'_> {
    fn note(&mut self, is_breaking: bool, what: String) {
        self.found.push(Change { is_breaking, what });
    }

    fn compare(&mut self, place: &str, old: &Value, new: &Value) {
        let is_seen = (is_composed(old) || is_composed(new))
            && !self.seen.insert((old.to_string(), new.to_string()));
        if is_seen && reference(old).is_some() && reference(new).is_some() {
            return;
        }
        let mut before = Shape::default();
        before.add(old, self.old_root, 0);
        let mut after = Shape::default();
        after.add(new, self.new_root, 0);

        match (before.is_any(), after.is_any()) {
            (false, false) => {}
            (true, true) => return,
            (false, true) => {
                return self.note(self.is_sent, format!("{place}: it may be anything now"));
            }
            (true, false) => {
                return self.note(
                    !self.is_sent,
                    format!("{place}: it may not be anything now"),
                );
            }
        }
        for kind in before.kinds.difference(&after.kinds) {
            self.note(!self.is_sent, format!("{place}: {kind} is gone"));
        }
        for kind in after.kinds.difference(&before.kinds) {
            self.note(self.is_sent, format!("{place}: {kind} is new"));
        }
        if is_seen {
            return;
        }
        for (name, old) in &before.choices {
            match after.choices.get(name) {
                Some(new) => self.compare(&format!("{place}, {name}"), old, new),
                None => self.note(!self.is_sent, format!("{place}: {name} is gone")),
            }
        }
        for name in after.choices.keys() {
            if !before.choices.contains_key(name) {
                // Where there were alternatives a client lets pass what it does not know. Elsewhere it looks for none.
                let breaks = self.is_sent && before.choices.is_empty();
                self.note(breaks, format!("{place}: {name} is new"));
            }
        }
        self.compare_properties(place, &before, &after);
        if let (Some(old), Some(new)) = (&before.items, &after.items) {
            if before.keys != after.keys {
                let narrower = if self.is_sent { &before } else { &after };
                self.note(!narrower.keys.is_empty(), format!("{place}: other keys"));
            }
            self.compare(&format!("{place}, each"), old, new);
        }
    }

    fn compare_properties(&mut self, place: &str, before: &Shape, after: &Shape) {
        for (name, old) in &before.properties {
            let field = format!("{place}, field `{name}`");
            let was_required = before.required.contains(name);
            let Some(new) = after.properties.get(name) else {
                let is_missed = self.is_sent && was_required;
                let is_refused = !self.is_sent && after.is_closed;
                self.note(is_missed || is_refused, format!("{field} is gone"));
                continue;
            };
            match (was_required, after.required.contains(name)) {
                (true, false) => self.note(self.is_sent, format!("{field} is optional now")),
                (false, true) => self.note(!self.is_sent, format!("{field} is required now")),
                _ => {}
            }
            self.compare(&field, old, new);
        }
        if after.is_closed && !before.is_closed && !self.is_sent {
            self.note(
                true,
                format!("{place}: fields that are not named are refused now"),
            );
        }
        for name in after.properties.keys() {
            if !before.properties.contains_key(name) {
                let breaks = !self.is_sent && after.required.contains(name);
                self.note(breaks, format!("{place}, field `{name}` is new"));
            }
        }
    }
}

/// What a schema has that does not say which values fit.
const REMARKS: [&str; 10] = [
    "$comment",
    "$defs",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

fn says_nothing(schema: &Value) -> bool {
    match schema {
        Value::Object(schema) => schema.keys().all(|key| REMARKS.contains(&key.as_str())),
        schema => schema == &Value::Bool(true),
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str)
}

/// Whether it is made of others: every way back to itself leads through one that is.
fn is_composed(schema: &Value) -> bool {
    ["$ref", "allOf", "anyOf", "oneOf"]
        .iter()
        .any(|key| schema.get(key).is_some())
}

/// What a reference of a message's schema refers to. It is from the beginning of the document, or of the schema in older ones.
fn resolve<'a>(schema: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = pointer(reference)?;
    let within = pointer.split_once(SCHEMA).map(|(_, within)| within);
    schema.pointer(within.unwrap_or(&pointer))
}

/// How far references are followed on the way to one shape: past it a type refers to itself and to nothing else.
const MAX_DEPTH: usize = 32;

impl Shape {
    /// Whether every value fits. Fields that stand beside say that it has to be an object.
    fn is_any(&self) -> bool {
        self.has_any && self.properties.is_empty()
    }

    fn add(&mut self, schema: &Value, root: &Value, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        self.has_any |= says_nothing(schema);
        if let Some(target) = reference(schema).and_then(|target| resolve(root, target)) {
            self.add(target, root, depth + 1);
        }
        for all in list(schema, "allOf").filter(|all| !says_nothing(all)) {
            self.add(all, root, depth + 1);
        }
        for choice in list(schema, "oneOf").chain(list(schema, "anyOf")) {
            match tag(choice, root) {
                Some(tag) => {
                    // Untagged ones may have nothing that tells them apart but their order.
                    let mut name = tag.clone();
                    let mut number = 2;
                    while self.choices.contains_key(&name) {
                        name = format!("{tag} ({number})");
                        number += 1;
                    }
                    self.choices.insert(name, choice.clone());
                }
                // `null`, or values without fields.
                None => self.add(choice, root, depth + 1),
            }
        }
        match schema.get("type") {
            Some(Value::String(kind)) => self.add_kind(kind, schema),
            Some(Value::Array(kinds)) => {
                for kind in kinds.iter().filter_map(Value::as_str) {
                    self.add_kind(kind, schema);
                }
            }
            _ => {}
        }
        if let Some(Value::Object(properties)) = schema.get("properties") {
            self.properties.extend(properties.clone());
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let is_closed = |key| schema.get(key) == Some(&Value::Bool(false));
        self.is_closed |= patterns.is_none()
            && (is_closed("additionalProperties") || is_closed("unevaluatedProperties"));
        let required = list(schema, "required").filter_map(Value::as_str);
        self.required.extend(required.map(str::to_owned));
        for key in ["items", "additionalProperties"] {
            if let Some(items @ (Value::Object(_) | Value::Bool(true))) = schema.get(key) {
                self.items = Some(items.clone());
            }
        }
        // Keys that are numbers: schemars writes one pattern.
        for (pattern, values) in patterns.into_iter().flatten() {
            self.keys.insert(pattern.clone());
            self.items = Some(values.clone());
        }
        for (place, item) in list(schema, "prefixItems").enumerate() {
            self.properties.insert(place.to_string(), item.clone());
            self.required.insert(place.to_string());
        }
    }

    fn add_kind(&mut self, kind: &str, schema: &Value) {
        let values: Vec<_> = list(schema, "enum").chain(schema.get("const")).collect();
        if values.is_empty() {
            let format = schema.get("format").and_then(Value::as_str);
            self.kinds.insert(match format {
                Some(format) => format!("{kind} ({format})"),
                None => kind.to_owned(),
            });
        } else {
            self.kinds.extend(values.iter().map(ToString::to_string));
        }
    }
}

fn list<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let list = schema.get(key).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// What tells an alternative with fields from the others: the constants among its fields, or the names of those that it has to
/// have.
fn tag(choice: &Value, root: &Value) -> Option<String> {
    let target = reference(choice).and_then(|target| resolve(root, target));
    let choice = match choice.get("properties") {
        Some(_) => choice,
        None => target.unwrap_or(choice),
    };
    let properties = choice.get("properties")?.as_object()?;
    let constants = properties.iter().filter_map(|(name, schema)| {
        let constant = schema.get("const")?;
        Some(format!("{name} {constant}"))
    });
    let constants: Vec<_> = constants.collect();
    if !constants.is_empty() {
        return Some(constants.join(", "));
    }
    let required = list(choice, "required").map(ToString::to_string);
    Some(required.collect::<Vec<_>>().join(", "))
}
