//! The stream that keeps a prefix's history: made if it is not there, never changed.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_nats::Client;
use serde_json::{Value, json};
use tokio::time;

use super::PATIENCE;
use crate::history::History;
use crate::nats::{subject_prefix, token_of};
use crate::remote::options::RemoteOptions;

/// No topic's token has a `$` in it.
const SUBJECTS: &str = "$kept.";

/// So many messages of a topic the stream keeps beyond those that were asked for. Who receives live reads the stream, too, and
/// would lose what goes while it is behind: a burst that is longer than the history, say.
pub(super) const BEYOND: usize = 1_000;

/// The stream's own memory of names, which catches what is published again.
const DUPLICATES: Duration = Duration::from_secs(120);

/// Why nothing can be kept.
#[derive(Debug)]
pub(in crate::nats) enum StoreError {
    /// The server was started without it, or the account may not use it.
    NoJetStream,
    /// It was asked and said no.
    Refused(String),
    /// It gave no answer that can be read.
    NoAnswer,
}

/// The stream.
#[derive(Clone)]
pub(in crate::nats) struct Store {
    pub(super) client: Client,
    pub(super) stream: String,
    pub(super) prefix: String,
    config: Value,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoJetStream => f.write_str(
                "history needs JetStream, which this server or account has not: start nats-server with -js",
            ),
            Self::Refused(why) => write!(f, "JetStream does not keep history as asked: {why}"),
            Self::NoAnswer => f.write_str("JetStream gives no answer"),
        }
    }
}

impl Error for StoreError {}

impl Store {
    pub(in crate::nats) fn new(
        client: &Client,
        history: &History,
        options: &RemoteOptions,
    ) -> Self {
        let prefix = subject_prefix(&options.prefix) + SUBJECTS;
        let stream = format!("{}_kept", token_of(&options.prefix));
        let max_age = nanos(history.max_age);
        let config = json!({
            "name": stream,
            "description": "what topics of dreamsocket keep of what they have said",
            "subjects": [format!("{prefix}*")],
            "retention": "limits",
            "discard": "old",
            "max_consumers": -1,
            "max_msgs": -1,
            // And one more: who has everything but these misses nothing, and is to be known by the one before.
            "max_msgs_per_subject": history.count + 1 + BEYOND,
            "max_bytes": i64::try_from(options.history_bytes).unwrap_or(i64::MAX),
            "max_age": max_age,
            "max_msg_size": -1,
            "storage": if options.is_history_in_memory { "memory" } else { "file" },
            "num_replicas": 1,
            "duplicate_window": nanos(DUPLICATES).min(max_age),
        });
        Self {
            client: client.clone(),
            stream,
            prefix,
            config,
        }
    }

    /// Makes the stream if there is none, and gives its life.
    pub(in crate::nats) async fn ensure(&self) -> Result<u64, StoreError> {
        let subject = format!("$JS.API.STREAM.CREATE.{}", self.stream);
        let request = self.client.request(subject, self.config.to_string().into());
        let answer = match time::timeout(PATIENCE, request).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => {
                return Err(StoreError::NoJetStream);
            }
            Ok(Err(_)) | Err(_) => return Err(StoreError::NoAnswer),
        };
        let answer = read(&answer.payload).map_err(|why| match why {
            Some(why) => StoreError::Refused(why),
            None => StoreError::NoAnswer,
        })?;
        life(&answer).ok_or(StoreError::NoAnswer)
    }
}

/// One life of a stream: when it was made, to the nanosecond. None is made twice at one time.
fn life(answer: &Value) -> Option<u64> {
    let created = answer["created"].as_str()?;
    Some(created.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

/// Whether JetStream, asked for the stream, says that it is gone, or has another life. That it cannot tell means nothing.
pub(super) fn is_gone(payload: &[u8], known: u64) -> bool {
    const NOT_FOUND: u64 = 404;
    let Ok(answer) = serde_json::from_slice::<Value>(payload) else {
        return false;
    };
    answer["error"]["code"] == NOT_FOUND || life(&answer).is_some_and(|life| life != known)
}

pub(super) fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// An answer of JetStream's, or what it says is wrong, if it says so.
pub(super) fn read(payload: &[u8]) -> Result<Value, Option<String>> {
    let answer: Value = serde_json::from_slice(payload).map_err(|_| None)?;
    match answer.get("error") {
        Some(error) => Err(Some(
            error["description"].as_str().unwrap_or("error").to_owned(),
        )),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b5_a_stream_is_gone_if_jetstream_says_so_or_it_was_made_at_another_time() {
        let known = life(&json!({ "created": "2026-01-01T00:00:00.1Z" })).unwrap();
        for (answer, expected) in [
            (r#"{"created":"2026-01-01T00:00:00.1Z"}"#, false),
            (r#"{"created":"2026-01-01T00:00:00.2Z"}"#, true),
            (
                r#"{"error":{"code":404,"description":"stream not found"}}"#,
                true,
            ),
            (
                r#"{"error":{"code":503,"description":"unavailable"}}"#,
                false,
            ),
            ("{}", false),
            ("", false),
        ] {
            assert_eq!(is_gone(answer.as_bytes(), known), expected, "{answer}");
        }
    }
}
