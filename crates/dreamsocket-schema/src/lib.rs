//! What the other side of a WebSocket needs to know of it, made from its Rust types: a JavaScript module with a small
//! client that connects again by itself, its TypeScript types, and an [AsyncAPI](https://www.asyncapi.com) 3 document.
//!
//! The types are those of a connection with typed messages (`dreamsocket::typed`), with schemars' `JsonSchema`
//! derived. A program of a few lines beside the server writes the files, which are committed; in CI the same program
//! fails when they are stale, or when a change breaks clients that are out there.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use dreamsocket_schema::Protocol;
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(tag = "type", rename_all = "snake_case")]
//! enum Ask { Add { a: i64, b: i64 } }
//!
//! #[derive(Serialize, JsonSchema)]
//! #[serde(tag = "type", rename_all = "snake_case")]
//! enum Tell { Sum { sum: i64 } }
//!
//! /// `cargo run --bin protocol` writes calculator.js, calculator.d.ts and calculator.asyncapi.json.
//! fn main() -> ExitCode {
//!     Protocol::new::<Ask, Tell>("calculator", "1.0.0").with_path("/calculate").main("web")
//! }
//! ```
//!
//! Messages are JSON in text messages. Types that are generated: structs, enums in all four of serde's shapes, options,
//! lists, maps, tuples, and what refers to itself.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod asyncapi;
mod changes;
mod command;
mod names;
mod reference;
mod typescript;

use std::path::{Path, PathBuf};
use std::{fs, io};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

pub use self::changes::{Change, changes};

/// The client, as it is: it knows no types.
const CLIENT: &str = include_str!("client.js");

/// What a server and its clients say to each other.
#[derive(Debug, Clone)]
pub struct Protocol {
    name: String,
    version: String,
    path: String,
    /// What clients send.
    received: Schema,
    /// What they are sent.
    sent: Schema,
}

/// A file that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// Its name, without a folder.
    pub name: String,
    /// What is in it.
    pub content: String,
}

impl Protocol {
    /// A protocol in which clients send `In` and are sent `Out`.
    ///
    /// `name` is that of the files, and the title. The version is the protocol's own.
    #[must_use]
    pub fn new<In: JsonSchema, Out: JsonSchema>(
        name: impl Into<String>,
        version: impl Into<String>,
    ) -> Self {
        let received = SchemaSettings::draft2020_12().for_deserialize();
        let sent = SchemaSettings::draft2020_12().for_serialize();
        Self {
            name: name.into(),
            version: version.into(),
            path: "/".to_owned(),
            received: received.into_generator().into_root_schema_for::<In>(),
            sent: sent.into_generator().into_root_schema_for::<Out>(),
        }
    }

    /// Where the server is asked for it: `/`, unless it is told otherwise.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The client's module, in JavaScript.
    #[must_use]
    pub fn javascript(&self) -> String {
        format!("{}\n\n{CLIENT}", self.notice("//"))
    }

    /// The types of that module, in TypeScript.
    #[must_use]
    pub fn typescript(&self) -> String {
        let types = typescript::module(&self.received, &self.sent);
        format!("{}\n{types}", self.notice("//"))
    }

    /// The protocol as AsyncAPI 3.0.0 has it.
    #[must_use]
    pub fn asyncapi(&self) -> Value {
        asyncapi::document(
            &self.name,
            &self.version,
            &self.path,
            &self.received,
            &self.sent,
        )
    }

    /// All of it.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        let document = serde_json::to_string_pretty(&self.asyncapi()).unwrap_or_default();
        let file = |ending: &str, content: String| File {
            name: format!("{}.{ending}", self.name),
            content,
        };
        vec![
            file("js", self.javascript()),
            file("d.ts", self.typescript()),
            file("asyncapi.json", document + "\n"),
        ]
    }

    /// Writes the files into a folder that is there.
    ///
    /// # Errors
    ///
    /// When one cannot be written.
    pub fn write(&self, folder: impl AsRef<Path>) -> io::Result<()> {
        for file in self.files() {
            fs::write(folder.as_ref().join(file.name), file.content)?;
        }
        Ok(())
    }

    /// Those of the files in the folder that are missing, or not what they would be if they were written now.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub fn stale(&self, folder: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
        let mut stale = Vec::new();
        for file in self.files() {
            let path = folder.as_ref().join(file.name);
            match fs::read_to_string(&path) {
                Ok(content) if content == file.content => {}
                Ok(_) => stale.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => stale.push(path),
                Err(error) => return Err(error),
            }
        }
        Ok(stale)
    }

    fn notice(&self, comment: &str) -> String {
        format!(
            "{comment} The {} protocol, version {}. Written by dreamsocket-schema from the Rust types: change those, and run it \
             again.",
            self.name, self.version
        )
    }
}
