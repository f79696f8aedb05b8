//! The command `dreamsocket`: [`connect`] talks to a WebSocket server from a terminal or a pipe, [`load`] puts load on one.
//!
//! What it is told stands in `args.rs`, where it connects in `target.rs`, how it ends in `failure.rs`.

mod args;
mod connect;
mod escape;
mod failure;
mod interrupt;
mod load;
mod target;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Command::Connect(args) => connect::run(args),
        Command::Load(args) => load::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "dreamsocket", &mut script);
            failure::print(&script).map(|()| ExitCode::SUCCESS)
        }
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            failure.tell();
            failure.code()
        }
    }
}
