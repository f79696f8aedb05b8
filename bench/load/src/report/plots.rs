//! Which pictures there are: few, each of one thing.

use super::figures::Figures;
use super::svg::{Bar, Chart, Kind, Panel};
use crate::runner::rows::Row;
use crate::runner::servers::{OURS, RAW, Server};
use crate::spec::Report;

/// All pictures that something was measured for, by file name.
pub(super) fn all(figures: &Figures<'_>) -> Vec<(&'static str, Chart)> {
    let ratio = |row: &Row, server: &str| Some(figures.ratio(row, server)?.median);
    let bytes =
        |row: &Row, server: &str| figures.median(&row.id, server, Report::bytes_per_connection);
    let charts = [
        (
            "echo",
            "Echo: CPU time of a message",
            "as a multiple of raw TCP, which is 1; less is better",
            panels(
                figures,
                &[
                    "echo-50x32B-1",
                    "echo-50x32B-16",
                    "echo-50x1KiB-16",
                    "echo-50x64KiB-1",
                ],
                &ratio,
                Some(1.0),
            ),
        ),
        (
            "fan-out",
            "Fan-out: CPU time of a delivery",
            "as a multiple of raw TCP, which is 1; less is better",
            panels(
                figures,
                &[
                    "fanout-1000x64B",
                    "fanout-1000x1KiB",
                    "fanout-10000x64B",
                    "fanout-10000x1KiB",
                ],
                &ratio,
                Some(1.0),
            ),
        ),
        (
            "handshakes-and-compression",
            "Opening handshakes and compression: CPU time",
            "as a multiple of raw TCP, which is 1; less is better",
            panels(
                figures,
                &["handshakes-32", "deflate-50x1KiB-1"],
                &ratio,
                Some(1.0),
            ),
        ),
        (
            "idle",
            "Idle: resident bytes of a connection",
            "in the server's process; less is better",
            panels(
                figures,
                &["idle-2000-plain", "idle-10000-plain", "idle-10000-deflate"],
                &bytes,
                None,
            ),
        ),
    ];
    let charts = charts.into_iter().filter(|(.., panels)| !panels.is_empty());
    charts
        .map(|(name, title, subtitle, panels)| {
            let chart = Chart {
                title: title.to_owned(),
                subtitle: subtitle.to_owned(),
                panels,
            };
            (name, chart)
        })
        .collect()
}

fn panels(
    figures: &Figures<'_>,
    ids: &[&str],
    value: &dyn Fn(&Row, &str) -> Option<f64>,
    mark: Option<f64>,
) -> Vec<Panel> {
    let rows = ids.iter().filter_map(|id| figures.row(id));
    let panels = rows.filter_map(|row| {
        let servers = figures.settings.servers.iter();
        let mut bars: Vec<_> = servers
            .filter(|server| mark.is_some() || !server.raw)
            .filter_map(|server| Some(bar(server, value(row, &server.name)?, mark.is_some())))
            .collect();
        bars.sort_by(|a, b| a.value.total_cmp(&b.value));
        (bars.len() > 1).then(|| Panel {
            title: row.title.clone(),
            bars,
            mark,
        })
    });
    panels.collect()
}

fn bar(server: &Server, value: f64, ratio: bool) -> Bar {
    Bar {
        label: server.name.clone(),
        value,
        text: if ratio {
            format!("{value:.2}")
        } else {
            super::markdown::grouped(value)
        },
        kind: match server.name.as_str() {
            OURS => Kind::Ours,
            RAW => Kind::Raw,
            _ => Kind::Peer,
        },
    }
}
