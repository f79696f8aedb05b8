//! For which hosts the inspector answers: the defence against DNS rebinding, wherever it is mounted.
//!
//! A page of `evil.example` whose name suddenly resolves to an address of the operator's network is of the same origin as the
//! inspector there; but its requests still say `Host: evil.example`. Nobody can point an address to another one, or
//! `localhost`, so these are answered without being named.

use std::net::IpAddr;

use http::uri::Authority;

use crate::hub::cut;

/// The names that are answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    /// As they were given, without ports.
    allowed: Vec<String>,
}

impl Hosts {
    pub(super) fn allow(&mut self, names: impl IntoIterator<Item = String>) {
        self.allowed.extend(names);
    }

    /// Checks the host that a request is for. Without one it is no browser's, whose names are in question here.
    pub(super) fn check(&self, host: Option<&str>) -> Result<(), ForeignHost> {
        let Some(host) = host else {
            return Ok(());
        };
        let authority = host.parse::<Authority>().ok();
        if authority.is_some_and(|authority| self.is_allowed(authority.host())) {
            return Ok(());
        }
        Err(ForeignHost {
            host: cut(host).to_owned(),
        })
    }

    fn is_allowed(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self
                .allowed
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// A request for a host that the inspector does not answer for; the line that a 403 carries.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the inspector does not answer for the host {host:?}: allow it with `Inspector::allowed_hosts`"
)]
pub(super) struct ForeignHost {
    host: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_what_is_named_are_answered() {
        let mut hosts = Hosts::default();
        hosts.allow(["inspect.example".to_owned()]);
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:3000", true),
            ("127.0.0.1:3000", true),
            ("10.0.0.5", true),
            ("[::1]:3000", true),
            ("[2001:db8::1]", true),
            ("inspect.example", true),
            ("Inspect.Example:8443", true),
            ("evil.example", false),
            ("evil.example:3000", false),
            ("localhost.evil.example", false),
            ("10.0.0.5.evil.example", false),
            ("10.0.0.5@evil.example", false),
            ("inspect.example.", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(hosts.check(Some(host)).is_ok(), expected, "{host}");
        }
        assert!(hosts.check(None).is_ok());
    }

    #[test]
    fn the_refusal_names_the_host_and_the_setting() {
        let line = Hosts::default()
            .check(Some("evil.example"))
            .unwrap_err()
            .to_string();
        assert!(
            line.contains("evil.example") && line.contains("Inspector::allowed_hosts"),
            "{line}"
        );
    }
}
