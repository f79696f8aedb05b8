//! From what was measured to what a person reads: `RESULTS.md` and the pictures beside it.

pub mod figures;
pub mod goals;
pub mod machine;
mod markdown;
mod plots;
mod svg;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use self::figures::Figures;
use crate::runner::results::Results;

/// Writes everything into a folder; gives the goals, one line each.
pub fn write(results: &Results, folder: &Path) -> Result<Vec<String>> {
    let figures = Figures::new(results);
    let goals = goals::judge(&figures);
    let plots = folder.join("plots");
    fs::create_dir_all(&plots)?;
    let mut pictures = Vec::new();
    for (name, chart) in plots::all(&figures) {
        let path = plots.join(format!("{name}.svg"));
        fs::write(&path, svg::draw(&chart))
            .with_context(|| format!("writing {}", path.display()))?;
        pictures.push((name, chart.title));
    }
    let text = markdown::write(&figures, &goals, &pictures);
    fs::write(folder.join("RESULTS.md"), text)?;
    Ok(goals.iter().map(ToString::to_string).collect())
}
