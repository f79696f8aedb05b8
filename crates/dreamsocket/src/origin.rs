//! Who may open a WebSocket from a browser: the same origin, unless more is allowed (U3).
//!
//! Browsers let any page open a WebSocket to any server and send cookies along (cross-site WebSocket hijacking); only the
//! `Origin` header tells. Pure functions over `http` types; the upgrade asks them, and nothing else does.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Request};

/// The address of the peer that sent a request, as a request extension.
///
/// [`Server`](crate::Server) puts it there. Under another server, put it there yourself if
/// [`OriginPolicy::trust_proxies`] or [`Connection::peer_addr`](crate::Connection::peer_addr) over a transport without an
/// address is to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a plain wrapper that users make themselves"
)]
pub struct PeerAddr(pub SocketAddr);

/// A request that came over this server's own TLS, as a request extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encrypted;

/// Which origins may open a WebSocket. Default: the same host and port as the request's own, and clients that send no
/// `Origin`, which browsers always do.
///
/// ```
/// use dreamsocket::{Config, OriginPolicy};
///
/// let config = Config::default().with_origins(OriginPolicy::same_origin().allow(["https://app.example.com"]));
/// # let _ = config;
/// ```
#[derive(Clone, Default)]
pub struct OriginPolicy {
    allowed: Arc<[String]>,
    predicate: Option<fn(&str) -> bool>,
    any: bool,
    proxies: Arc<[IpAddr]>,
}

impl OriginPolicy {
    /// The same host and port as the request's own.
    #[must_use]
    pub fn same_origin() -> Self {
        Self::default()
    }

    /// Allows these origins beside what is allowed already, each as `scheme://host[:port]`.
    #[must_use]
    pub fn allow<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.allowed = self
            .allowed
            .iter()
            .cloned()
            .chain(origins.into_iter().map(Into::into))
            .collect();
        self
    }

    /// Allows origins that a function says yes to, beside what is allowed already. It is given the header's value.
    #[must_use]
    pub fn allow_if(mut self, predicate: fn(&str) -> bool) -> Self {
        self.predicate = Some(predicate);
        self
    }

    /// Allows every origin: any web page may then act in the name of any visitor who has a cookie for this server.
    #[must_use]
    pub fn danger_allow_any(mut self) -> Self {
        self.any = true;
        self
    }

    /// Believes `X-Forwarded-Host` and `X-Forwarded-For` in requests that come from these addresses, which must be known
    /// (see [`PeerAddr`]). Of several hosts the last counts, of several clients the last that is none of these: proxies
    /// that extend the headers leave there what anybody wrote.
    #[must_use]
    pub fn trust_proxies(mut self, proxies: impl IntoIterator<Item = IpAddr>) -> Self {
        let proxies = proxies.into_iter().map(|proxy| proxy.to_canonical());
        self.proxies = self.proxies.iter().copied().chain(proxies).collect();
        self
    }

    /// As strict as can be, and the same proxies: for what is not the application's.
    #[cfg(feature = "inspector")]
    pub(crate) fn own_only(&self) -> Self {
        Self {
            proxies: Arc::clone(&self.proxies),
            ..Self::default()
        }
    }

    /// Checks a request. The error is the line that a 403 carries.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), ForeignOrigin> {
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Ok(());
        };
        if self.any {
            return Ok(());
        }
        let host = self.host(request);
        // A proxy's client may have spoken TLS or not, whatever the proxy speaks.
        let is_encrypted = request.extensions().get::<Encrypted>().is_some();
        let port = (is_encrypted && !self.is_of_proxy(request)).then_some(443);
        let refused = |origin: &str| {
            let host = host.as_deref().unwrap_or("(none)");
            let has_port = |host: Authority| host.port_u16().is_some();
            let port = port.filter(|_| host.parse().is_ok_and(|host| !has_port(host)));
            Err(ForeignOrigin {
                origin: origin.to_owned(),
                host: port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            })
        };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else {
            return refused("(not one readable value)");
        };
        let is_same = host
            .as_deref()
            .is_some_and(|host| is_same_origin(origin, host, port));
        let is_allowed = || {
            self.allowed.iter().any(|allowed| is_equal(allowed, origin))
                || self.predicate.is_some_and(|predicate| predicate(origin))
        };
        if is_same || is_allowed() {
            Ok(())
        } else {
            refused(origin)
        }
    }

    /// Whose request it is: the peer's address, or behind proxies that are trusted the last one in `X-Forwarded-For` that is
    /// none of theirs. Anybody can write what stands before it.
    pub(crate) fn client_ip<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let PeerAddr(peer) = request.extensions().get::<PeerAddr>()?;
        let mut client = peer.ip().to_canonical();
        let lines = request.headers().get_all("x-forwarded-for");
        let entries = lines
            .iter()
            .flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
        let entries: Vec<&[u8]> = entries.collect();
        for entry in entries.into_iter().rev() {
            if !self.proxies.contains(&client) {
                break;
            }
            match parse_forwarded(entry) {
                Some(address) => client = address,
                // What a trusted proxy wrote is not an address: the proxy is the last that is known.
                None => break,
            }
        }
        Some(client)
    }

    /// Whether it comes from a proxy that is trusted.
    fn is_of_proxy<B>(&self, request: &Request<B>) -> bool {
        let peer = request.extensions().get::<PeerAddr>();
        // A socket of both families has IPv4 addresses as IPv6.
        peer.is_some_and(|PeerAddr(peer)| self.proxies.contains(&peer.ip().to_canonical()))
    }

    /// The host and port that the request is for: `:authority` on HTTP/2, else `Host`. Nothing if there is none or more than one.
    pub(crate) fn host<B>(&self, request: &Request<B>) -> Option<String> {
        if self.is_of_proxy(request)
            && let Some(line) = request
                .headers()
                .get_all("x-forwarded-host")
                .iter()
                .next_back()
            && let Ok(hosts) = line.to_str()
        {
            // The last entry is the proxy's own, on a line of its own or not (RFC 9110 §5.3). Anybody can write what stands
            // before it.
            return hosts.rsplit(',').next().map(|host| host.trim().to_owned());
        }
        match request.uri().authority() {
            Some(authority) => Some(authority.as_str().to_owned()),
            None => single(request.headers(), HOST.as_str()).map(ToOwned::to_owned),
        }
    }
}

