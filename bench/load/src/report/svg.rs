//! Bars as SVG, readable on light and dark. By hand, since it is a few rectangles and no crate draws fewer.

use std::fmt::Write as _;

/// Panels of bars under one title.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) panels: Vec<Panel>,
}

#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
    /// A line at this value.
    pub(super) mark: Option<f64>,
}

#[derive(Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// The value as it is written beside the bar.
    pub(super) text: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Raw,
    Peer,
}

const WIDTH: usize = 880;
const MARGIN: usize = 24;
const PANEL: usize = (WIDTH - 3 * MARGIN) / 2;
const LABEL: usize = 128;
/// For the value.
const BESIDE: usize = 64;
const BARS: usize = PANEL - LABEL - BESIDE;
const LINE: usize = 20;
const PANEL_HEAD: usize = 30;
const HEAD: usize = 74;
/// Longer bars are cut, so that one slow server does not make all others look alike.
const CUT: f64 = 8.0;

const STYLE: &str = "\
.back{fill:#ffffff}.title,.strong{fill:#111827}.text{fill:#374151}.ours{fill:#2563eb}.raw{fill:#d1d5db}.peer{fill:#9ca3af}\
.mark{stroke:#6b7280}.cut{fill:#ffffff}\
@media (prefers-color-scheme:dark){.back{fill:#0d1117}.title,.strong{fill:#f3f4f6}.text{fill:#c9d1d9}.ours{fill:#60a5fa}\
.raw{fill:#374151}.peer{fill:#6b7280}.mark{stroke:#9ca3af}.cut{fill:#0d1117}}\
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif}.title{font-size:18px;font-weight:600}.strong{font-weight:600}";

pub(super) fn draw(chart: &Chart) -> String {
    let columns = chart.panels.len().clamp(1, 2);
    let lines: Vec<usize> = chart
        .panels
        .chunks(columns)
        .map(|pair| pair.iter().map(|panel| panel.bars.len()).max().unwrap_or(0))
        .collect();
    let panels: usize = lines
        .iter()
        .map(|bars| PANEL_HEAD + bars * LINE + MARGIN)
        .sum();
    let height = HEAD + panels;
    let width = if columns == 1 {
        PANEL + 2 * MARGIN
    } else {
        WIDTH
    };
    let mut body = String::new();
    let mut top = HEAD;
    for (pair, bars) in chart.panels.chunks(columns).zip(&lines) {
        for (column, panel) in pair.iter().enumerate() {
            body.push_str(&draw_panel(panel, MARGIN + column * (PANEL + MARGIN), top));
        }
        top += PANEL_HEAD + bars * LINE + MARGIN;
    }
    let title = escape(&chart.title);
    let subtitle = escape(&chart.subtitle);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"34\">{title}</text>\n\
         <text class=\"text\" x=\"{MARGIN}\" y=\"54\">{subtitle}</text>\n{body}</svg>\n"
    )
}

fn draw_panel(panel: &Panel, left: usize, top: usize) -> String {
    let least = panel
        .bars
        .iter()
        .map(|bar| bar.value)
        .fold(f64::MAX, f64::min);
    let most = panel.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let scale = most.min(least * CUT).max(f64::MIN_POSITIVE);
    let length = |value: f64| (value.min(scale) / scale * BARS as f64).max(1.0);
    let start = left + LABEL;
    let mut out = String::new();
    line(
        &mut out,
        format_args!(
            "<text class=\"strong\" x=\"{left}\" y=\"{}\">{}</text>",
            top + 16,
            escape(&panel.title)
        ),
    );
    if let Some(mark) = panel.mark {
        let x = start as f64 + length(mark);
        let (from, to) = (
            top + PANEL_HEAD - 2,
            top + PANEL_HEAD + panel.bars.len() * LINE,
        );
        line(
            &mut out,
            format_args!(
                "<path class=\"mark\" stroke-dasharray=\"2 3\" d=\"M{x:.1} {from} V{to}\"/>"
            ),
        );
    }
    for (number, bar) in panel.bars.iter().enumerate() {
        let y = top + PANEL_HEAD + number * LINE;
        let long = length(bar.value);
        let (class, text) = match bar.kind {
            Kind::Ours => ("ours", "strong"),
            Kind::Raw => ("raw", "text"),
            Kind::Peer => ("peer", "text"),
        };
        line(
            &mut out,
            format_args!(
                "<text class=\"{text}\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{start}\" y=\"{}\" width=\"{long:.1}\" height=\"{}\" rx=\"2\"/>\
             <text class=\"{text}\" x=\"{:.1}\" y=\"{}\">{}</text>",
                start - 8,
                y + 12,
                escape(&bar.label),
                y + 2,
                LINE - 6,
                start as f64 + long + 6.0,
                y + 12,
                escape(&bar.text)
            ),
        );
        if bar.value > scale {
            let x = start as f64 + long - 14.0;
            line(
                &mut out,
                format_args!(
                    "<path class=\"cut\" d=\"M{x:.1} {0} l4 0 l-5 {1} l-4 0z\"/>",
                    y + 1,
                    LINE - 4
                ),
            );
        }
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{text}");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_drawn_to_scale() {
        let bar = |value: f64, kind| Bar {
            label: "a < b".to_owned(),
            value,
            text: format!("{value}"),
            kind,
        };
        let chart = Chart {
            title: "T & t".to_owned(),
            subtitle: String::new(),
            panels: vec![Panel {
                title: "p".to_owned(),
                bars: vec![
                    bar(1.0, Kind::Raw),
                    bar(2.0, Kind::Ours),
                    bar(100.0, Kind::Peer),
                ],
                mark: Some(1.0),
            }],
        };
        let svg = draw(&chart);
        assert!(svg.contains("T &amp; t") && svg.contains("a &lt; b"));
        for (class, part) in [("raw", 0.125), ("ours", 0.25), ("peer", 1.0)] {
            let width = format!("{:.1}", BARS as f64 * part);
            let rect = format!("<rect class=\"{class}\" x=\"{}\"", MARGIN + LABEL);
            let found = svg.split(&rect).nth(1).unwrap();
            assert!(found.contains(&format!("width=\"{width}\"")), "{class}");
        }
        assert_eq!(svg.matches("class=\"cut\"").count(), 1);
    }
}
