//! JSON Schema, as schemars writes it, as TypeScript.

use std::fmt::Write as _;
use std::str::Chars;

use schemars::Schema;
use serde_json::{Map, Value};

use crate::names::Types;

/// The part that is the same for all protocols, with two names to fill in.
const CLIENT: &str = include_str!("client.d.ts");

pub(crate) const ANY: &str = "unknown";

/// A map beside fields. These are among its keys for TypeScript, so that another type would have to fit them, too.
const BESIDE_FIELDS: &str = "[key: string]: unknown";

/// All types, and the client's.
pub(crate) fn module(received: &Schema, sent: &Schema) -> String {
    let types = Types::new(received, sent);
    let mut text = String::new();
    for (name, schema) in &types.by_name {
        text.push('\n');
        declare(&mut text, name, schema);
    }
    text + &CLIENT
        .replace("INCOMING", &types.incoming)
        .replace("OUTGOING", &types.outgoing)
}

/// A name that TypeScript takes: generic types of Rust have others.
pub(crate) fn plain(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(fits).collect()
}

/// A type, in whose schema each reference is the name of what it refers to.
pub(crate) fn declare(text: &mut String, name: &str, schema: &Value) {
    comment(text, "", schema);
    match plain_object(schema) {
        Some(object) => {
            let _ = writeln!(text, "export interface {name} {}", object_type(object, ""));
        }
        None => match choices(schema) {
            Some(choices) => {
                let _ = write!(text, "export type {name} =");
                for choice in choices {
                    text.push('\n');
                    comment(text, "  ", choice);
                    let _ = write!(text, "  | {}", type_of(choice, "  "));
                }
                text.push_str(";\n");
            }
            None => {
                let _ = writeln!(text, "export type {name} = {};", type_of(schema, ""));
            }
        },
    }
}

/// The alternatives of a type that is nothing else.
fn choices(schema: &Value) -> Option<&Vec<Value>> {
    let object = schema.as_object()?;
    let is_more = ["type", "properties", "$ref", "allOf"]
        .iter()
        .any(|key| object.contains_key(*key));
    let choices = object.get("oneOf").or_else(|| object.get("anyOf"))?;
    choices.as_array().filter(|_| !is_more)
}

/// An object with properties of its own and nothing else.
fn plain_object(schema: &Value) -> Option<&Map<String, Value>> {
    let object = schema.as_object()?;
    let is_more = ["$ref", "oneOf", "anyOf", "allOf"]
        .iter()
        .any(|key| object.contains_key(*key));
    (object.contains_key("properties") && !is_more).then_some(object)
}

fn comment(text: &mut String, indent: &str, schema: &Value) {
    let Some(description) = schema.get("description").and_then(Value::as_str) else {
        return;
    };
    let description = description.replace("*/", "* /");
    let lines: Vec<_> = description.lines().collect();
    if let [line] = lines[..] {
        let _ = writeln!(text, "{indent}/** {line} */");
        return;
    }
    let _ = writeln!(text, "{indent}/**");
    for line in lines {
        let _ = writeln!(text, "{indent} * {line}");
    }
    let _ = writeln!(text, "{indent} */");
}

fn type_of(schema: &Value, indent: &str) -> String {
    let Value::Object(object) = schema else {
        // `true` and `false`.
        return if schema == &Value::Bool(false) {
            "never"
        } else {
            ANY
        }
        .to_owned();
    };
    // What is said beside each other holds together.
    let mut parts = Vec::new();
    if let Some(name) = object.get("$ref").and_then(Value::as_str) {
        parts.push(name.to_owned());
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(Value::Array(choices)) = object.get(key) {
            parts.push(union(choices.iter().map(|choice| type_of(choice, indent))));
        }
    }
    if let Some(Value::Array(all)) = object.get("allOf") {
        parts.extend(all.iter().map(|one| group(type_of(one, indent))));
    }
    if let Some(constant) = object.get("const") {
        parts.push(constant.to_string());
    } else if let Some(Value::Array(values)) = object.get("enum") {
        parts.push(union(values.iter().map(ToString::to_string)));
    } else if let Some(kind) = kind_of(object, indent, parts.is_empty()) {
        parts.push(kind);
    }
    match parts.len() {
        0 => ANY.to_owned(),
        1 => parts.remove(0),
        _ => parts.into_iter().map(group).collect::<Vec<_>>().join(" & "),
    }
}

