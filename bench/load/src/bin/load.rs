//! `load SPEC`: makes the measurement that the JSON says and prints what came out as JSON.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use load::spec::{Report, Spec};

fn main() -> ExitCode {
    match run() {
        Ok(report) => match serde_json::to_writer(std::io::stdout(), &report) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Report> {
    let spec = std::env::args().nth(1);
    let spec = spec.context("usage: load SPEC, which is JSON; see src/spec.rs")?;
    let spec: Spec = serde_json::from_str(&spec).context("not a spec")?;
    rlimit::increase_nofile_limit(u64::MAX)?;
    load::work::run(&spec)
}