impl fmt::Debug for OriginPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginPolicy")
            .field("allowed", &self.allowed)
            .field("has_predicate", &self.predicate.is_some())
            .field("any", &self.any)
            .field("proxies", &self.proxies)
            .finish()
    }
}

/// A browser's request from a page of another origin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the origin {origin:?} may not open a WebSocket on {host:?}: allow it with `Config::with_origins(OriginPolicy::same_origin().allow([…]))`"
)]
pub(crate) struct ForeignOrigin {
    origin: String,
    host: String,
}

/// An entry of `X-Forwarded-For`: an address, or as some load balancers write it one with a port or in brackets.
fn parse_forwarded(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = entry.parse().ok();
    let address = address.or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()));
    Some(address.or_else(in_brackets)?.to_canonical())
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// RFC 6454 §4 and §5, short of the scheme, which the server of a proxied request does not know: host and port, the
/// default port of the origin's scheme filled in on both sides. `port` is the host's default where it is known.
fn is_same_origin(origin: &str, host: &str, port: Option<u16>) -> bool {
    let Some((scheme, authority)) = split_origin(origin) else {
        return false;
    };
    let Ok(host) = host.parse::<Authority>() else {
        return false;
    };
    let default = default_port(scheme);
    is_plain(&authority)
        && is_plain(&host)
        && authority.host().eq_ignore_ascii_case(host.host())
        && authority.port_u16().or(default) == host.port_u16().or(port).or(default)
}

fn is_equal(allowed: &str, origin: &str) -> bool {
    let (Some((scheme, authority)), Some((other_scheme, other))) =
        (split_origin(allowed), split_origin(origin))
    else {
        return false;
    };
    let default = default_port(scheme);
    scheme.eq_ignore_ascii_case(other_scheme)
        && authority.host().eq_ignore_ascii_case(other.host())
        && authority.port_u16().or(default) == other.port_u16().or(default)
}

/// `scheme://host[:port]`, and nothing more: `null` and anything with a path is not an origin.
fn split_origin(origin: &str) -> Option<(&str, Authority)> {
    let (scheme, authority) = origin.split_once("://")?;
    let authority = authority.parse().ok()?;
    is_plain(&authority).then_some((scheme, authority))
}

