//! What a schema comes to when its references are followed and its parts are put together. It knows one document; what
//! differs between two is for `changes`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use serde_json::{Map, Value};

use crate::asyncapi::SCHEMA;
use crate::reference::pointer;

/// What a schema comes to, references followed.
#[derive(Default)]
pub(super) struct Shape {
    /// One of the alternatives, or the schema itself, says nothing.
    has_any: bool,
    /// The alternatives that are objects, by what tells them apart.
    pub(super) choices: BTreeMap<String, Self>,
    /// Types, constants, and formats of numbers.
    pub(super) kinds: BTreeSet<String>,
    pub(super) properties: Map<String, Value>,
    pub(super) required: BTreeSet<String>,
    /// Of a list or a map.
    pub(super) items: Option<Value>,
    pub(super) lengths: Lengths,
    /// The patterns of a map's keys; without one they may be any.
    pub(super) keys: BTreeSet<String>,
    /// Fields that are not named are refused (serde's `deny_unknown_fields`).
    pub(super) is_closed: bool,
}

/// How many items lists have, of each alternative that is one; `None` is any number.
pub(super) type Lengths = BTreeSet<Option<u64>>;

impl Shape {
    pub(super) fn of(schema: &Value, root: &Value) -> Self {
        let mut shape = Self::default();
        shape.add(schema, root, &mut Vec::new());
        shape
    }

    /// Whether every value fits. Fields that stand beside say that it has to be an object.
    pub(super) fn is_any(&self) -> bool {
        self.has_any && self.properties.is_empty()
    }

    /// Has what is an object alone be the one alternative, if the other has it, or something like it, among its alternatives.
    pub(super) fn stand_among_choices_of(&mut self, other: &Self) {
        let is_alone = self.choices.is_empty() && self.is_object();
        if !is_alone || !other.properties.is_empty() {
            return;
        }
        let is_same = other.choices.contains_key(&self.name());
        if !is_same
            && other
                .choices
                .values()
                .all(|choice| self.likeness(choice) == 0)
        {
            return;
        }
        let mut alone = mem::take(self);
        let (objects, others) = mem::take(&mut alone.kinds)
            .into_iter()
            .partition(|kind| kind == OBJECT);
        alone.kinds = objects;
        self.kinds = others;
        self.insert_choice(alone);
    }

    /// Has a list say of each place what it says of all, if the other is a tuple.
    pub(super) fn name_places_of(&mut self, other: &Self) {
        let is_list = |shape: &Self| shape.kinds.contains(ARRAY) && !shape.kinds.contains(OBJECT);
        let is_tuple = |shape: &Self| is_list(shape) && !shape.properties.is_empty();
        if !is_list(self) || is_tuple(self) || !is_tuple(other) {
            return;
        }
        let Some(item) = self.items.take() else {
            return;
        };
        for place in other.properties.keys() {
            self.properties.insert(place.clone(), item.clone());
            let index = place.parse().ok();
            if self.lengths.iter().all(|length| *length > index) {
                self.required.insert(place.clone());
            }
        }
    }

    /// Whether it has fields of its own. Those of a tuple are not.
    fn is_object(&self) -> bool {
        !self.properties.is_empty() && !self.kinds.contains(ARRAY)
    }

    /// What tells an object from other alternatives: the constants among its fields, or the names of those that it has to have.
    fn name(&self) -> String {
        let constants = self.constants();
        let required = self.required.iter().map(|name| format!("\"{name}\""));
        let words: Vec<_> = match constants.is_empty() {
            true => required.collect(),
            false => constants.into_iter().collect(),
        };
        words.join(", ")
    }

    fn constants(&self) -> BTreeSet<String> {
        let constants = self.properties.iter().filter_map(|(name, schema)| {
            let constant = schema.get("const")?;
            Some(format!("{name} {constant}"))
        });
        constants.collect()
    }

    /// How many fields two have in common that have no constants, by which they would be known.
    fn likeness(&self, other: &Self) -> usize {
        if !self.constants().is_empty() || !other.constants().is_empty() {
            return 0;
        }
        let names = self.properties.keys();
        names
            .filter(|name| other.properties.contains_key(*name))
            .count()
    }

