//! Medians and ratios over rounds. A ratio is taken within a round, where both were measured next to each other, and only
//! then the median of the ratios.

use std::collections::BTreeMap;

use crate::runner::results::{Outcome, Results, Settings};
use crate::runner::rows::Row;
use crate::runner::servers::{OURS, RAW, Server};
use crate::spec::{Latency, Report};

/// A figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// `None` of nothing.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            median,
            least,
            most,
        })
    }
}

type Rounds<'a> = BTreeMap<usize, &'a Outcome>;

/// All that was measured, by row and server.
#[derive(Debug)]
pub struct Figures<'a> {
    pub settings: &'a Settings,
    pub instructions: BTreeMap<&'a str, f64>,
    cells: BTreeMap<(&'a str, &'a str), Rounds<'a>>,
}

impl<'a> Figures<'a> {
    #[must_use]
    pub fn new(results: &'a Results) -> Self {
        let mut cells: BTreeMap<_, Rounds<'a>> = BTreeMap::new();
        for measured in &results.measured {
            // A later line is from a run that was taken up, and counts.
            cells
                .entry((measured.row.as_str(), measured.server.as_str()))
                .or_default()
                .insert(measured.round, &measured.outcome);
        }
        let instructions = results.instructions.iter();
        Self {
            settings: &results.settings,
            instructions: instructions
                .map(|counted| (counted.server.as_str(), counted.per_message))
                .collect(),
            cells,
        }
    }

    #[must_use]
    pub fn row(&self, id: &str) -> Option<&'a Row> {
        self.settings.rows.iter().find(|row| row.id == id)
    }

    /// All but raw TCP and ours.
    pub fn peers(&self) -> impl Iterator<Item = &'a Server> {
        let servers = self.settings.servers.iter();
        servers.filter(|server| !server.raw && server.name != OURS)
    }

    fn reports<'f>(
        &'f self,
        row: &'f str,
        server: &'f str,
    ) -> impl Iterator<Item = (usize, &'f Report)> {
        let rounds = self.cells.get(&(row, server));
        rounds
            .into_iter()
            .flatten()
            .filter_map(|(round, outcome)| match outcome {
                Outcome::Measured(report) => Some((*round, report)),
                _ => None,
            })
    }

    /// Why there is no figure, from the last round that failed.
    #[must_use]
    pub fn failure<'f>(&'f self, row: &'f str, server: &'f str) -> Option<(usize, &'f str)> {
        let rounds = self.cells.get(&(row, server))?;
        let mut failures = rounds.values().filter_map(|outcome| match outcome {
            Outcome::Failed(reason) => Some(reason.as_str()),
            _ => None,
        });
        let first = failures.next()?;
        Some((1 + failures.count(), first))
    }

    #[must_use]
    pub fn spread(
        &self,
        row: &str,
        server: &str,
        of: impl Fn(&Report) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(
            self.reports(row, server)
                .filter_map(|(_, report)| of(report))
                .collect(),
        )
    }

    #[must_use]
    pub fn median(
        &self,
        row: &str,
        server: &str,
        of: impl Fn(&Report) -> Option<f64>,
    ) -> Option<f64> {
        Some(self.spread(row, server, of)?.median)
    }

    #[must_use]
    pub fn cpu(&self, row: &str, server: &str) -> Option<f64> {
        self.median(row, server, Report::cpu_per_message)
    }

    #[must_use]
    pub fn latency(&self, row: &str, server: &str, of: impl Fn(&Latency) -> f64) -> Option<f64> {
        self.median(row, server, |report| report.latency.as_ref().map(&of))
    }

    /// CPU time as a multiple of raw TCP's in the same round.
    #[must_use]
    pub fn ratio(&self, row: &Row, server: &str) -> Option<Spread> {
        let raw: BTreeMap<_, _> = self.reports(row.against(), RAW).collect();
        let ratios = self.reports(&row.id, server).filter_map(|(round, report)| {
            let raw = raw.get(&round)?.cpu_per_message()?;
            Some(report.cpu_per_message()? / raw)
        });
        Spread::of(ratios.collect())
    }

    /// One server's CPU time for a message as a multiple of another's, within each round.
    pub fn beside(&self, row: &Row, server: &str, other: &str) -> Option<Spread> {
        let others: BTreeMap<_, _> = self.reports(&row.id, other).collect();
        let ratios = self.reports(&row.id, server).filter_map(|(round, report)| {
            let other = others.get(&round)?.cpu_per_message()?;
            Some(report.cpu_per_message()? / other)
        });
        Spread::of(ratios.collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::runner::results::{Line, Measured};
    use crate::runner::{rows, servers};
    use crate::spec::Cpu;

    /// Results of made-up CPU times: (row, server, microseconds of each round).
    pub(in super::super) fn results(name: &str, cpu: &[(&str, &str, &[f64])]) -> Results {
        let table = "[[server]]\nname='raw'\ncommand='raw'\nraw=true\n\
                     [[server]]\nname='dreamsocket'\ncommand='d'\n\
                     [[server]]\nname='peer'\ncommand='p'\nwrite_per_message=true\n\
                     [[server]]\nname='other'\ncommand='o'\n";
        let settings = Settings {
            rounds: 3,
            rows: rows::full(0.8),
            servers: servers::parse(table).unwrap(),
            ..Settings::default()
        };
        let path: PathBuf =
            std::env::temp_dir().join(format!("bench-{name}-{}", std::process::id()));
        let mut results = Results::create(&path, settings).unwrap();
        for (row, server, rounds) in cpu {
            for (round, cpu) in rounds.iter().enumerate() {
                let report = Report {
                    messages: 1000,
                    seconds: 1.0,
                    latency: Some(Latency {
                        p50: 10.0,
                        p99: 10.0 * cpu,
                        p999: 100.0,
                        max: 100.0,
                    }),
                    cpu: Some(Cpu {
                        total: cpu * 1000.0,
                        user: cpu * 600.0,
                        system: cpu * 400.0,
                    }),
                    ..Report::default()
                };
                let line = Line::Measured(Box::new(Measured {
                    row: (*row).to_owned(),
                    server: (*server).to_owned(),
                    round,
                    outcome: Outcome::Measured(report),
                }));
                results.add(line).unwrap();
            }
        }
        std::fs::remove_file(path).unwrap();
        results
    }

    #[test]
    fn a_spread_has_a_middle() {
        assert_eq!(Spread::of(vec![]), None);
        let of = |values: &[f64]| Spread::of(values.to_vec()).unwrap().median;
        assert_eq!(of(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let results = results(
            "ratios",
            &[
                ("echo-50x32B-1", "raw", &[1.0, 2.0, 4.0]),
                ("echo-50x32B-1", "dreamsocket", &[1.1, 2.0, 4.8]),
                ("fanout-1000x64B", "raw", &[1.0]),
                ("fanout-1000x64B-handled", "dreamsocket", &[1.5, 9.0]),
            ],
        );
        let figures = Figures::new(&results);
        let ratio = |row: &str| figures.ratio(figures.row(row).unwrap(), OURS).unwrap();
        let echo = ratio("echo-50x32B-1");
        assert!((echo.median - 1.1).abs() < 1e-9, "{echo:?}");
        assert!((echo.least - 1.0).abs() < 1e-9 && (echo.most - 1.2).abs() < 1e-9);
        // Against the row of the raw server, in the rounds that both have.
        assert!((ratio("fanout-1000x64B-handled").most - 1.5).abs() < 1e-9);
        assert_eq!(
            figures.ratio(figures.row("chat-20x50").unwrap(), OURS),
            None
        );
    }
}
