//! `Sec-WebSocket-Extensions` as a list (RFC 6455 §9.1), over all its lines. What an extension's parameters mean is for the
//! callers.

use super::token::{parse_token, trim_blanks};
use http::HeaderMap;
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use std::borrow::Cow;

/// One extension as it was written: its name and its parameters, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// The field does not follow its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the list, without the empty elements that RFC 9110 §5.6.1.2 has a recipient skip.
pub(super) fn parse_extensions(headers: &HeaderMap) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut extensions = Vec::new();
    for line in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        // A comma or semicolon between quotes needs no care: it makes the value no token, and so is refused.
        for element in line.as_bytes().split(|&byte| byte == b',') {
            if !trim_blanks(element).is_empty() {
                extensions.push(parse_extension(element)?);
            }
        }
    }
    Ok(extensions)
}

fn parse_extension(element: &[u8]) -> Result<Extension<'_>, Malformed> {
    let mut pieces = element.split(|&byte| byte == b';').map(trim_blanks);
    let name = pieces.next().and_then(parse_token).ok_or(Malformed)?;
    let parameters = pieces.map(parse_parameter).collect::<Result<_, _>>()?;
    Ok(Extension { name, parameters })
}

fn parse_parameter(piece: &[u8]) -> Result<(&str, Option<Cow<'_, str>>), Malformed> {
    let mut halves = piece.splitn(2, |&byte| byte == b'=').map(trim_blanks);
    let name = halves.next().and_then(parse_token).ok_or(Malformed)?;
    let value = halves.next().map(|value| {
        // RFC 6455 §9.1: a quoted value must be a token as well, unquoted.
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        let value = match quoted {
            Some(quoted) if quoted.contains(&b'\\') => {
                let unescaped = unescape(quoted).ok_or(Malformed)?;
                parse_token(&unescaped).map(|value| Cow::Owned(value.to_owned()))
            }
            _ => parse_token(quoted.unwrap_or(value)).map(Cow::Borrowed),
        };
        value.ok_or(Malformed)
    });
    Ok((name, value.transpose()?))
}

/// RFC 9110 §5.6.4: a backslash and a byte stand for the byte. `None` if there is no byte behind the last one.
fn unescape(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut unescaped = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        unescaped.push(if byte == b'\\' { *bytes.next()? } else { byte });
    }
    Some(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn a_list_is_read_over_all_lines() {
        let headers = headers(&[
            "a; x=1; y, ,b ;z=\"9\"; w, d; v=\"\\1\\0\"",
            "",
            "\tc",
            "permessage-deflate; client_max_window_bits",
        ]);
        let read: Vec<_> = parse_extensions(&headers)
            .unwrap()
            .into_iter()
            .map(|extension| {
                let parameters = extension.parameters.into_iter();
                let parameters = parameters.map(|(name, value)| (name, value.map(Cow::into_owned)));
                (extension.name, parameters.collect::<Vec<_>>())
            })
            .collect();
        let value = |value: &str| Some(value.to_owned());
        assert_eq!(
            read,
            [
                ("a", vec![("x", value("1")), ("y", None)]),
                ("b", vec![("z", value("9")), ("w", None)]),
                ("d", vec![("v", value("10"))]),
                ("c", vec![]),
                ("permessage-deflate", vec![("client_max_window_bits", None)]),
            ]
        );
    }

    #[test]
    fn what_does_not_follow_the_grammar_is_refused() {
        for line in [
            "a;",
            "a; =1",
            "a; x=",
            "a; x=\"",
            "a; x=\"1",
            "a; x=\"1,2\"",
            "a; x=\"1;2\"",
            "a; x=\",b,\"",
            "a; x=\"\"",
            "a; x=1 2",
            "a b",
            "a; x y",
            "; x",
            "a; x=\"\\\"",
            "a; x=\"1\\,2\"",
            "a; x=\"\\\"\"",
            "a; x=\"1\\",
            "a; x=\\1",
        ] {
            assert_eq!(
                parse_extensions(&headers(&[line])),
                Err(Malformed),
                "{line}"
            );
        }
    }
}