    fn insert_choice(&mut self, choice: Self) {
        let name = choice.name();
        self.insert_choice_as(&name, choice);
    }

    fn insert_choice_as(&mut self, name: &str, choice: Self) {
        // Untagged ones may have nothing that tells them apart but their order.
        let mut free = name.to_owned();
        let mut number = 2;
        while self.choices.contains_key(&free) {
            free = format!("{name} ({number})");
            number += 1;
        }
        self.choices.insert(free, choice);
    }

    /// References that are `followed` are not again: there a type refers to itself and to nothing else.
    fn add<'a>(&mut self, schema: &'a Value, root: &'a Value, followed: &mut Vec<&'a str>) {
        self.has_any |= says_nothing(schema);
        if let Some(reference) = reference(schema)
            && !followed.contains(&reference)
            && let Some(target) = resolve(root, reference)
        {
            followed.push(reference);
            self.add(target, root, followed);
            followed.pop();
        }
        for all in list(schema, "allOf").filter(|all| !says_nothing(all)) {
            self.add(all, root, followed);
        }
        for key in ["oneOf", "anyOf"] {
            self.add_choices(list(schema, key).collect(), root, followed);
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

    fn add_choices<'a>(
        &mut self,
        choices: Vec<&'a Value>,
        root: &'a Value,
        followed: &mut Vec<&'a str>,
    ) {
        // An `Option`: what there may be stands as if it were alone, beside null.
        let is_null = |choice: &&Value| choice.get("type").is_some_and(|kind| kind == "null");
        let is_option = choices.len() == 2 && choices.iter().any(is_null);
        for choice in choices {
            let mut shape = Self::default();
            shape.add(choice, root, followed);
            if shape.is_object() && !is_option {
                self.insert_choice(shape);
            } else {
                self.absorb(shape);
            }
        }
    }

    /// What fits the other fits, too.
    fn absorb(&mut self, other: Self) {
        self.has_any |= other.has_any;
        for (name, choice) in other.choices {
            self.insert_choice_as(&name, choice);
        }
        self.kinds.extend(other.kinds);
        self.properties.extend(other.properties);
        self.required.extend(other.required);
        self.items = other.items.or_else(|| self.items.take());
        self.lengths.extend(other.lengths);
        self.keys.extend(other.keys);
        self.is_closed |= other.is_closed;
    }

    fn add_kind(&mut self, kind: &str, schema: &Value) {
        if kind == ARRAY {
            let bound = |key| schema.get(key).and_then(Value::as_u64);
            let least = bound("minItems");
            self.lengths
                .insert(least.filter(|_| least == bound("maxItems")));
        }
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

/// Which alternatives of two versions are the same: those of one name, and then those that are most alike, each once.
pub(super) fn pairs(
    old: &BTreeMap<String, Shape>,
    new: &BTreeMap<String, Shape>,
) -> Vec<(String, String)> {
    let is_in = |others: &BTreeMap<String, Shape>, name: &String| others.contains_key(name);
    let same = old.keys().filter(|name| is_in(new, name));
    let mut pairs: Vec<_> = same.map(|name| (name.clone(), name.clone())).collect();
    let mut gone: Vec<_> = old.iter().filter(|(name, _)| !is_in(new, name)).collect();
    let mut added: Vec<_> = new.iter().filter(|(name, _)| !is_in(old, name)).collect();
    loop {
        let likeness = gone.iter().enumerate().flat_map(|(i, (_, old))| {
            let added = added.iter().enumerate();
            added.map(move |(j, (_, new))| (old.likeness(new), i, j))
        });
        match likeness.min_by_key(|(likeness, ..)| Reverse(*likeness)) {
            Some((1.., i, j)) => {
                let ((old, _), (new, _)) = (gone.remove(i), added.remove(j));
                pairs.push((old.clone(), new.clone()));
            }
            _ => return pairs,
        }
    }
}

const ARRAY: &str = "array";
const OBJECT: &str = "object";

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

pub(super) fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str)
}

/// Whether it is made of others: every way back to itself leads through one that is.
pub(super) fn is_composed(schema: &Value) -> bool {
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

fn list<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let list = schema.get(key).and_then(Value::as_array);
    list.into_iter().flatten()
}
