//! The protocol as an AsyncAPI 3 document: one channel, on which the server receives one kind of message and sends another.

use schemars::Schema;
use serde_json::{Map, Value, json};

use crate::reference::redirect;

pub(crate) const RECEIVED: &str = "received";
pub(crate) const SENT: &str = "sent";

/// Where a message has its schema.
pub(crate) const SCHEMA: &str = "/payload/schema";

/// The pointer to a message's schema.
pub(crate) fn schema_of(message: &str) -> String {
    format!("/channels/socket/messages/{message}{SCHEMA}")
}

pub(crate) fn document(
    name: &str,
    version: &str,
    path: &str,
    received: &Schema,
    sent: &Schema,
) -> Value {
    let mut messages = Map::new();
    for (key, schema) in [(RECEIVED, received), (SENT, sent)] {
        // What is a document of its own for schemars is a part of one here.
        let mut schema = schema.clone();
        redirect(&mut schema, |reference| match reference.strip_prefix('#') {
            Some(pointer) => format!("#{}{pointer}", schema_of(key)),
            None => reference.to_owned(),
        });
        messages.insert(
            key.to_owned(),
            json!({
                "contentType": "application/json",
                "payload": {
                    "schemaFormat": "application/schema+json;version=draft-2020-12",
                    "schema": schema,
                },
            }),
        );
    }
    let operation = |action: &str, message: &str| {
        json!({
            "action": action,
            "channel": { "$ref": "#/channels/socket" },
            "messages": [{ "$ref": format!("#/channels/socket/messages/{message}") }],
        })
    };
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": name, "version": version },
        "channels": {
            "socket": {
                "address": path,
                "bindings": { "ws": { "method": "GET", "bindingVersion": "0.1.0" } },
                "messages": messages,
            },
        },
        "operations": {
            "receive": operation("receive", RECEIVED),
            "send": operation("send", SENT),
        },
    })
}