/// By its `type`; nothing for an object that says nothing that is not said already.
fn kind_of(object: &Map<String, Value>, indent: &str, is_alone: bool) -> Option<String> {
    match object.get("type") {
        Some(Value::String(kind)) => {
            if is_alone || kind != "object" || object.contains_key("properties") {
                return Some(of_kind(kind, object, indent));
            }
            map_values(object, indent).map(|_| format!("{{ {BESIDE_FIELDS} }}"))
        }
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            Some(union(kinds.map(|kind| of_kind(kind, object, indent))))
        }
        _ if object.contains_key("properties") => Some(object_type(object, indent)),
        _ => None,
    }
}

fn of_kind(kind: &str, object: &Map<String, Value>, indent: &str) -> String {
    match kind {
        "string" | "boolean" | "null" => kind.to_owned(),
        "integer" | "number" => "number".to_owned(),
        "array" => array_type(object, indent),
        "object" => object_type(object, indent),
        _ => ANY.to_owned(),
    }
}

fn array_type(object: &Map<String, Value>, indent: &str) -> String {
    if let Some(Value::Array(items)) = object.get("prefixItems") {
        let items: Vec<_> = items.iter().map(|item| type_of(item, indent)).collect();
        return format!("[{}]", items.join(", "));
    }
    let item = object.get("items");
    let item = item.map_or_else(|| ANY.to_owned(), |item| type_of(item, indent));
    format!("{}[]", group(item))
}

fn object_type(object: &Map<String, Value>, indent: &str) -> String {
    let properties = object.get("properties").and_then(Value::as_object);
    let values = map_values(object, indent);
    let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
        let is_closed = object.get("additionalProperties") == Some(&Value::Bool(false));
        let otherwise = if is_closed { "never" } else { ANY };
        let values = values.unwrap_or_else(|| otherwise.to_owned());
        return format!("{{ [key: string]: {values} }}");
    };
    let required: Vec<_> = match object.get("required") {
        Some(Value::Array(required)) => required.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let inner = format!("{indent}  ");
    let mut text = "{\n".to_owned();
    for (name, schema) in properties {
        comment(&mut text, &inner, schema);
        let optional = if required.contains(&name.as_str()) {
            ""
        } else {
            "?"
        };
        let key = if plain(name) == *name && !name.starts_with(|c: char| c.is_ascii_digit()) {
            name.clone()
        } else {
            Value::from(name.as_str()).to_string()
        };
        let _ = writeln!(text, "{inner}{key}{optional}: {};", type_of(schema, &inner));
    }
    if values.is_some() {
        let _ = writeln!(text, "{inner}{BESIDE_FIELDS};");
    }
    text + indent + "}"
}

/// What an object has under keys that are not its fields: keys that are numbers have a pattern.
fn map_values(object: &Map<String, Value>, indent: &str) -> Option<String> {
    let patterns = object.get("patternProperties").and_then(Value::as_object);
    let others = object.get("additionalProperties");
    let others = others.filter(|others| **others != Value::Bool(false));
    let values = patterns.into_iter().flat_map(Map::values).chain(others);
    let types: Vec<_> = values.map(|value| type_of(value, indent)).collect();
    (!types.is_empty()).then(|| union(types.into_iter()))
}

fn union(choices: impl Iterator<Item = String>) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for choice in choices {
        if !distinct.contains(&choice) {
            distinct.push(choice);
        }
    }
    match &distinct[..] {
        [] => "never".to_owned(),
        [one] => one.clone(),
        _ => distinct.join(" | "),
    }
}

/// In parentheses, if what stands around it would take only a part.
fn group(text: String) -> String {
    let mut depth = 0_u32;
    let mut is_split = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            // What stands in comments and strings is no bracket.
            '/' if chars.as_str().starts_with('*') => {
                let rest = chars.as_str().split_once("*/");
                chars = rest.map_or("", |(_, rest)| rest).chars();
            }
            '"' => skip_string(&mut chars),
            '{' | '[' | '(' | '<' => depth += 1,
            '}' | ']' | ')' | '>' => depth = depth.saturating_sub(1),
            '|' | '&' if depth == 0 => is_split = true,
            _ => {}
        }
    }
    if is_split { format!("({text})") } else { text }
}

/// Past the quotation mark that ends a string.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '"' => return,
            _ => {}
        }
    }
}
