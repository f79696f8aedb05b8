//! What we want to reach, and whether we do: judged on medians of the rounds. Rows with one connection measure how fast a
//! sleeping thread wakes up, and do not count.

use std::fmt;

use super::figures::Figures;
use crate::runner::rows::{HEARTBEATS, Row};
use crate::runner::servers::{OURS, RAW};
use crate::spec::{Report, Work};

/// Instructions for each echoed message of 32 bytes.
const INSTRUCTIONS: f64 = 800.0;
/// Resident bytes of an idle connection.
const IDLE_BYTES: f64 = 1_800.0;

/// One goal and all that it was looked at in.
#[derive(Debug)]
pub struct Goal {
    pub text: &'static str,
    pub checks: Vec<Check>,
}

/// One look.
#[derive(Debug)]
pub struct Check {
    pub row: String,
    pub measured: String,
    pub met: bool,
}

impl Goal {
    /// `None` when nothing was measured.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        (!self.checks.is_empty()).then(|| self.checks.iter().all(|check| check.met))
    }

    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        }
    }

    /// What missed, or else how near it came.
    #[must_use]
    pub fn detail(&self) -> String {
        let missed: Vec<_> = self.checks.iter().filter(|check| !check.met).collect();
        let shown: Vec<_> = if missed.is_empty() {
            self.checks.iter().collect()
        } else {
            missed
        };
        let described = shown.iter().take(6);
        let mut parts: Vec<_> = described
            .map(|check| format!("{}: {}", check.row, check.measured))
            .collect();
        if shown.len() > parts.len() {
            parts.push(format!("and {} more", shown.len() - parts.len()));
        }
        parts.join("; ")
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:12} {} ({})",
            self.verdict(),
            self.text,
            self.detail()
        )
    }
}

fn check(row: &str, value: f64, limit: f64, measured: String) -> Check {
    Check {
        row: row.to_owned(),
        measured,
        met: value <= limit,
    }
}

/// An echo with more than one connection.
struct Echo {
    connections: usize,
    size: usize,
    in_flight: usize,
}

fn echo(row: &Row) -> Option<Echo> {
    match row.work {
        Work::Echo {
            connections,
            size,
            in_flight,
            ..
        } if connections > 1 => Some(Echo {
            connections,
            size,
            in_flight,
        }),
        _ => None,
    }
}

fn plain_echo(row: &Row) -> Option<Echo> {
    if row.configuration.deflate {
        return None;
    }
    echo(row)
}

/// All goals.
#[must_use]
pub fn judge(figures: &Figures<'_>) -> Vec<Goal> {
    let ratio = |text, limit: f64, counts: &dyn Fn(&Row) -> bool| {
        let rows = figures.settings.rows.iter().filter(|row| counts(row));
        let checks = rows.filter_map(|row| {
            let ratio = figures.ratio(row, OURS)?.median;
            Some(check(&row.id, ratio, limit, format!("{ratio:.2} ×")))
        });
        Goal {
            text,
            checks: checks.collect(),
        }
    };
    let echo_of = |size: usize, in_flight: usize| {
        move |row: &Row| {
            plain_echo(row).is_some_and(|echo| echo.size == size && echo.in_flight == in_flight)
        }
    };
    let fan_out = |through_handlers: bool| move |row: &Row| matches!(row.work, Work::FanOut { handled, stalled: 0, .. } if handled == through_handlers);
    vec![
        ratio(
            "echo up to 1 KiB, 1 in flight: at most 1.05 × raw TCP",
            1.05,
            &|row| echo_of(32, 1)(row) || echo_of(1024, 1)(row),
        ),
        ratio(
            "echo of 32 B, 16 in flight: at most 1.35 ×",
            1.35,
            &echo_of(32, 16),
        ),
        ratio(
            "echo of 1 KiB, 16 in flight: at most 1.6 ×",
            1.6,
            &echo_of(1024, 16),
        ),
        ratio("echo of 64 KiB and 1 MiB: at most 1.12 ×", 1.12, &|row| {
            plain_echo(row).is_some_and(|echo| echo.size >= 64 * 1024)
        }),
        ahead(figures),
        fairness(figures),
        tail(figures),
        growth(figures),
        ratio(
            "a delivery in a fan-out: at most 1.2 ×",
            1.2,
            &fan_out(false),
        ),
        ratio(
            "… through each connection's handler: at most 1.6 ×",
            1.6,
            &fan_out(true),
        ),
        stalled(figures),
        idle_bytes(figures),
        idle_cpu(figures),
        ratio(
            "an opening handshake: at most 2.6 × a bare accept",
            2.6,
            &|row| matches!(row.work, Work::Handshakes { .. }),
        ),
        instructions(figures),
    ]
}

