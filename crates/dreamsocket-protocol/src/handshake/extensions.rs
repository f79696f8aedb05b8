//! `Sec-WebSocket-Extensions` as a list (RFC 6455 §9.1), over all its lines. What an extension's parameters mean is for the
//! callers.

use super::token::{parse_token, trim_blanks};
use http::HeaderMap;
use http::header::SEC_WEBSOCKET_EXTENSIONS;

/// One extension as it was written: its name and its parameters, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: Vec<(&'a str, Option<&'a str>)>,
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

fn parse_parameter(piece: &[u8]) -> Result<(&str, Option<&str>), Malformed> {
    let mut halves = piece.splitn(2, |&byte| byte == b'=').map(trim_blanks);
    let name = halves.next().and_then(parse_token).ok_or(Malformed)?;
    let value = halves.next().map(|value| {
        // RFC 6455 §9.1: a quoted value, unquoted, must be a token as well; so it has no escapes to resolve.
        let unquoted = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        parse_token(unquoted.unwrap_or(value)).ok_or(Malformed)
    });
    Ok((name, value.transpose()?))
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
            "a; x=1; y, ,b ;z=\"9\"; w, d",
            "",
            "\tc",
            "permessage-deflate; client_max_window_bits",
        ]);
        let read: Vec<_> = parse_extensions(&headers)
            .unwrap()
            .into_iter()
            .map(|extension| (extension.name, extension.parameters))
            .collect();
        assert_eq!(
            read,
            [
                ("a", vec![("x", Some("1")), ("y", None)]),
                ("b", vec![("z", Some("9")), ("w", None)]),
                ("d", vec![]),
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
            "a; x=\"\\1\"",
        ] {
            assert_eq!(
                parse_extensions(&headers(&[line])),
                Err(Malformed),
                "{line}"
            );
        }
    }
}
