//! Each body over the inputs that are committed for it: the seeds that were written by hand and what a fuzzer found beyond
//! them. So they are run on every push, without a fuzzer.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use fuzz_bodies::{TARGETS, differential};
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

fn folder(kind: &str, target: &str) -> PathBuf {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fuzz.join(kind).join(target)
}

/// The inputs of a target, and where each is.
fn inputs(kind: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder(kind, target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = files.map(|file| file.unwrap().path());
    paths
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect()
}

#[test]
fn the_bodies_hold_for_the_corpus() {
    let mut failed = Vec::new();
    for (target, run) in TARGETS {
        for kind in ["seeds", "corpus"] {
            let inputs = inputs(kind, target);
            assert!(inputs.len() >= 10, "{target}: {} of {kind}", inputs.len());
            for (path, input) in inputs {
                if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
                    failed.push(path);
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_bodies_hold_for_short_inputs() {
    for (_, run) in TARGETS {
        run(&[]);
        for byte in 0..=u8::MAX {
            run(&[byte]);
            run(&[byte, 0]);
            run(&[0, byte]);
        }
    }
}

#[test]
fn each_folder_is_of_a_target() {
    for kind in ["seeds", "corpus"] {
        let folders = fs::read_dir(folder(kind, "")).unwrap();
        let names: BTreeSet<_> = folders
            .map(|folder| folder.unwrap().file_name().into_string().unwrap())
            .collect();
        let targets = TARGETS.map(|(name, _)| name.to_owned());
        assert_eq!(names, BTreeSet::from(targets));
    }
}

/// A row that nothing shows any more is one to take out.
#[test]
fn each_difference_to_tungstenite_is_seen() {
    let seen: BTreeSet<_> = inputs("seeds", "differential")
        .iter()
        .filter_map(|(_, input)| differential::compare(input))
        .map(|difference| difference.what)
        .collect();
    let all = differential::DIFFERENCES.iter();
    let all: BTreeSet<_> = all.map(|difference| difference.what).collect();
    assert_eq!(seen, all);
}
