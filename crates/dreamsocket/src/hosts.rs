//! For which hosts a server, or the inspector, answers: the defence against DNS rebinding.
//!
//! A page of `evil.example` whose name suddenly resolves to 127.0.0.1 is of the same origin as the server there, so neither
//! the browser nor the origin check stops it; but its requests still say `Host: evil.example`. Pure functions over `http`
//! types.

use std::net::IpAddr;

use http::Request;
use http::header::HOST;
use http::uri::Authority;

use crate::hub::cut;

/// The hosts that are answered.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    own: Own,
    /// Names as they were given, without ports.
    allowed: Vec<String>,
    /// Who answers.
    who: &'static str,
    /// What allows more.
    setting: &'static str,
}

/// What is answered without being named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// Any host, unless some are named.
    Any,
    /// What a loopback address is called.
    Loopback,
    /// Addresses and `localhost`, which nobody can point to another address.
    #[cfg_attr(
        not(any(feature = "inspector", test)),
        expect(dead_code, reason = "the inspector's")
    )]
    Addresses,
}

impl Hosts {
    pub(crate) const fn new(own: Own, who: &'static str, setting: &'static str) -> Self {
        Self {
            own,
            allowed: Vec::new(),
            who,
            setting,
        }
    }

    pub(crate) fn allow(&mut self, names: impl IntoIterator<Item = String>) {
        self.allowed.extend(names);
    }

    pub(crate) fn with_own(self, own: Own) -> Self {
        Self { own, ..self }
    }

    /// Checks the host that a request is for. Without one it is no browser's, whose names are in question here. The error is
    /// the line that a 403 carries.
    pub(crate) fn check(&self, asked: Option<&[u8]>) -> Result<(), ForeignHost> {
        if self.own == Own::Any && self.allowed.is_empty() {
            return Ok(());
        }
        let Some(asked) = asked else {
            return Ok(());
        };
        let authority = Authority::try_from(asked).ok();
        if authority.is_some_and(|authority| self.is_allowed(authority.host())) {
            return Ok(());
        }
        Err(ForeignHost {
            who: self.who,
            setting: self.setting,
            host: cut(&String::from_utf8_lossy(asked)).to_owned(),
        })
    }

    fn is_allowed(&self, host: &str) -> bool {
        let is_host = |name: &str| name.eq_ignore_ascii_case(host);
        let is_own = match self.own {
            Own::Any => false,
            Own::Loopback => ["localhost", "127.0.0.1", "[::1]"].into_iter().any(is_host),
            Own::Addresses => {
                let address = host.trim_start_matches('[').trim_end_matches(']');
                address.parse::<IpAddr>().is_ok() || is_host("localhost")
            }
        };
        is_own || self.allowed.iter().any(|name| is_host(name))
    }
}

/// The host that a request to a server is for: `:authority` on HTTP/2 and the target's in absolute form (RFC 9112 §3.2.2),
/// else the one `Host`. Nothing if there is none or more than one: browsers always send one.
pub(crate) fn asked_host<B>(request: &Request<B>) -> Option<&[u8]> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str().as_bytes());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.as_bytes()),
        _ => None,
    }
}

/// A request for a host that is not answered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} does not answer for the host {host:?}: allow it with `{setting}`")]
pub(crate) struct ForeignHost {
    who: &'static str,
    setting: &'static str,
    host: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNS: [Own; 3] = [Own::Any, Own::Loopback, Own::Addresses];

    fn hosts(own: Own) -> Hosts {
        Hosts::new(own, "the kiosk", "Kiosk::allowed_hosts")
    }

    fn is_answered(hosts: &Hosts, host: &str) -> bool {
        hosts.check(Some(host.as_bytes())).is_ok()
    }

    #[test]
    fn only_own_names_are_answered() {
        for (host, on_loopback, by_address) in [
            ("localhost", true, true),
            ("LocalHost:3000", true, true),
            ("127.0.0.1:3000", true, true),
            ("[::1]:3000", true, true),
            ("127.0.0.2", false, true),
            ("10.0.0.5", false, true),
            ("[2001:db8::1]", false, true),
            ("evil.example", false, false),
            ("evil.example:3000", false, false),
            ("localhost.evil.example", false, false),
            ("127.0.0.1.evil.example", false, false),
            ("localhost@evil.example", false, false),
            ("10.0.0.5@evil.example", false, false),
            ("", false, false),
            ("a b", false, false),
        ] {
            let expected = [true, on_loopback, by_address];
            let answered = OWNS.map(|own| is_answered(&hosts(own), host));
            assert_eq!(answered, expected, "{host}");
        }
        // Whether a request may have none or two is for others to say.
        assert!(OWNS.iter().all(|own| hosts(*own).check(None).is_ok()));
    }

    #[test]
    fn more_can_be_allowed() {
        for (host, expected) in [
            ("chat.example:3000", [true; 3]),
            ("Chat.Example", [true; 3]),
            ("chat.example.", [false; 3]),
            ("other.example", [false; 3]),
            ("localhost", [false, true, true]),
        ] {
            let answered = OWNS.map(|own| {
                let mut hosts = hosts(Own::Any);
                hosts.allow(["chat.example".to_owned()]);
                is_answered(&hosts.with_own(own), host)
            });
            assert_eq!(answered, expected, "{host}");
        }
    }

    #[test]
    fn authority_and_a_target_in_absolute_form_come_before_host() {
        for (uri, hosts, expected) in [
            ("/", &["localhost"][..], Some("localhost")),
            ("http://evil.example/", &["localhost"], Some("evil.example")),
            ("/", &[], None),
            ("/", &["a.example", "localhost"], None),
        ] {
            let mut request = Request::builder().uri(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let request = request.body(()).unwrap();
            assert_eq!(asked_host(&request), expected.map(str::as_bytes));
        }
    }

    #[test]
    fn a_refusal_repeats_no_more_than_the_beginning_of_a_long_host() {
        let long = "x".repeat(10_000);
        let refusal = hosts(Own::Loopback).check(Some(long.as_bytes()));
        let line = refusal.unwrap_err().to_string();
        assert!(line.len() < 400 && line.contains(&long[..256]), "{line}");
    }

    #[test]
    fn the_refusal_names_who_refuses_the_host_and_the_setting() {
        let refused = hosts(Own::Loopback).check(Some(b"evil.example"));
        let line = refused.unwrap_err().to_string();
        let expected = "the kiosk does not answer for the host \"evil.example\": allow it with `Kiosk::allowed_hosts`";
        assert_eq!(line, expected);
    }
}
