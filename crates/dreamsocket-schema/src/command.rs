//! The program that writes the files, and that CI runs to see that they are fresh and break nobody.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::Arg::{Long, Short, Value as Word};
use serde_json::Value;

use crate::{Protocol, changes};

const USAGE: &str = "\
usage: [write | check] [--folder FOLDER] [--against FILE]
  write             write the JavaScript module, its types and the AsyncAPI document (what is done without a word)
  check             fail if one of them is not what would be written now
  --folder FOLDER   where they are
  --against FILE    with check: fail if clients break that were made for this AsyncAPI document, an older one
";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
struct Task {
    is_check: bool,
    folder: PathBuf,
    against: Option<PathBuf>,
}

impl Protocol {
    /// Does what the command line says: writes the files into the folder, or checks them. See `--help`.
    ///
    /// For a `main` of one line. What is wrong is told on the standard error, and makes the exit code 1; a command line that
    /// is not understood makes it 2.
    #[must_use]
    pub fn main(&self, folder: impl AsRef<Path>) -> ExitCode {
        let (code, text) = self.run(folder.as_ref(), std::env::args_os().skip(1));
        if code == 0 {
            print(&mut std::io::stdout(), &text);
        } else {
            print(&mut std::io::stderr(), &text);
        }
        ExitCode::from(code)
    }

    /// The exit code and what is said.
    fn run(&self, folder: &Path, arguments: impl Iterator<Item = OsString>) -> (u8, String) {
        let task = match parse(folder, arguments) {
            Ok(Some(task)) => task,
            Ok(None) => return (0, USAGE.to_owned()),
            Err(error) => return (2, format!("{error}\n{USAGE}")),
        };
        let done = if task.is_check {
            self.check(&task)
        } else {
            self.write(&task.folder)
                .map(|()| String::new())
                .map_err(|error| format!("cannot write into {}: {error}\n", task.folder.display()))
        };
        match done {
            Ok(text) => (0, text),
            Err(text) => (1, text),
        }
    }

    fn check(&self, task: &Task) -> Result<String, String> {
        let (mut text, mut is_wrong) = (String::new(), false);
        let stale = self.stale(&task.folder);
        for path in
            stale.map_err(|error| format!("cannot read {}: {error}\n", task.folder.display()))?
        {
            is_wrong = true;
            let _ = writeln!(
                text,
                "stale: {}: write it again and commit it",
                path.display()
            );
        }
        if let Some(path) = &task.against {
            let read = |error: &dyn std::fmt::Display| {
                format!("cannot read {}: {error}\n", path.display())
            };
            let old = fs::read(path).map_err(|error| read(&error))?;
            let old: Value = serde_json::from_slice(&old).map_err(|error| read(&error))?;
            for change in changes(&old, &self.asyncapi()) {
                is_wrong |= change.is_breaking;
                let _ = writeln!(text, "{change}");
            }
        }
        if is_wrong { Err(text) } else { Ok(text) }
    }
}

/// Whoever does not listen any more is not told.
fn print(to: &mut impl std::io::Write, text: &str) {
    let _ = to.write_all(text.as_bytes());
}

/// The task, or nothing if help is asked for.
fn parse(
    folder: &Path,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Option<Task>, lexopt::Error> {
    let mut task = Task {
        is_check: false,
        folder: folder.to_owned(),
        against: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Word(word) if word == "write" => task.is_check = false,
            Word(word) if word == "check" => task.is_check = true,
            Long("folder") => task.folder = parser.value()?.into(),
            Long("against") => task.against = Some(parser.value()?.into()),
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if task.against.is_some() && !task.is_check {
        return Err("--against goes with check".into());
    }
    Ok(Some(task))
}
