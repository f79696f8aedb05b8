//! Header fields that are comma-separated lists of tokens (RFC 9110 §5.6), over all their lines.
//! What a list means is for the callers.

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderValue};

/// Whether one of the list's elements is exactly `token`, in any case.
pub(super) fn list_contains(headers: &HeaderMap, name: impl AsHeaderName, token: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// The list's elements, without the empty ones that RFC 9110 §5.6.1.2 has a recipient skip.
pub(super) fn elements(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(trim_blanks)
        .filter(|element| !element.is_empty())
}

/// A header field that must be there once.
pub(super) enum Single<'a> {
    Missing,
    One(&'a HeaderValue),
    Repeated,
}

pub(super) fn find_single(headers: &HeaderMap, name: impl AsHeaderName) -> Single<'_> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Single::Missing,
        (Some(line), None) => Single::One(line),
        (Some(_), Some(_)) => Single::Repeated,
    }
}

/// A token (RFC 9110 §5.6.2), as a string.
pub(super) fn parse_token(bytes: &[u8]) -> Option<&str> {
    if bytes.is_empty() || !bytes.iter().all(|&byte| is_token_byte(byte)) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Without the spaces and tabs around it, which are all the blanks that a header value has.
pub(super) fn trim_blanks(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("connection", HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn a_list_is_read_over_all_lines_by_whole_tokens() {
        let check = |lines: &[&'static str], expected| {
            let found = list_contains(&headers(lines), "connection", "upgrade");
            assert_eq!(found, expected, "{lines:?}");
        };
        check(&["Upgrade"], true);
        check(&["keep-alive, UPGRADE"], true);
        check(&["keep-alive", "upgrade"], true);
        check(&[", ,\tupgrade\t,"], true);
        check(&[], false);
        check(&[""], false);
        check(&["not-upgrade"], false);
        check(&["upgrade-insecure"], false);
        check(&["keep-alive upgrade"], false);
        check(&["\"upgrade\""], false);
    }

    #[test]
    fn tokens_are_those_of_rfc_9110() {
        let tokens: String = (0..=u8::MAX)
            .filter(|&byte| parse_token(&[byte]).is_some())
            .map(char::from)
            .collect();
        assert_eq!(
            tokens,
            "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
        );
        assert_eq!(parse_token(b""), None);
        assert_eq!(parse_token(b"v1.chat"), Some("v1.chat"));
    }
}
