//! What a peer says is not to move the cursor: [`escape`] for terminals, and hexadecimal for binary messages.

use std::borrow::Cow;
use std::fmt::Write;

/// Control characters, and those that turn the direction of writing, as `\u{1b}`. Tabs and line breaks stay.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// The same in JSON, where a line break of a string is escaped anyway.
pub(crate) fn escape_json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            // None of them is above U+FFFF. Writing to a `String` does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn is_unsafe(character: char) -> bool {
    match character {
        '\t' | '\n' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        _ => character.is_control(),
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a `String` does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Pairs of digits; spaces between them are passed over.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| u8::try_from(character.to_digit(16)?).ok())
        .collect();
    let (pairs, rest) = digits.as_ref()?.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, expected) in [
            ("plain, ü and 日本", "plain, ü and 日本"),
            ("a\tb\nc", "a\tb\nc"),
            ("\u{1b}[2Jgone\u{7}", "\\u{1b}[2Jgone\\u{7}"),
            ("over\rwritten", "over\\rwritten"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("safe\u{202e}txt.exe", "safe\\u{202e}txt.exe"),
            ("\u{61c}1", "\\u{61c}1"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn json_says_the_same_and_nothing_that_a_terminal_would_obey() {
        let text = "\u{1b}[2J \u{7f} \u{9b}31m \u{9d} \u{202e} \u{61c} ü 日本\n\t";
        let json = serde_json::json!({ "text": text }).to_string();
        let escaped = escape_json(&json);
        assert!(!escaped.contains(is_unsafe), "{escaped}");
        assert!(escaped.contains("\\u007f \\u009b31m \\u009d \\u202e \\u061c ü 日本"));
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read["text"], text);
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(to_hex(&[0, 0x7f, 0xff]), "007fff");
        assert_eq!(from_hex("00 7F ff"), Some(vec![0, 0x7f, 0xff]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
    }
}