/// Less CPU time than every peer, by the median of the rounds' ratios.
fn ahead(figures: &Figures<'_>) -> Goal {
    let counts = |row: &&Row| {
        echo(row).is_some()
            || matches!(
                row.work,
                Work::Handshakes { .. } | Work::FanOut { handled: false, .. }
            )
    };
    let mut checks = Vec::new();
    for row in figures.settings.rows.iter().filter(counts) {
        let many = echo(row).is_some_and(|echo| echo.in_flight > 1);
        let peers = figures
            .peers()
            .filter(|peer| !(many && peer.write_per_message));
        // Within each round, since the machine's own state differs from one to the next.
        let best = peers
            .filter_map(|peer| Some((&peer.name, figures.beside(row, OURS, &peer.name)?.median)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((name, ratio)) = best {
            checks.push(check(&row.id, ratio, 1.0, format!("{ratio:.2} × {name}")));
        }
    }
    Goal {
        text: "every echo, compressed echo, fan-out and handshake: less CPU time than every peer",
        checks,
    }
}

/// Nobody waits much longer than others.
fn fairness(figures: &Figures<'_>) -> Goal {
    let row = "echo-50x64KiB-16";
    let ratio = figures.median(row, OURS, |report| {
        let latency = report.latency?;
        Some(latency.p99 / latency.p50)
    });
    let found = ratio.map(|ratio| check(row, ratio, 3.0, format!("{ratio:.2}")));
    Goal {
        text: "fairness, 50 connections with 16 × 64 KiB each: p99 at most 3 × p50",
        checks: found.into_iter().collect(),
    }
}

/// The p99 of the best peer.
fn tail(figures: &Figures<'_>) -> Goal {
    let mut checks = Vec::new();
    for row in figures
        .settings
        .rows
        .iter()
        .filter(|row| echo(row).is_some())
    {
        let p99 = |server: &str| figures.latency(&row.id, server, |latency| latency.p99);
        let peers = figures.peers();
        let best = peers
            .filter_map(|peer| Some((&peer.name, p99(&peer.name)?)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        if let (Some(ours), Some((name, best))) = (p99(OURS), best) {
            let measured = format!("{ours:.0} µs, {name} {best:.0} µs");
            checks.push(check(&row.id, ours, best, measured));
        }
    }
    Goal {
        text: "echo with 50 connections and more: p99 no worse than the best peer's",
        checks,
    }
}

/// More connections cost no more than they cost the kernel.
fn growth(figures: &Figures<'_>) -> Goal {
    let mut checks = Vec::new();
    let few = |row: &&Row| plain_echo(row).is_some_and(|echo| echo.connections == 50);
    for row in figures.settings.rows.iter().filter(few) {
        let more = row.id.replace("echo-50x", "echo-5000x");
        let growth =
            |server: &str| Some(figures.cpu(&more, server)? / figures.cpu(&row.id, server)?);
        if let (Some(ours), Some(raw)) = (growth(OURS), growth(RAW)) {
            let measured = format!("{ours:.2} ×, raw {raw:.2} ×");
            checks.push(check(&more, ours, raw * 1.05, measured));
        }
    }
    Goal {
        text: "from 50 to 5,000 connections: CPU time of a message grows at most 5 % more than raw TCP's",
        checks,
    }
}

/// Those that read nothing do not slow the others.
fn stalled(figures: &Figures<'_>) -> Goal {
    let mut checks = Vec::new();
    for row in &figures.settings.rows {
        let Some(quiet) = row.id.strip_suffix("-stalled") else {
            continue;
        };
        let p99 = |row: &str| figures.latency(row, OURS, |latency| latency.p99);
        if let (Some(with), Some(without)) = (p99(&row.id), p99(quiet)) {
            let moved = with / without - 1.0;
            let measured = format!("{:+.0} %", moved * 100.0);
            checks.push(check(&row.id, moved, 0.1, measured));
        }
    }
    Goal {
        text: "1 % of the subscribers stalled: the others' p99 moves by less than 10 %",
        checks,
    }
}

fn idle_bytes(figures: &Figures<'_>) -> Goal {
    let topic = |row: &&Row| row.is_idle() && row.id.ends_with("-topic");
    let rows = figures.settings.rows.iter().filter(topic);
    let checks = rows.filter_map(|row| {
        let bytes = figures.median(&row.id, OURS, Report::bytes_per_connection)?;
        Some(check(
            &row.id,
            bytes,
            IDLE_BYTES,
            format!("{bytes:.0} bytes"),
        ))
    });
    Goal {
        text: "an idle connection with heartbeat and a topic: at most 1.8 KB resident",
        checks: checks.collect(),
    }
}

fn idle_cpu(figures: &Figures<'_>) -> Goal {
    let rows = figures.settings.rows.iter();
    let rows = rows.filter(|row| row.id == HEARTBEATS);
    let checks = rows.filter_map(|row| {
        let cores = figures.median(&row.id, OURS, Report::cores)?;
        Some(check(
            &row.id,
            cores,
            0.01,
            format!("{:.2} %", cores * 100.0),
        ))
    });
    Goal {
        text: "18,000 idle connections: less than 1 % of a core",
        checks: checks.collect(),
    }
}

fn instructions(figures: &Figures<'_>) -> Goal {
    let ours = figures.instructions.get(OURS);
    let checks =
        ours.map(|&count| check("echo of 32 B", count, INSTRUCTIONS, format!("{count:.0}")));
    Goal {
        text: "an echoed message of 32 B, 16 in flight: at most 800 instructions in user mode",
        checks: checks.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::results;
    use super::*;

    fn check_goal(name: &str, text: &str, cpu: &[(&str, &str, &[f64])], met: Option<bool>) {
        let results = results(name, cpu);
        let goals = judge(&Figures::new(&results));
        let goal = goals.iter().find(|goal| goal.text.contains(text));
        assert_eq!(goal.unwrap().is_met(), met, "{text}: {cpu:?}");
    }

    #[test]
    fn goals_are_judged_on_medians() {
        let row = "echo-500x1KiB-1";
        let goal = "1 in flight";
        check_goal("g1", goal, &[], None);
        let raw: (&str, &str, &[f64]) = (row, RAW, &[1.0, 1.0, 1.0]);
        let near: (&str, &str, &[f64]) = (row, OURS, &[1.01, 1.02, 3.0]);
        let far: (&str, &str, &[f64]) = (row, OURS, &[1.01, 1.2, 3.0]);
        check_goal("g2", goal, &[raw, near], Some(true));
        check_goal("g3", goal, &[raw, far], Some(false));
    }

    #[test]
    fn one_connection_does_not_count() {
        let row = "echo-1x1KiB-1";
        let cpu: [(&str, &str, &[f64]); 2] = [(row, RAW, &[1.0]), (row, OURS, &[2.0])];
        check_goal("g4", "1 in flight", &cpu, None);
    }

    #[test]
    fn a_write_per_message_does_not_count_with_16_in_flight() {
        let many = "echo-50x32B-16";
        let one = "echo-50x32B-1";
        let goal = "less CPU time than every peer";
        check_goal(
            "g5",
            goal,
            &[(many, OURS, &[2.0]), (many, "peer", &[1.0])],
            None,
        );
        check_goal(
            "g6",
            goal,
            &[(one, OURS, &[2.0]), (one, "peer", &[1.0])],
            Some(false),
        );
        check_goal(
            "g7",
            goal,
            &[(many, OURS, &[2.0]), (many, "other", &[3.0])],
            Some(true),
        );
    }

    #[test]
    fn growth_and_stalling_are_compared() {
        let (few, more) = ("echo-50x32B-1", "echo-5000x32B-1");
        let cpu = |ours: f64| {
            vec![
                (few, RAW, vec![1.0]),
                (more, RAW, vec![2.0]),
                (few, OURS, vec![1.0]),
                (more, OURS, vec![ours]),
            ]
        };
        for (name, ours, met) in [("g8", 2.05, true), ("g9", 2.2, false)] {
            let cpu = cpu(ours);
            let cpu: Vec<_> = cpu
                .iter()
                .map(|(row, server, rounds)| (*row, *server, &rounds[..]))
                .collect();
            check_goal(name, "from 50 to 5,000", &cpu, Some(met));
        }
        let quiet: (&str, &str, &[f64]) = ("fanout-1000x64B", OURS, &[1.0]);
        let slow: (&str, &str, &[f64]) = ("fanout-1000x64B-stalled", OURS, &[1.2]);
        check_goal("g10", "stalled", &[quiet, slow], Some(false));
    }
}
