//! The negotiation of permessage-deflate (RFC 7692 §7.1): pure, both roles. What was agreed on is acted on by the engine.

use super::extensions::Extension;
use crate::config::Role;
use http::HeaderValue;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The largest window that DEFLATE has: 2^15 bytes, 32 KiB.
pub const MAX_WINDOW_BITS: u8 = 15;

/// The smallest window that zlib compresses with: 2^9 bytes. RFC 7692 allows 8, too.
pub const MIN_WINDOW_BITS: u8 = 9;

/// What one side wants of permessage-deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the two things that RFC 7692 lets a side choose"
)]
pub struct DeflateWish {
    /// Whether a message may refer back to those before it (RFC 7692 §7.1.1): smaller, for a window of bytes that both sides
    /// keep between messages.
    pub context_takeover: bool,
    /// The window in each direction, as the exponent of a power of two: [`MIN_WINDOW_BITS`] to [`MAX_WINDOW_BITS`]; values
    /// beyond count as the nearest. Without context takeover the peer's window is left to the peer.
    pub window_bits: u8,
}

impl DeflateWish {
    /// No context takeover, the largest window.
    pub const ALONE: Self = Self {
        context_takeover: false,
        window_bits: MAX_WINDOW_BITS,
    };

    fn window_bits(self) -> u8 {
        self.window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS)
    }
}

/// What both sides agreed on (RFC 7692 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "the four parameters of RFC 7692")]
pub struct DeflateParams {
    /// The server compresses each message by itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself.
    pub client_no_context_takeover: bool,
    /// The server refers at most 2 to the power of this many bytes back: 9 to 15 (8 where the peer is a server).
    pub server_max_window_bits: u8,
    /// The client refers at most 2 to the power of this many bytes back: 8 to 15.
    pub client_max_window_bits: u8,
}

impl DeflateParams {
    /// Whether this role may refer back to its earlier messages, and over how many bytes as an exponent.
    pub(crate) const fn of(self, role: Role) -> (bool, u8) {
        match role {
            Role::Server => (
                !self.server_no_context_takeover,
                self.server_max_window_bits,
            ),
            Role::Client => (
                !self.client_no_context_takeover,
                self.client_max_window_bits,
            ),
        }
    }
}

/// The parameters of one offer, or of a response, each at most once and with a value that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// `Some(None)` is the parameter without a value, which an offer may have.
    client_max_window_bits: Option<Option<u8>>,
}

