//! Instructions for each echoed message, counted under callgrind. They hardly depend on the machine or on what else it does.
//!
//! A server runs twice, with few messages and with many; the difference leaves out the start, the handshake and the end.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::runner::Places;
use crate::runner::process::{self, Running, Started};
use crate::runner::servers::Server;
use crate::spec::{Spec, Until, Work};

const FEW: u64 = 2_000;
const MANY: u64 = 12_000;

/// Messages of 32 bytes on one connection, 16 in flight: no timer, no other connection.
pub fn per_message(places: &Places, server: &Server) -> Result<f64> {
    let few = count(places, server, FEW)?;
    let many = count(places, server, MANY)?;
    ensure!(
        many > few,
        "{many} instructions for {MANY} messages, {few} for {FEW}"
    );
    Ok((many - few) as f64 / (MANY - FEW) as f64)
}

fn count(places: &Places, server: &Server, messages: u64) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(server.command.split_whitespace());
    let started = Running::start_command(places, &server.name, command, &[])?;
    let Started::Ready(mut running) = started else {
        bail!("the server does not start under valgrind");
    };
    let spec = Spec {
        address: running.address(),
        pid: Some(running.pid()),
        raw: server.raw,
        tls: false,
        deflate: false,
        work: Work::Echo {
            connections: 1,
            size: 32,
            in_flight: 16,
            json: false,
            until: Until::Messages(messages),
        },
    };
    process::load(places, &spec, 10.0)?;
    let said = running.stop()?;
    collected(&said).context("callgrind does not say what it collected")
}

/// From `==7== Collected : 123456`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found() {
        let said = "==7== Events    : Ir\n==7== Collected : 35411822\n==7== \n";
        assert_eq!(collected(said), Some(35_411_822));
        assert_eq!(collected("==7== Process terminating"), None);
    }
}
