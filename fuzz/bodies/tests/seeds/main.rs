//! The seeds that are written by hand. Here is what they say, and in `fuzz/seeds` what that is as bytes, where a fuzzer looks
//! for it; a test holds them together. With `BLESS=1` in the environment it writes them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod frames;
mod handshakes;
mod payloads;
mod scripts;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Inputs by their names.
type Seeds = Vec<(String, Vec<u8>)>;

fn check(target: &str, seeds: Seeds) {
    let count = seeds.len();
    let seeds: BTreeMap<_, _> = seeds.into_iter().collect();
    assert_eq!(seeds.len(), count, "a name twice");
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = fuzz.join("seeds").join(target);
    if std::env::var_os("BLESS").is_some() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in &seeds {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let files: BTreeMap<_, _> = fs::read_dir(&folder)
        .expect("the seeds of each target")
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    assert!(
        files == seeds,
        "fuzz/seeds/{target} is not what the tests say: BLESS=1 cargo test -p fuzz-bodies --test seeds"
    );
}

#[test]
fn the_seeds_are_what_is_said_here() {
    check("decoder", frames::decoder());
    check("differential", frames::differential());
    check("engine_pair", scripts::engine_pair());
    check("handshake_client", handshakes::client());
    check("handshake_server", handshakes::server());
    check("inflate", payloads::inflate());
    check("mask", payloads::mask());
    check("utf8", payloads::utf8());
}