impl Offer {
    /// Reads an offer. `None` if it is for another extension, or one that RFC 7692 §7 has a server decline: a parameter that
    /// is unknown, repeated, or has a value that it must not have.
    pub(super) fn parse(extension: &Extension<'_>) -> Option<Self> {
        if !extension.name.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut offer = Self::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            let is_new = match *name {
                SERVER_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut offer.server_no_context_takeover, true)
                }
                CLIENT_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut offer.client_no_context_takeover, true)
                }
                SERVER_MAX_WINDOW_BITS => {
                    let bits = parse_window_bits(value?)?;
                    offer.server_max_window_bits.replace(bits).is_none()
                }
                CLIENT_MAX_WINDOW_BITS => {
                    let bits = match value {
                        Some(value) => Some(parse_window_bits(value)?),
                        None => None,
                    };
                    offer.client_max_window_bits.replace(bits).is_none()
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(offer)
    }

    /// The server's side: what is agreed on, and the extension of the response. `None` if the offer can't be honoured.
    fn accept(self, wish: DeflateWish) -> Option<(DeflateParams, HeaderValue)> {
        let offered = self.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        if offered < MIN_WINDOW_BITS {
            return None;
        }
        let limit = wish.window_bits();
        let server_max_window_bits = offered.min(limit);
        let (client_max_window_bits, client_no_context_takeover) = match self.client_max_window_bits
        {
            // Nothing is kept between messages, so the client's window is its own affair.
            _ if !wish.context_takeover => (MAX_WINDOW_BITS, true),
            Some(bits) => {
                let bits = bits.unwrap_or(MAX_WINDOW_BITS).min(limit);
                (bits, self.client_no_context_takeover)
            }
            // §7.1.2.2: a client that did not say so can't be asked for a smaller window; so, if we would keep less
            // than the largest, it is asked not to refer back at all.
            None => (
                MAX_WINDOW_BITS,
                self.client_no_context_takeover || limit < MAX_WINDOW_BITS,
            ),
        };
        let params = DeflateParams {
            server_no_context_takeover: !wish.context_takeover || self.server_no_context_takeover,
            client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        };
        let mut response = NAME.to_owned();
        if params.server_no_context_takeover {
            add(&mut response, SERVER_NO_CONTEXT_TAKEOVER, None);
        }
        if params.client_no_context_takeover {
            add(&mut response, CLIENT_NO_CONTEXT_TAKEOVER, None);
        }
        if self.server_max_window_bits.is_some() || server_max_window_bits < MAX_WINDOW_BITS {
            add(
                &mut response,
                SERVER_MAX_WINDOW_BITS,
                Some(server_max_window_bits),
            );
        }
        if client_max_window_bits < MAX_WINDOW_BITS {
            add(
                &mut response,
                CLIENT_MAX_WINDOW_BITS,
                Some(client_max_window_bits),
            );
        }
        Some((params, HeaderValue::try_from(response).ok()?))
    }

    /// The client's side: what a response to [`write_offer`] agrees on, or `None` if it may not say so.
    fn agree(self, wish: DeflateWish) -> Option<DeflateParams> {
        let offered = wish.window_bits();
        let server_max_window_bits = match self.server_max_window_bits {
            // §7.1.2.1: a response without it leaves the largest window, which nothing is to be kept of if the server does
            // not refer back: so some servers answer any offer.
            None if offered < MAX_WINDOW_BITS
                && wish.context_takeover
                && !self.server_no_context_takeover =>
            {
                return None;
            }
            None => MAX_WINDOW_BITS,
            Some(bits)
                if wish.context_takeover && bits > offered && !self.server_no_context_takeover =>
            {
                return None;
            }
            Some(bits) => bits,
        };
        let client_max_window_bits = match self.client_max_window_bits {
            None => offered,
            // §7.1.2.2: in a response it has a value.
            Some(bits) => bits?.min(offered),
        };
        if !wish.context_takeover && !self.server_no_context_takeover {
            return None;
        }
        Some(DeflateParams {
            server_no_context_takeover: self.server_no_context_takeover,
            // One who may refer back needs not.
            client_no_context_takeover: self.client_no_context_takeover || !wish.context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        })
    }
}

/// The first of the offers that can be honoured (RFC 7692 §5).
pub(super) fn accept_first(
    offers: &[Offer],
    wish: DeflateWish,
) -> Option<(DeflateParams, HeaderValue)> {
    offers.iter().find_map(|offer| offer.accept(wish))
}

/// The client's `Sec-WebSocket-Extensions`.
pub(super) fn write_offer(wish: DeflateWish) -> HeaderValue {
    let mut offer = NAME.to_owned();
    let bits = wish.window_bits();
    let is_smaller = bits < MAX_WINDOW_BITS && wish.context_takeover;
    if !wish.context_takeover {
        add(&mut offer, SERVER_NO_CONTEXT_TAKEOVER, None);
        add(&mut offer, CLIENT_NO_CONTEXT_TAKEOVER, None);
    }
    if is_smaller {
        add(&mut offer, SERVER_MAX_WINDOW_BITS, Some(bits));
    }
    add(
        &mut offer,
        CLIENT_MAX_WINDOW_BITS,
        is_smaller.then_some(bits),
    );
    HeaderValue::try_from(offer).unwrap_or_else(|_| HeaderValue::from_static(NAME))
}

