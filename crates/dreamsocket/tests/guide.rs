//! The guide as a book: every page is in its table of contents, every link and anchor leads somewhere, and all Rust code is
//! in a doc test. What the pages say is not looked at here (`docs.rs`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot read the pages fails"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Markdown files of a folder, by name.
fn pages(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(root().join(folder)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md")).collect()
}

/// Whether a line opens or closes a block of code.
fn is_fence(line: &str) -> bool {
    line.trim_start().starts_with("```")
}

/// The lines that are not code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_prose = !is_code && !is_fence(line);
        is_code ^= is_fence(line);
        is_prose
    })
}

/// A line without what stands between backticks, where brackets are not links.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The targets of a page's links.
fn links(page: &str) -> Vec<String> {
    // Joined, since the text of a link may be broken over two lines.
    let text: Vec<String> = prose(page).map(without_code).collect();
    let text = text.join("\n");
    let targets = text.split("](").skip(1);
    targets
        .map(|rest| rest.split(')').next().unwrap_or_default().to_owned())
        .collect()
}

/// What a heading is reached by, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|character| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        _ if character.is_alphanumeric() => Some(character),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

/// What is wrong with the links of a page.
fn dead_links(folder: &str, name: &str) -> Vec<String> {
    let here = root().join(folder).join(name);
    let mut dead = Vec::new();
    for link in links(&read(&here)) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
        let target = if path.is_empty() {
            here.clone()
        } else {
            root().join(folder).join(path)
        };
        let is_page = target.extension().is_some_and(|kind| kind == "md");
        if !target.exists() {
            dead.push(format!("{folder}/{name}: {link}: there is no such file"));
        } else if is_page && !fragment.is_empty() && !anchors(&read(&target)).contains(fragment) {
            dead.push(format!("{folder}/{name}: {link}: there is no such heading"));
        }
    }
    dead
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    let mut listed = links(&summary);
    listed.sort_unstable();
    let mut expected = pages("docs");
    expected.remove("SUMMARY.md");
    assert_eq!(
        listed,
        expected.into_iter().collect::<Vec<_>>(),
        "docs/SUMMARY.md, left, lists the pages of docs/, right"
    );
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for folder in ["docs", ".", "bench"] {
        for name in pages(folder) {
            dead.extend(dead_links(folder, &name));
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn every_page_with_rust_code_is_a_doc_test() {
    // Where pages are doc tests.
    let sources = [
        "crates/dreamsocket/src/lib.rs",
        "tests/migrating/src/lib.rs",
    ];
    let sources = sources.map(|path| read(&root().join(path)));
    for name in pages("docs") {
        let page = read(&root().join("docs").join(&name));
        let has_rust = page
            .lines()
            .any(|line| line.trim_start().starts_with("```rust"));
        let include = format!("include_str!(\"../../../docs/{name}\")");
        let included = sources.iter().any(|source| source.contains(&include));
        assert_eq!(
            has_rust, included,
            "docs/{name} has Rust code (left); {include} is in a list of pages, such as lib.rs's (right)"
        );
    }
}

#[test]
fn an_anchor_is_what_github_makes_of_a_heading() {
    for (heading, expected) in [
        (
            "A codec: typed messages, one frame",
            "a-codec-typed-messages-one-frame",
        ),
        ("Serving: `Server`, axum's own", "serving-server-axums-own"),
        ("S1–S3 and `on_close`", "s1s3-and-on_close"),
    ] {
        assert_eq!(anchor(heading), expected);
    }
}

#[test]
fn a_link_in_code_is_none() {
    let page = "[a](b.md) `[x](y.md)`\n```\n[c](d.md)\n```\n[two\nlines](e.md#f)";
    assert_eq!(links(page), ["b.md", "e.md#f"]);
}
