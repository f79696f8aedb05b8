//! The pages of the guide that state facts, held to the code.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the page fails")]

use dreamsocket::Config;

/// The fields of `Config` as `Debug` writes them, in order: name and value.
fn fields() -> Vec<(String, String)> {
    let text = format!("{:?}", Config::default());
    let inner = text
        .strip_prefix("Config { ")
        .and_then(|text| text.strip_suffix(" }"))
        .unwrap();
    let mut fields = vec![String::new()];
    let mut depth = 0;
    for character in inner.chars() {
        match character {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                fields.push(String::new());
                continue;
            }
            _ => {}
        }
        fields.last_mut().unwrap().push(character);
    }
    let pairs = fields
        .iter()
        .map(|field| field.trim().split_once(": ").unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// `1048576` → `1048576 bytes` or `1048576`, `Some(30s)` → `30 s`.
fn is_said(value: &str, said: &str) -> bool {
    let value = value.trim_start_matches("Some(").trim_end_matches(')');
    let value = if value == "0ns" { "0s" } else { value };
    match value
        .strip_suffix('s')
        .and_then(|seconds| seconds.parse::<u64>().ok())
    {
        Some(seconds) => said == format!("{seconds} s"),
        None => said == value || said == format!("{value} bytes"),
    }
}

#[test]
fn the_page_of_limits_says_what_the_code_does() {
    let page = include_str!("../../../docs/limits.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let fields = fields();
    let named: Vec<String> = rows
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    let expected: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(named, expected, "one row a field, in the order of the code");
    for ((name, value), row) in fields.iter().zip(&rows) {
        let in_words = match name.as_str() {
            "origins" => Some("same origin"),
            "compression" => Some("off"),
            "rate_excess" => Some("wait"),
            "undecodable" => Some("told"),
            _ if value == "None" => Some("none"),
            _ => None,
        };
        if let Some(words) = in_words {
            assert_eq!(row[1], words);
            continue;
        }
        assert!(
            is_said(value, row[1]),
            "{name} is {value}, the page says {}",
            row[1]
        );
        assert!(row[3].len() > 10, "{name} has a reason");
    }
}

/// The keys of a section of the manifest, and what they are.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    let lines = manifest
        .lines()
        .skip_while(|line| *line != format!("[{name}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .collect()
}

#[test]
fn the_table_of_features_has_all_of_them() {
    let features = section(include_str!("../Cargo.toml"), "features");
    let is_default = |name: &str| {
        let (_, defaults) = features.iter().find(|(key, _)| *key == "default").unwrap();
        defaults.contains(&format!("\"{name}\""))
    };
    let mut expected: Vec<(&str, bool)> = features
        .iter()
        // Said below the table.
        .filter(|(name, _)| !["default", "simulation"].contains(name))
        .map(|(name, _)| (*name, is_default(name)))
        .collect();
    expected.sort_unstable();

    let root = include_str!("../src/lib.rs");
    let rows = root.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let mut listed = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(cells[2].len() > 10, "{row}");
        let names = cells[0].split(", ").map(|name| name.trim_matches('`'));
        listed.extend(names.map(|name| (name, cells[1] == "on")));
    }
    listed.sort_unstable();
    assert_eq!(listed, expected, "one row a feature, and which are on");
}