/// Without user info, and with a port that is a number if there is a colon.
fn is_plain(authority: &Authority) -> bool {
    let Some(rest) = authority.as_str().strip_prefix(authority.host()) else {
        return false;
    };
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") {
        Some(443)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().uri("/chat");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    #[track_caller]
    fn check(policy: &OriginPolicy, headers: &[(&str, &str)], expected: bool) {
        assert_eq!(
            policy.check(&request(headers)).is_ok(),
            expected,
            "{headers:?}"
        );
    }

    #[test]
    fn u3_the_same_host_and_port_pass_with_default_ports_filled_in() {
        let policy = OriginPolicy::same_origin();
        for (origin, host, expected) in [
            ("http://localhost:3000", "localhost:3000", true),
            ("https://example.com", "example.com", true),
            ("https://example.com:443", "example.com", true),
            ("https://example.com", "example.com:443", true),
            ("http://example.com", "example.com:80", true),
            ("https://EXAMPLE.com", "example.COM", true),
            ("http://[::1]:3000", "[::1]:3000", true),
            ("http://[::1]", "[::1]", true),
            ("https://example.com:8443", "example.com", false),
            ("http://example.com", "example.com:443", false),
            ("http://localhost:3001", "localhost:3000", false),
            ("https://evil.example", "example.com", false),
            ("https://example.com.evil.example", "example.com", false),
            ("https://example.com@evil.example", "example.com", false),
            ("https://evil.example@example.com", "example.com", false),
            ("https://evil.example@example.com:443", "example.com", false),
            (
                "https://example.com:x@example.com:443",
                "example.com",
                false,
            ),
            ("https://example.com", "evil.example@example.com:443", false),
            ("https://example.com/path", "example.com", false),
            ("example.com", "example.com", false),
            ("null", "example.com", false),
            ("", "example.com", false),
            ("chrome-extension://abcdef", "example.com", false),
        ] {
            check(&policy, &[("origin", origin), ("host", host)], expected);
        }
    }

    #[test]
    fn u3_no_origin_is_no_browser_and_passes() {
        check(
            &OriginPolicy::same_origin(),
            &[("host", "example.com")],
            true,
        );
    }

    #[test]
    fn u3_two_origins_or_no_host_are_refused() {
        let policy = OriginPolicy::same_origin();
        check(
            &policy,
            &[
                ("origin", "https://a.example"),
                ("origin", "https://a.example"),
                ("host", "a.example"),
            ],
            false,
        );
        check(&policy, &[("origin", "https://a.example")], false);
        check(
            &policy,
            &[
                ("origin", "https://a.example"),
                ("host", "a.example"),
                ("host", "a.example"),
            ],
            false,
        );
    }

    #[test]
    fn u3_authority_stands_for_host_on_http2() {
        let request = |origin| {
            Request::builder()
                .uri("https://example.com/chat")
                .header("origin", origin)
                .header("host", "evil.example")
                .body(())
        };
        let policy = OriginPolicy::same_origin();
        assert!(
            policy
                .check(&request("https://example.com").unwrap())
                .is_ok()
        );
        assert!(
            policy
                .check(&request("https://evil.example").unwrap())
                .is_err()
        );
    }

    #[test]
    fn u3_forwarded_host_counts_only_from_trusted_proxies() {
        let proxy = SocketAddr::from(([10, 0, 0, 1], 4321));
        let mut request = request(&[
            ("origin", "https://example.com"),
            ("host", "backend:3000"),
            // Whoever writes before the proxy may be anybody.
            ("x-forwarded-host", "evil.example, example.com"),
        ]);
        request.extensions_mut().insert(PeerAddr(proxy));
        assert!(OriginPolicy::same_origin().check(&request).is_err());
        let policy = OriginPolicy::same_origin().trust_proxies([proxy.ip()]);
        assert!(policy.check(&request).is_ok());
        // As a socket of both families has it.
        let mapped = SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x0a00, 0x0001], 4321));
        request.extensions_mut().insert(PeerAddr(mapped));
        assert!(policy.check(&request).is_ok());
        let also_mapped = OriginPolicy::same_origin().trust_proxies([mapped.ip()]);
        request.extensions_mut().insert(PeerAddr(proxy));
        assert!(also_mapped.check(&request).is_ok());
        request
            .extensions_mut()
            .insert(PeerAddr(SocketAddr::from(([10, 0, 0, 2], 4321))));
        assert!(policy.check(&request).is_err());
        request.extensions_mut().remove::<PeerAddr>();
        assert!(policy.check(&request).is_err());
    }

    #[test]
    fn u3_the_last_line_of_forwarded_host_counts() {
        let proxy = SocketAddr::from(([10, 0, 0, 1], 4321));
        let policy = OriginPolicy::same_origin().trust_proxies([proxy.ip()]);
        for (first, last, is_same) in [
            ("evil.example", "example.com", true),
            ("example.com", "evil.example", false),
        ] {
            let mut request = request(&[
                ("origin", "https://example.com"),
                ("host", "backend:3000"),
                ("x-forwarded-host", first),
                ("x-forwarded-host", last),
            ]);
            request.extensions_mut().insert(PeerAddr(proxy));
            assert_eq!(policy.check(&request).is_ok(), is_same, "{last}");
        }
    }

    #[test]
    fn the_client_behind_trusted_proxies_is_the_last_that_is_none_of_them() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let policy = OriginPolicy::same_origin().trust_proxies([ip("10.0.0.1"), ip("10.0.0.2")]);
        let check = |peer: &str, forwarded: &[(&str, &str)], expected: &str| {
            let mut request = request(forwarded);
            let peer = SocketAddr::new(ip(peer), 4321);
            request.extensions_mut().insert(PeerAddr(peer));
            assert_eq!(
                policy.client_ip(&request),
                Some(ip(expected)),
                "{forwarded:?}"
            );
        };
        let name = "x-forwarded-for";
        check("192.0.2.7", &[], "192.0.2.7");
        // Nobody else is believed.
        check("192.0.2.7", &[(name, "192.0.2.1")], "192.0.2.7");
        check("10.0.0.1", &[(name, "192.0.2.1")], "192.0.2.1");
        check("10.0.0.1", &[(name, "6.6.6.6, 192.0.2.1")], "192.0.2.1");
        check(
            "10.0.0.1",
            &[(name, "6.6.6.6, 192.0.2.1, 10.0.0.2")],
            "192.0.2.1",
        );
        check(
            "10.0.0.1",
            &[(name, "6.6.6.6"), (name, "192.0.2.1")],
            "192.0.2.1",
        );
        check("10.0.0.1", &[(name, "6.6.6.6, nonsense")], "10.0.0.1");
        check("10.0.0.1", &[(name, "6.6.6.6, [nonsense")], "10.0.0.1");
        // As a socket of both families has IPv4 addresses, and as some load balancers write them.
        check("::ffff:10.0.0.1", &[(name, "192.0.2.1")], "192.0.2.1");
        for (entry, expected) in [
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("192.0.2.1, [::ffff:10.0.0.2]:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
        ] {
            check("10.0.0.1", &[(name, entry)], expected);
        }
        check("10.0.0.1", &[], "10.0.0.1");
        assert_eq!(policy.client_ip(&request(&[(name, "192.0.2.1")])), None);
    }

    #[test]
    fn u3_more_can_be_allowed() {
        let host = ("host", "api.example");
        let policy = OriginPolicy::same_origin()
            .allow(["https://app.example"])
            .allow_if(|origin| origin.ends_with(".test"));
        check(
            &policy,
            &[("origin", "https://app.example:443"), host],
            true,
        );
        check(&policy, &[("origin", "http://app.example"), host], false);
        check(&policy, &[("origin", "https://pr-7.test"), host], true);
        check(&policy, &[("origin", "https://api.example"), host], true);
        check(&policy, &[("origin", "null"), host], false);
        check(
            &OriginPolicy::same_origin().danger_allow_any(),
            &[("origin", "null"), host],
            true,
        );
    }

    #[test]
    fn u3_the_refusal_names_both_values_and_the_setting() {
        let refused = OriginPolicy::same_origin().check(&request(&[
            ("origin", "https://evil.example"),
            ("host", "a:1"),
        ]));
        let line = refused.unwrap_err().to_string();
        for part in ["https://evil.example", "a:1", "Config::with_origins"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains('\n'));
    }
}
