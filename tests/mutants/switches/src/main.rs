//! Run by `scripts/mutants`: `mutant-switches TREE LIST RESULT [WITHOUT]` writes the mutants of cargo-mutants' LIST into the
//! sources in TREE, a copy, all at once, each behind a switch (`switch.rs.txt`) that the environment turns on. So they are built
//! once and not once each, which is most of what a mutant costs. RESULT says which are written and which cannot build, by
//! their index in LIST. WITHOUT leaves out those that did not build before, and keeps `const` what has to be: other functions
//! lose it, for a switch is asked at run time.
//!
//! Around the code of mutant 7 stands `/*m7*/…/*w7*/`, by which the caller finds whose fault an error of the compiler is.

mod edit;
mod find;
mod mutant;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::mutant::Mutant;

/// What decides at run time, for the crate whose sources are rewritten.
const SWITCH: &str = include_str!("switch.rs.txt");

/// What is not to be changed.
#[derive(Default, Deserialize)]
struct Without {
    mutants: BTreeSet<usize>,
    /// The names of functions.
    constant: BTreeSet<String>,
}

/// What became of the list. Those in neither have to be built alone.
#[derive(Default, Serialize)]
struct Written {
    switched: Vec<usize>,
    unviable: Vec<usize>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (tree, list, result, without) = match args.as_slice() {
        [tree, list, result] => (tree, list, result, None),
        [tree, list, result, without] => (tree, list, result, Some(without)),
        _ => bail!("usage: mutant-switches TREE LIST RESULT [WITHOUT]"),
    };
    let mutants: Vec<Mutant> = read(list)?;
    let without: Without = without.map_or_else(|| Ok(Without::default()), |path| read(path))?;
    let mut files: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (index, mutant) in mutants.iter().enumerate() {
        if !without.mutants.contains(&index) {
            files.entry(&mutant.file).or_default().push((index, mutant));
        }
    }
    let mut all = Written::default();
    let mut crates = BTreeSet::new();
    for (file, mutants) in files {
        let path = Path::new(tree).join(file);
        let source = fs::read_to_string(&path).with_context(|| file.to_owned())?;
        let found =
            find::find(&source, &mutants, &without.constant).with_context(|| file.to_owned())?;
        fs::write(&path, edit::apply(&source, found.edits))?;
        all.switched.extend(found.switched);
        all.unviable.extend(found.unviable);
        if let Some((root, _)) = file.split_once("/src/") {
            crates.insert(Path::new(tree).join(root).join("src"));
        }
    }
    for root in crates {
        fs::write(root.join("mutant_switch.rs"), SWITCH)?;
        let lib = root.join("lib.rs");
        let source = fs::read_to_string(&lib)?;
        fs::write(
            &lib,
            format!("{source}\n#[doc(hidden)]\npub mod mutant_switch;\n"),
        )?;
    }
    fs::write(result, serde_json::to_string(&all)?)?;
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(path: &str) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    serde_json::from_str(&text).with_context(|| path.to_owned())
}
