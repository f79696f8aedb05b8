//! Writes what the page needs to know of the server, page/chat.js and its kin, from the types in src/event.rs; with `check`
//! it fails if they are stale.

#[path = "src/event.rs"]
#[allow(dead_code, reason = "only the types are of interest here")]
mod event;

use std::process::ExitCode;

use dreamsocket_schema::Protocol;

fn main() -> ExitCode {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
    Protocol::new::<event::Command, event::Tell>("chat", "1.0.0")
        .with_path("/chat")
        .main(folder)
}
