//! `RESULTS.md`: the goals, a table of all rows by all servers, and a table for each row.

use std::fmt::Write as _;

use super::figures::Figures;
use super::goals::Goal;
use crate::runner::rows::{MOST_UNDER_WAY, Row};
use crate::runner::servers::{OURS, Server};
use crate::spec::{Latency, Report, Work};

/// What stands where nothing was measured.
const NOTHING: &str = "–";

/// Writes a line; into a string that does not fail.
macro_rules! line {
    ($out:expr) => { $out.push('\n') };
    ($out:expr, $($part:tt)*) => {{ let _ = writeln!($out, $($part)*); }};
}

pub(super) fn write(figures: &Figures<'_>, goals: &[Goal], pictures: &[(&str, String)]) -> String {
    let mut out = String::new();
    line!(out, "# Results\n");
    write_setting(&mut out, figures);
    write_goals(&mut out, goals);
    write_pictures(&mut out, pictures);
    write_summary(&mut out, figures);
    line!(out, "## Every row\n");
    for row in &figures.settings.rows {
        write_row(&mut out, figures, row);
    }
    write_instructions(&mut out, figures);
    out
}

fn write_setting(out: &mut String, figures: &Figures<'_>) {
    let settings = figures.settings;
    let machine = &settings.machine;
    line!(
        out,
        "Written by `scripts/bench{}`; what the figures mean, and which are noisy, is in [README.md](README.md).\n",
        if settings.quick { " --quick" } else { "" }
    );
    line!(
        out,
        "- **Machine:** {}, {} cores, {:.1} GiB of memory, Linux {}; {}, {}.",
        machine.cpu,
        machine.cores,
        machine.memory_mib as f64 / 1024.0,
        machine.kernel,
        machine.rustc,
        machine.date
    );
    let servers: Vec<_> = settings
        .servers
        .iter()
        .map(|server| match server.version.as_str() {
            "" => server.name.clone(),
            version => format!("{} ({version})", server.name),
        })
        .collect();
    line!(out, "- **Servers:** {}.", servers.join(", "));
    line!(
        out,
        "- **Settings:** one worker thread each, server and load generator on a core of their own, rounds: {}, with the \
         servers by turns (idle and one connection: at most 3), windows of {} s and more after a warm-up. Figures are medians of the rounds; \
         a ratio is the median of the rounds' ratios.",
        settings.rounds,
        settings.seconds
    );
    line!(
        out,
        "- **Left out:** rows in which more than {} GiB would be under way: 64 KiB × 16 on 5,000 connections, 1 MiB × 16 on \
         500 and 1 MiB on 5,000.\n",
        MOST_UNDER_WAY >> 30
    );
}

fn write_goals(out: &mut String, goals: &[Goal]) {
    line!(out, "## Goals\n");
    line!(out, "| goal | | measured |\n|---|---|---|");
    for goal in goals {
        let verdict = match goal.is_met() {
            Some(false) => format!("**{}**", goal.verdict()),
            _ => goal.verdict().to_owned(),
        };
        line!(out, "| {} | {verdict} | {} |", goal.text, goal.detail());
    }
    line!(
        out,
        "\nWhat stands behind those that were missed: [docs/performance.md](../docs/performance.md).\n"
    );
}

fn write_pictures(out: &mut String, pictures: &[(&str, String)]) {
    for (name, title) in pictures {
        line!(out, "![{title}](plots/{name}.svg)\n");
    }
}

/// Rows by servers.
fn write_summary(out: &mut String, figures: &Figures<'_>) {
    line!(out, "## CPU time as a multiple of raw TCP\n");
    matrix(out, figures, &|row| !row.is_idle(), &|row, server| {
        let mark = if is_marked(row, server) { " †" } else { "" };
        Some(format!(
            "{:.2}{mark}",
            figures.ratio(row, &server.name)?.median
        ))
    });
    line!(
        out,
        "† writes each message by itself, and so does not count where 16 are in flight.\n"
    );
    line!(out, "## Resident bytes of an idle connection\n");
    matrix(out, figures, &Row::is_idle, &|row, server| {
        let bytes = figures.median(&row.id, &server.name, Report::bytes_per_connection)?;
        Some(grouped(bytes))
    });
}

