//! The table of servers, `bench/servers/servers.toml`: what each can do, how it is started, and which version it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// The one that this repository is about.
pub const OURS: &str = "dreamsocket";
/// The limit that all are compared with.
pub const RAW: &str = "raw";

/// One server of the table. What is false is left out there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub name: String,
    /// From the folder `bench`.
    pub command: String,
    /// Where the version is found in the table; in results, the version itself.
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub deflate: bool,
    #[serde(default)]
    pub tls: bool,
    /// No handshake, no frames.
    #[serde(default)]
    pub raw: bool,
    /// Writes each message by itself, and does not count where 16 are in flight.
    #[serde(default)]
    pub write_per_message: bool,
    /// Its instructions can be counted.
    #[serde(default)]
    pub rust: bool,
}

#[derive(Debug, Deserialize)]
struct Table {
    server: Vec<Server>,
}

pub fn parse(text: &str) -> Result<Vec<Server>> {
    let table: Table = toml::from_str(text)?;
    let mut names: Vec<_> = table.server.iter().map(|server| &server.name).collect();
    names.sort();
    ensure!(
        names.windows(2).all(|pair| pair[0] != pair[1]),
        "two servers have one name"
    );
    Ok(table.server)
}

/// Reads the table and puts in the versions.
pub fn read(path: &Path, bench: &Path) -> Result<Vec<Server>> {
    let text = fs::read_to_string(path).with_context(|| format!("no {}", path.display()))?;
    let mut servers = parse(&text).with_context(|| format!("in {}", path.display()))?;
    for server in &mut servers {
        server.version = version(server, bench).unwrap_or_default();
    }
    Ok(servers)
}

fn version(server: &Server, bench: &Path) -> Option<String> {
    if server.version == "own" {
        return own_version(bench);
    }
    let (kind, name) = server.version.split_once(' ')?;
    let found = match kind {
        "crate" => {
            let lock = fs::read_to_string(bench.join("Cargo.lock")).ok()?;
            cargo_version(&lock, name)
        }
        "npm" => {
            let script = server.command.split_whitespace().last()?;
            let folder = bench.join(script);
            let lock = folder.parent()?.join("package-lock.json");
            npm_version(&fs::read_to_string(lock).ok()?, name)
        }
        _ => None,
    };
    Some(format!("{name} {}", found?))
}

/// The commit, and a `+` if there is more than was committed.
fn own_version(bench: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .current_dir(bench)
            .args(arguments)
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--", "../crates", "servers"])?;
    let more = if changed.is_empty() { "" } else { "+" };
    Some(format!("{}{more}", commit.trim()))
}

#[derive(Deserialize)]
struct CargoLock {
    package: Vec<CargoPackage>,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
    version: String,
}

/// The last of that name: cargo sorts by version.
fn cargo_version(lock: &str, name: &str) -> Option<String> {
    let lock: CargoLock = toml::from_str(lock).ok()?;
    let found = lock
        .package
        .into_iter()
        .rfind(|package| package.name == name);
    found.map(|package| package.version)
}

fn npm_version(lock: &str, name: &str) -> Option<String> {
    let lock: serde_json::Value = serde_json::from_str(lock).ok()?;
    let package = &lock["packages"][format!("node_modules/{name}")];
    package["version"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let servers = parse(
            "[[server]]\nname = 'raw'\ncommand = 'target/release/raw'\nversion = 'crate tokio'\nraw = true\n\
             [[server]]\nname = 'ws'\ncommand = 'node node/ws.js'\ndeflate = true\nwrite_per_message = true\n",
        )
        .unwrap();
        assert!(servers[0].raw && !servers[0].deflate && !servers[0].rust);
        assert!(servers[1].deflate && servers[1].write_per_message);
        assert!(parse("[[server]]\nname='a'\ncommand='a'\ntsl=true").is_err());
        assert!(
            parse("[[server]]\nname='a'\ncommand='a'\n[[server]]\nname='a'\ncommand='b'").is_err()
        );
    }

    #[test]
    fn versions_come_from_the_lock_files() {
        let cargo = "version = 4\n[[package]]\nname = \"axum\"\nversion = \"0.7.1\"\n\
                     [[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n";
        assert_eq!(cargo_version(cargo, "axum").as_deref(), Some("0.8.9"));
        assert_eq!(cargo_version(cargo, "warp"), None);
        let npm = r#"{"packages":{"":{},"node_modules/ws":{"version":"8.18.0"}}}"#;
        assert_eq!(npm_version(npm, "ws").as_deref(), Some("8.18.0"));
        assert_eq!(npm_version(npm, "uws"), None);
    }
}
