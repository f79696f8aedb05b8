//! What was measured, as lines of JSON that are written as soon as they are known: a run can be taken up again where it
//! broke off, and the report made anew.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::rows::Row;
use super::servers::Server;
use crate::report::machine::Machine;
use crate::spec::Report;

/// The first line: what the run was to measure, and where it ran.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    pub quick: bool,
    pub rounds: usize,
    pub seconds: f64,
    pub rows: Vec<Row>,
    pub servers: Vec<Server>,
    pub machine: Machine,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub row: String,
    pub server: String,
    pub round: usize,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Measured(Report),
    /// The server cannot do it, and says so.
    Unsupported,
    Failed(String),
}

/// Instructions for each echoed message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instructions {
    pub server: String,
    pub per_message: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Settings(Box<Settings>),
    Measured(Box<Measured>),
    Instructions(Instructions),
}

/// All lines, and the file that they are in.
#[derive(Debug)]
pub struct Results {
    pub settings: Settings,
    pub measured: Vec<Measured>,
    pub instructions: Vec<Instructions>,
    file: File,
}

impl Results {
    /// Begins a file, in place of what was there.
    pub fn create(path: &Path, settings: Settings) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("writing {}", path.display()))?;
        let mut results = Self {
            settings: settings.clone(),
            measured: Vec::new(),
            instructions: Vec::new(),
            file,
        };
        results.write(&Line::Settings(Box::new(settings)))?;
        Ok(results)
    }

    /// Reads a file and goes on writing to it.
    pub fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("no {}", path.display()))?;
        let (settings, rest) = parse(&text)?;
        // A line that was cut off must not swallow the next.
        let mut file = File::options().append(true).open(path)?;
        if !text.ends_with('\n') {
            writeln!(file)?;
        }
        let mut results = Self {
            settings,
            measured: Vec::new(),
            instructions: Vec::new(),
            file,
        };
        rest.into_iter().for_each(|line| results.take(line));
        Ok(results)
    }

    /// Keeps a line, in the file first.
    pub fn add(&mut self, line: Line) -> Result<()> {
        self.write(&line)?;
        self.take(line);
        Ok(())
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        Ok(self.file.write_all(text.as_bytes())?)
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Settings(settings) => self.settings = *settings,
            Line::Measured(measured) => self.measured.push(*measured),
            Line::Instructions(instructions) => {
                self.instructions
                    .retain(|other| other.server != instructions.server);
                self.instructions.push(instructions);
            }
        }
    }

    /// Says whether that is measured; what failed is tried again by a run that is taken up.
    #[must_use]
    pub fn has(&self, row: &str, server: &str, round: usize) -> bool {
        self.measured.iter().any(|measured| {
            (
                measured.row.as_str(),
                measured.server.as_str(),
                measured.round,
            ) == (row, server, round)
                && !matches!(measured.outcome, Outcome::Failed(_))
        })
    }
}

/// The settings, and the lines after them. A last line that was cut off is left out.
fn parse(text: &str) -> Result<(Settings, Vec<Line>)> {
    let mut lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    match lines.next() {
        Some(Line::Settings(settings)) => Ok((*settings, lines.collect())),
        _ => bail!("the results do not begin with their settings"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_broke_off_is_read() {
        let settings = Settings {
            rounds: 3,
            ..Settings::default()
        };
        let measured = |round| {
            Line::Measured(Box::new(Measured {
                row: "r".to_owned(),
                server: "s".to_owned(),
                round,
                outcome: match round {
                    0 => Outcome::Measured(Report::default()),
                    _ => Outcome::Failed("it fell".to_owned()),
                },
            }))
        };
        let folder = std::env::temp_dir().join(format!("bench-results-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("results.jsonl");
        let mut results = Results::create(&path, settings).unwrap();
        results.add(measured(0)).unwrap();
        results.add(measured(1)).unwrap();
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"measured\":{\"ro");
        fs::write(&path, text).unwrap();

        let mut results = Results::open(&path).unwrap();
        assert_eq!((results.settings.rounds, results.measured.len()), (3, 2));
        assert!(results.has("r", "s", 0));
        assert!(!results.has("r", "s", 1));
        results.add(measured(0)).unwrap();
        assert_eq!(Results::open(&path).unwrap().measured.len(), 3);
        fs::remove_dir_all(folder).unwrap();
    }
}
