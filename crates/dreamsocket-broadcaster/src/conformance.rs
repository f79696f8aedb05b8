//! Cases that every engine has to pass: run them on one of your own, a [`Link`](crate::link::Link) to another broker, say.
//!
//! They are the contract's promises B1 to B3, B5 and B7, seen from outside: what is published on one node is received, or told
//! as missed, on all of them. Whoever runs them says how nodes are made, by [`Space`], and gets a [`Report`]. Those of
//! presence (B8), for a link and a [`Store`](crate::link::Store), are run by [`run_presence`].
//!
//! ```
//! use dreamsocket_broadcaster::Broadcaster;
//! use dreamsocket_broadcaster::conformance::{self, Note, Space};
//!
//! /// The in-process engine: one node, to which everybody has a handle.
//! struct InProcess(Broadcaster<Note>);
//!
//! impl Space for InProcess {
//!     async fn node(&self) -> Broadcaster<Note> {
//!         self.0.clone()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let report = conformance::run(&InProcess(Broadcaster::new())).await;
//! println!("{report}");
//! assert!(report.is_passed());
//! # }
//! ```

mod channels;
mod faults;
mod history;
mod messages;
mod nodes;
mod ordering;
mod presence;
mod publishing;
mod support;

use std::fmt;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::broadcaster::Broadcaster;
use crate::conformance::support::Stage;
pub use presence::{Cable, PresenceSpace, run_presence};

/// Where the cases take place: one set of topics, and nodes that share it.
pub trait Space: Send + Sync {
    /// A new node, connected. With an engine that does not leave the process: another handle of the same one.
    fn node(&self) -> impl Future<Output = Broadcaster<Note>> + Send;

    /// Breaks the connections of all nodes, as a broker does that is restarted, and returns when it takes connections
    /// again. `false`: there is nothing that could break, and the cases that need it are left out.
    fn interrupt(&self) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// A new node of the same topics whose topics keep the last [`KEPT`] messages. `None`: they cannot, and the cases that
    /// need it are left out.
    fn history_node(&self) -> impl Future<Output = Option<Broadcaster<Note>>> + Send {
        async { None }
    }

    /// Loses what is kept, as a broker does that has it in memory only. `false`: that cannot happen, and the case that needs
    /// it is left out.
    fn lose_history(&self) -> impl Future<Output = bool> + Send {
        async { false }
    }
}

/// How many messages of a topic a node keeps that [`Space::history_node`] gives.
pub const KEPT: usize = 1_000;

/// What the cases publish.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Note {
    /// Which of several publishers, or of several keys.
    pub key: u32,
    /// Counts up within a case.
    pub number: u32,
    /// Any text.
    pub text: String,
    /// Any bytes.
    pub bytes: Vec<u8>,
}

/// What became of the cases.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct Report {
    /// The names of those that passed.
    pub passed: Vec<&'static str>,
    /// The names of those that failed, and what was not as it should be.
    pub failed: Vec<(&'static str, String)>,
    /// The names of those that need what the space has not.
    pub left_out: Vec<&'static str>,
}

/// How a case ends when it does not pass.
pub(crate) enum Failure {
    /// What was not as it should be.
    Broken(String),
    /// The space has not what it needs.
    LeftOut,
}

pub(crate) type Outcome = Result<(), Failure>;

pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A case by its name, with what it does.
pub(crate) struct Case<S: Space> {
    name: &'static str,
    run: for<'a> fn(&'a Stage<'a, S>) -> Run<'a>,
}

/// Runs all cases, one after the other, each in topics of its own. Needs a tokio runtime with its timer.
pub async fn run<S: Space>(space: &S) -> Report {
    let mut report = Report::default();
    for Case { name, run } in cases::<S>() {
        let stage = Stage::new(space, name);
        match run(&stage).await {
            Ok(()) => report.passed.push(name),
            Err(Failure::Broken(what)) => report.failed.push((name, what)),
            Err(Failure::LeftOut) => report.left_out.push(name),
        }
    }
    report
}

fn cases<S: Space>() -> Vec<Case<S>> {
    let mut cases = Vec::new();
    cases.extend(publishing::cases());
    cases.extend(ordering::cases());
    cases.extend(channels::cases());
    cases.extend(messages::cases());
    cases.extend(nodes::cases());
    cases.extend(faults::cases());
    cases.extend(history::cases());
    cases
}

impl Report {
    /// Whether none failed.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.failed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, what) in &self.failed {
            writeln!(f, "failed: {name}: {what}")?;
        }
        for name in &self.left_out {
            writeln!(f, "left out: {name}")?;
        }
        write!(
            f,
            "cases: {} passed, {} failed, {} left out",
            self.passed.len(),
            self.failed.len(),
            self.left_out.len()
        )
    }
}