fn matrix(
    out: &mut String,
    figures: &Figures<'_>,
    counts: &dyn Fn(&Row) -> bool,
    cell: &dyn Fn(&Row, &Server) -> Option<String>,
) {
    let servers = &figures.settings.servers;
    let names: Vec<_> = servers
        .iter()
        .map(|server| bold(server, &server.name))
        .collect();
    line!(out, "| row | {} |", names.join(" | "));
    line!(out, "|---|{}", "---:|".repeat(servers.len()));
    for row in figures.settings.rows.iter().filter(|row| counts(row)) {
        let cells: Vec<_> = servers
            .iter()
            .map(|server| match cell(row, server) {
                Some(text) => bold(server, &text),
                None if figures.failure(&row.id, &server.name).is_some() => "failed".to_owned(),
                None => NOTHING.to_owned(),
            })
            .collect();
        line!(out, "| {} | {} |", row.title, cells.join(" | "));
    }
    line!(out);
}

fn write_row(out: &mut String, figures: &Figures<'_>, row: &Row) {
    line!(out, "### {}\n", row.title);
    line!(out, "`{}`\n", row.id);
    let mut lines: Vec<(f64, String)> = Vec::new();
    let mut failures = Vec::new();
    for server in &figures.settings.servers {
        let found = if row.is_idle() {
            idle_line(figures, row, server)
        } else {
            line_of(figures, row, server)
        };
        lines.extend(found);
        if let Some((times, reason)) = figures.failure(&row.id, &server.name) {
            failures.push(format!(
                "- {} failed in {times} rounds: {reason}",
                server.name
            ));
        }
    }
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    if row.is_idle() {
        line!(
            out,
            "| server | bytes a connection | spread | RSS MiB | CPU, % of a core |"
        );
        line!(out, "|---|---:|---:|---:|---:|");
    } else {
        let unit = match row.work {
            Work::FanOut { .. } | Work::Chat { .. } => "delivery",
            Work::Handshakes { .. } => "handshake",
            Work::Echo { .. } | Work::Idle { .. } => "message",
        };
        line!(
            out,
            "| server | CPU µs a {unit} (user + system) | ÷ raw | spread | a second | p50 µs | p99 µs | p99.9 µs | RSS MiB \
             | load % |"
        );
        line!(out, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    }
    for (_, text) in lines {
        line!(out, "{text}");
    }
    line!(out);
    if !failures.is_empty() {
        line!(out, "{}\n", failures.join("\n"));
    }
}

/// A line and what it is sorted by.
fn line_of(figures: &Figures<'_>, row: &Row, server: &Server) -> Option<(f64, String)> {
    let name = server.name.as_str();
    let median = |of: &dyn Fn(&Report) -> Option<f64>| figures.median(&row.id, name, of);
    let part = |of: fn(&Report) -> Option<f64>| {
        median(&|report: &Report| Some(of(report)? / report.messages.max(1) as f64))
    };
    let cpu = figures.cpu(&row.id, name)?;
    let user = part(|report| Some(report.cpu?.user)).unwrap_or(0.0);
    let system = part(|report| Some(report.cpu?.system)).unwrap_or(0.0);
    let ratio = figures.ratio(row, name);
    let latency = |of: fn(&Latency) -> f64| match figures.latency(&row.id, name, of) {
        Some(value) => grouped(value),
        None => NOTHING.to_owned(),
    };
    let mark = if is_marked(row, server) { " †" } else { "" };
    let stalled = match row.work {
        Work::FanOut { stalled: 1.., .. } => {
            let closed = median(&|report| Some(report.closed as f64)).unwrap_or(0.0);
            format!(" ({closed:.0} closed)")
        }
        _ => String::new(),
    };
    let text = format!(
        "| {}{mark}{stalled} | {} ({} + {}) | {} | {} | {} | {} | {} | {} | {} | {:.0} |",
        bold(server, name),
        micros(cpu),
        micros(user),
        micros(system),
        match ratio {
            Some(ratio) => bold(server, &format!("{:.2}", ratio.median)),
            None => NOTHING.to_owned(),
        },
        match ratio {
            Some(ratio) => format!("{:.2}–{:.2}", ratio.least, ratio.most),
            None => NOTHING.to_owned(),
        },
        grouped(median(&|report| Some(report.rate())).unwrap_or(0.0)),
        latency(|latency| latency.p50),
        latency(|latency| latency.p99),
        latency(|latency| latency.p999),
        mebibytes(median(&|report| Some(report.memory?.end as f64))),
        median(&|report| Some(report.load * 100.0)).unwrap_or(0.0),
    );
    Some((ratio.map_or(cpu, |ratio| ratio.median), text))
}

fn idle_line(figures: &Figures<'_>, row: &Row, server: &Server) -> Option<(f64, String)> {
    let name = server.name.as_str();
    let bytes = figures.spread(&row.id, name, Report::bytes_per_connection)?;
    let resident = figures.median(&row.id, name, |report| Some(report.memory?.end as f64));
    let cores = figures.median(&row.id, name, Report::cores).unwrap_or(0.0);
    let text = format!(
        "| {} | {} | {}–{} | {} | {:.2} |",
        bold(server, name),
        bold(server, &grouped(bytes.median)),
        grouped(bytes.least),
        grouped(bytes.most),
        mebibytes(resident),
        cores * 100.0
    );
    Some((bytes.median, text))
}

fn write_instructions(out: &mut String, figures: &Figures<'_>) {
    if figures.instructions.is_empty() {
        return;
    }
    line!(
        out,
        "## Instructions in user mode for an echoed message of 32 B, 16 in flight\n"
    );
    line!(out, "| server | instructions |\n|---|---:|");
    let mut lines: Vec<_> = figures.instructions.iter().collect();
    lines.sort_by(|a, b| a.1.total_cmp(b.1));
    for (name, count) in lines {
        let name = if *name == OURS {
            format!("**{name}**")
        } else {
            (*name).to_owned()
        };
        line!(out, "| {name} | {} |", grouped(*count));
    }
}

fn is_marked(row: &Row, server: &Server) -> bool {
    server.write_per_message && matches!(row.work, Work::Echo { in_flight: 2.., .. })
}

fn bold(server: &Server, text: &str) -> String {
    if server.name == OURS {
        format!("**{text}**")
    } else {
        text.to_owned()
    }
}

fn mebibytes(bytes: Option<f64>) -> String {
    match bytes {
        Some(bytes) => format!("{:.1}", bytes / 1024.0 / 1024.0),
        None => NOTHING.to_owned(),
    }
}

/// Three digits are enough.
fn micros(value: f64) -> String {
    match value {
        100.0.. => grouped(value),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A whole number with commas.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 {
        text.insert(0, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::results;
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in [
            (0.4, "0"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (-1234567.0, "-1,234,567"),
        ] {
            assert_eq!(grouped(value), text);
        }
        assert_eq!(micros(2.71), "2.71");
        assert_eq!(micros(27.18), "27.2");
        assert_eq!(micros(2718.3), "2,718");
    }

    #[test]
    fn a_row_is_sorted_and_ours_is_bold() {
        let row = "echo-50x32B-16";
        let results = results(
            "markdown",
            &[
                (row, "raw", &[2.0]),
                (row, "peer", &[6.0]),
                (row, "other", &[8.0]),
                (row, "dreamsocket", &[3.0]),
            ],
        );
        let figures = Figures::new(&results);
        let mut text = String::new();
        write_row(&mut text, &figures, figures.row(row).unwrap());
        let names: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("| "))
            .filter_map(|line| line.split(" |").next())
            .collect();
        assert_eq!(
            names,
            ["server", "raw", "**dreamsocket**", "peer †", "other"]
        );
        assert!(
            text.contains("| 3.00 (1.80 + 1.20) | **1.50** | 1.50–1.50 | 1,000 |"),
            "{text}"
        );
    }
}
