//! For which hosts a server answers: the defence against DNS rebinding.
//!
//! A page of `evil.example` whose name suddenly resolves to 127.0.0.1 is of the same origin as the server there, so neither
//! the browser nor the origin check stops it; but its requests still say `Host: evil.example`. Pure functions over `http`
//! types.

use http::Request;
use http::header::HOST;
use http::uri::Authority;

use crate::hub::cut;

/// The hosts that are answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    /// Names as they were given, without ports.
    allowed: Vec<String>,
    /// Whether anything else is refused although none were given.
    is_loopback: bool,
}

/// The names that a server on a loopback address has by itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl Hosts {
    pub(super) fn allow(&mut self, names: impl IntoIterator<Item = String>) {
        self.allowed.extend(names);
    }

    /// The server listens on a loopback address, or not.
    pub(super) fn on(mut self, is_loopback: bool) -> Self {
        self.is_loopback = is_loopback;
        self
    }

    /// Checks a request. The error is the line that a 403 carries.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), ForeignHost> {
        if self.allowed.is_empty() && !self.is_loopback {
            return Ok(());
        }
        let Some(asked) = asked_host(request) else {
            return Ok(());
        };
        let authority = Authority::try_from(asked).ok();
        let is_allowed = authority.is_some_and(|authority| {
            let is_asked = |name: &str| name.eq_ignore_ascii_case(authority.host());
            self.allowed.iter().any(|name| is_asked(name))
                || (self.is_loopback && LOOPBACK.into_iter().any(is_asked))
        });
        if is_allowed {
            return Ok(());
        }
        Err(ForeignHost {
            host: cut(&String::from_utf8_lossy(asked)).to_owned(),
        })
    }
}

/// `:authority` on HTTP/2 and the target's in absolute form (RFC 9112 §3.2.2), else the one `Host`. Nothing if there is none
/// or more than one: browsers, whose names are in question here, always send one.
fn asked_host<B>(request: &Request<B>) -> Option<&[u8]> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str().as_bytes());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.as_bytes()),
        _ => None,
    }
}

/// A request for a host that this server does not answer for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this server does not answer for the host {host:?}: allow it with `Server::allowed_hosts`")]
pub(super) struct ForeignHost {
    host: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn on_loopback_only_its_own_names_are_answered() {
        let hosts = Hosts::default().on(true);
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:3000", true),
            ("127.0.0.1:3000", true),
            ("[::1]:3000", true),
            ("evil.example", false),
            ("evil.example:3000", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost@evil.example", false),
            ("127.0.0.2", false),
            ("", false),
            ("a b", false),
        ] {
            let checked = hosts.check(&request("/", &[host]));
            assert_eq!(checked.is_ok(), expected, "{host}");
        }
        // Whether a request may have none or two is for others to say.
        assert!(hosts.check(&request("/", &[])).is_ok());
        assert!(
            hosts
                .check(&request("/", &["a.example", "localhost"]))
                .is_ok()
        );
        // `:authority`, and a target in absolute form, come before `Host`.
        let rebound = request("http://evil.example/", &["localhost"]);
        assert!(hosts.check(&rebound).is_err());
        assert!(
            hosts
                .check(&request("http://localhost/", &["evil.example"]))
                .is_ok()
        );
    }

    #[test]
    fn a_refusal_repeats_no_more_than_the_beginning_of_a_long_host() {
        let long = "x".repeat(10_000);
        let refusal = Hosts::default().on(true).check(&request("/", &[&long]));
        let line = refusal.unwrap_err().to_string();
        assert!(line.len() < 400 && line.contains(&long[..256]), "{line}");
    }

    #[test]
    fn more_can_be_allowed() {
        let mut hosts = Hosts::default();
        hosts.allow(["chat.example".to_owned()]);
        for (is_loopback, host, expected) in [
            (true, "chat.example:3000", true),
            (true, "localhost", true),
            (true, "other.example", false),
            (false, "Chat.Example", true),
            (false, "localhost", false),
        ] {
            let checked = hosts.clone().on(is_loopback).check(&request("/", &[host]));
            assert_eq!(checked.is_ok(), expected, "{host} {is_loopback}");
        }
    }

    #[test]
    fn elsewhere_any_host_is_answered_unless_some_are_named() {
        let hosts = Hosts::default().on(false);
        assert!(hosts.check(&request("/", &["anything.example"])).is_ok());
        assert!(hosts.check(&request("/", &[])).is_ok());
    }

    #[test]
    fn the_refusal_names_the_host_and_the_setting() {
        let hosts = Hosts::default().on(true);
        let refused = hosts.check(&request("/", &["evil.example"]));
        let line = refused.unwrap_err().to_string();
        assert!(
            line.contains("evil.example") && line.contains("Server::allowed_hosts"),
            "{line}"
        );
    }
}
