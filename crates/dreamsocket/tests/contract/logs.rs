//! What the library logs, line by line.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::rc::Rc;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

type Lines = Rc<RefCell<Vec<(Level, String)>>>;

thread_local! {
    static LINES: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// Collects what this thread logs while it lives.
///
/// The subscriber is the process's, since tracing remembers for all threads whether anybody wanted a line.
pub(crate) struct Logs {
    lines: Lines,
}

pub(crate) fn capture() -> Logs {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| tracing::subscriber::set_global_default(Collector).unwrap());
    let lines = Lines::default();
    LINES.set(Some(Rc::clone(&lines)));
    Logs { lines }
}

impl Drop for Logs {
    fn drop(&mut self) {
        LINES.set(None);
    }
}

impl Logs {
    /// The lines of this level.
    pub(crate) fn at(&self, level: Level) -> Vec<String> {
        let lines = self.lines.borrow();
        let lines = lines.iter().filter(|(at, _)| *at == level);
        lines.map(|(_, line)| line.clone()).collect()
    }

    /// The lines that anybody reads in production: `info` and above.
    pub(crate) fn loud(&self) -> Vec<String> {
        let lines = self.lines.borrow();
        let lines = lines.iter().filter(|(at, _)| *at <= Level::INFO);
        lines.map(|(at, line)| format!("{at} {line}")).collect()
    }
}

struct Collector;

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("dreamsocket")
    }

    fn event(&self, event: &Event<'_>) {
        let Some(lines) = LINES.with_borrow(Clone::clone) else {
            return;
        };
        let mut line = Line(String::new());
        event.record(&mut line);
        lines.borrow_mut().push((*event.metadata().level(), line.0));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}
