//! The page's client is what the types say.

#[path = "../../src/event.rs"]
#[allow(dead_code, reason = "only the types are of interest here")]
mod event;

use dreamsocket_schema::Protocol;

#[test]
fn the_pages_client_is_fresh() {
    let protocol = Protocol::new::<event::Command, event::Tell>("chat", "1.0.0").with_path("/chat");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
    assert!(
        protocol.stale(folder).unwrap().is_empty(),
        "write it anew: cargo run -p chat --features schema --example protocol"
    );
}