/// What the server's response says about the client's offer. `Err`: it may not say that.
pub(super) fn check_answer(
    extensions: &[Extension<'_>],
    wish: Option<DeflateWish>,
) -> Result<Option<DeflateParams>, InvalidAnswer> {
    let (extension, wish) = match (extensions, wish) {
        ([], _) => return Ok(None),
        ([extension], Some(wish)) if extension.name.eq_ignore_ascii_case(NAME) => (extension, wish),
        _ => return Err(InvalidAnswer::Unoffered),
    };
    Offer::parse(extension)
        .and_then(|answer| answer.agree(wish))
        .map(Some)
        .ok_or(InvalidAnswer::Parameters)
}

/// Why a response's extensions are not an answer to the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InvalidAnswer {
    Unoffered,
    Parameters,
}

fn add(header: &mut String, name: &str, value: Option<u8>) {
    header.push_str("; ");
    header.push_str(name);
    if let Some(value) = value {
        header.push('=');
        header.push_str(&value.to_string());
    }
}

/// RFC 7692 §7.1.2: a decimal number from 8 to 15 without leading zeroes.
fn parse_window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        b"8" => Some(8),
        b"9" => Some(9),
        &[b'1', ones @ b'0'..=b'5'] => Some(ones.saturating_sub(b'0').saturating_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::extensions::parse_extensions;
    use super::*;
    use http::HeaderMap;
    use http::header::SEC_WEBSOCKET_EXTENSIONS;

    const SHARED: DeflateWish = DeflateWish::ALONE;

    const fn dedicated(window_bits: u8) -> DeflateWish {
        DeflateWish {
            context_takeover: true,
            window_bits,
        }
    }

    fn headers(line: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            SEC_WEBSOCKET_EXTENSIONS,
            HeaderValue::from_str(line).unwrap(),
        )])
    }

    fn accept(line: &str, wish: DeflateWish) -> Option<(DeflateParams, String)> {
        let headers = headers(line);
        let extensions = parse_extensions(&headers).unwrap();
        let offers: Vec<_> = extensions.iter().filter_map(Offer::parse).collect();
        accept_first(&offers, wish)
            .map(|(params, header)| (params, header.to_str().unwrap().to_owned()))
    }

    #[track_caller]
    fn check(line: &str, wish: DeflateWish, expected: Option<&str>) {
        let answer = accept(line, wish).map(|(_, header)| header);
        let expected = expected.map(|rest| format!("permessage-deflate{rest}"));
        assert_eq!(answer, expected, "{line}");
    }

    const ALONE: &str = "; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn an_offer_is_accepted_with_what_the_server_wants() {
        check("permessage-deflate", SHARED, Some(ALONE));
        check(
            "PerMessage-Deflate; client_max_window_bits",
            SHARED,
            Some(ALONE),
        );
        let narrow = format!("{ALONE}; server_max_window_bits=10");
        check(
            "permessage-deflate; server_max_window_bits=10",
            SHARED,
            Some(&narrow),
        );
        check(
            "permessage-deflate; server_max_window_bits=\"10\"",
            SHARED,
            Some(&narrow),
        );

        check("permessage-deflate", dedicated(15), Some(""));
        check(
            "permessage-deflate; client_max_window_bits",
            dedicated(15),
            Some(""),
        );
        check(
            "permessage-deflate; client_max_window_bits=8; server_max_window_bits=15",
            dedicated(15),
            Some("; server_max_window_bits=15; client_max_window_bits=8"),
        );
        check(
            "permessage-deflate; client_max_window_bits",
            dedicated(11),
            Some("; server_max_window_bits=11; client_max_window_bits=11"),
        );
        check(
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            dedicated(15),
            Some(ALONE),
        );
        // It can't be asked for a smaller window, so it must not refer back.
        check(
            "permessage-deflate",
            dedicated(11),
            Some("; client_no_context_takeover; server_max_window_bits=11"),
        );
    }

    #[test]
    fn an_offer_that_cannot_be_honoured_is_passed_over_for_the_next() {
        let fallback = "permessage-deflate; server_max_window_bits=8, permessage-deflate";
        check(fallback, SHARED, Some(ALONE));
        check("permessage-deflate; server_max_window_bits=8", SHARED, None);
        check(
            "x-webkit-deflate-frame, permessage-deflate; new=1, permessage-deflate",
            dedicated(15),
            Some(""),
        );
        check("x-webkit-deflate-frame", SHARED, None);
    }

    #[test]
    fn an_offer_with_what_it_must_not_have_is_declined() {
        for parameters in [
            "unknown",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=010",
            "server_max_window_bits=+9",
            "server_max_window_bits=9; server_max_window_bits=9",
            "client_max_window_bits=7",
            "client_max_window_bits=x",
            "client_max_window_bits; client_max_window_bits=10",
            "Server_No_Context_Takeover",
        ] {
            check(
                &format!("permessage-deflate; {parameters}"),
                dedicated(15),
                None,
            );
        }
    }

    #[test]
    fn a_client_offers_what_it_wants_and_no_more() {
        let check = |wish, expected: &str| {
            assert_eq!(write_offer(wish), format!("permessage-deflate{expected}"));
        };
        check(dedicated(15), "; client_max_window_bits");
        check(
            dedicated(11),
            "; server_max_window_bits=11; client_max_window_bits=11",
        );
        // Nothing is kept between messages, so a smaller window would save nothing.
        for window_bits in [11, 15] {
            let wish = DeflateWish {
                context_takeover: false,
                window_bits,
            };
            check(wish, &format!("{ALONE}; client_max_window_bits"));
        }
    }

    #[test]
    fn our_own_offers_are_accepted_and_our_answers_agreed_to() {
        for client in [SHARED, dedicated(9), dedicated(12), dedicated(15)] {
            for server in [SHARED, dedicated(9), dedicated(12), dedicated(15)] {
                let offer = write_offer(client).to_str().unwrap().to_owned();
                let (params, answer) = accept(&offer, server).unwrap();
                let headers = headers(&answer);
                let extensions = parse_extensions(&headers).unwrap();
                let agreed = check_answer(&extensions, Some(client)).unwrap().unwrap();
                // Each side may do less than it is allowed to, and never more than the other expects.
                assert_eq!(
                    params.server_no_context_takeover,
                    agreed.server_no_context_takeover
                );
                assert_eq!(params.server_max_window_bits, agreed.server_max_window_bits);
                assert_eq!(
                    agreed.client_no_context_takeover,
                    params.client_no_context_takeover || !client.context_takeover
                );
                assert!(agreed.client_max_window_bits <= params.client_max_window_bits);
            }
        }
    }

    #[test]
    fn an_answer_must_be_one_to_the_offer() {
        let check = |line: &str, wish, expected| {
            let headers = headers(line);
            let extensions = parse_extensions(&headers).unwrap();
            let answer = check_answer(&extensions, wish).map(|params| params.is_some());
            assert_eq!(answer, expected, "{line}");
        };
        let invalid = Err(InvalidAnswer::Parameters);
        check("permessage-deflate", None, Err(InvalidAnswer::Unoffered));
        check("other", Some(SHARED), Err(InvalidAnswer::Unoffered));
        check(
            "permessage-deflate, permessage-deflate",
            Some(dedicated(15)),
            Err(InvalidAnswer::Unoffered),
        );
        check("permessage-deflate", Some(dedicated(15)), Ok(true));
        check("permessage-deflate; unknown", Some(dedicated(15)), invalid);
        check(
            "permessage-deflate; client_max_window_bits",
            Some(dedicated(15)),
            invalid,
        );
        check(
            "permessage-deflate; client_max_window_bits=8",
            Some(dedicated(15)),
            Ok(true),
        );
        check(
            "permessage-deflate; server_max_window_bits=8",
            Some(dedicated(15)),
            Ok(true),
        );
        check("permessage-deflate", Some(dedicated(10)), invalid);
        // What gorilla's servers answer to any offer.
        check(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            Some(dedicated(12)),
            Ok(true),
        );
        check(
            "permessage-deflate; server_max_window_bits=11",
            Some(dedicated(10)),
            invalid,
        );
        check(
            "permessage-deflate; client_no_context_takeover",
            Some(SHARED),
            invalid,
        );
        check(
            "permessage-deflate; server_no_context_takeover",
            Some(SHARED),
            Ok(true),
        );
    }
}
