//! The head of a request or response as text, a line each, as far as the [`http`] types can hold it. HTTP is parsed by
//! hyper, which is fuzzed where it is made; here it is enough that any header can be said.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The first line, and the headers of the others; what is none is left out.
pub(crate) fn parse_head(bytes: &[u8]) -> (&[u8], HeaderMap) {
    let mut lines = bytes
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let name = halves
            .next()
            .and_then(|name| HeaderName::from_bytes(name).ok());
        // A value comes without the blanks around it from hyper, and with them from elsewhere.
        let value = halves
            .next()
            .and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (first, headers)
}

/// The lines of a header, lossily and without the blanks around them.
pub(crate) fn lines(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter();
    lines
        .map(|line| trim(&String::from_utf8_lossy(line.as_bytes())).to_owned())
        .collect()
}

/// The elements of a list over all its lines, those left out that are empty.
pub(crate) fn elements(headers: &HeaderMap, name: &str) -> Vec<String> {
    let joined = lines(headers, name).join(",");
    let elements = joined.split(',').map(trim).filter(|it| !it.is_empty());
    elements.map(str::to_owned).collect()
}

/// Whether the list has this element, in any case.
pub(crate) fn has_element(headers: &HeaderMap, name: &str, element: &str) -> bool {
    let elements = elements(headers, name);
    elements.iter().any(|it| it.to_ascii_lowercase() == element)
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    let is_allowed = |char: char| char.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(char);
    !text.is_empty() && text.chars().all(is_allowed)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
