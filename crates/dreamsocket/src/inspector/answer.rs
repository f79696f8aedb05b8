//! What the inspector answers with: the page, JSON, a line; and the headers that fence each in.

use std::fmt::Display;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::random::connection_number;

/// One file once it is put together: nothing is loaded from anywhere.
const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/inspector.js");

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Why a request is refused: a status, and a line that says what is wrong.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    line: String,
    /// The methods that are allowed, if the request's is not.
    allowed: Option<&'static str>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, why: impl Display) -> Self {
        Self {
            status,
            line: format!("{why}\n"),
            allowed: None,
        }
    }

    /// The request's method is not among these.
    pub(super) fn not_allowed(methods: &'static str) -> Self {
        Self {
            allowed: Some(methods),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format_args!("this takes {methods}"),
            )
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = answer(self.status, "text/plain; charset=utf-8", self.line);
        if let Some(methods) = self.allowed {
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}

/// Reads a query.
pub(super) fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Refused> {
    serde_urlencoded::from_str(query).map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error))
}

/// The page. Only its own script and style run, by a nonce of this answer's; it talks to nobody else, nothing may be turned
/// into HTML or a script, and no page may frame it, so that nobody is led to press its buttons.
pub(super) fn page() -> Response<Full<Bytes>> {
    let nonce = format!("{:016x}{:016x}", connection_number(), connection_number());
    let page = PAGE
        .replace("{nonce}", &nonce)
        .replace("{style}", STYLE)
        .replace("{script}", SCRIPT);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    );
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", page);
    if let Ok(policy) = HeaderValue::try_from(policy) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

pub(super) fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(value) {
        Ok(text) => answer(StatusCode::OK, "application/json", text),
        Err(error) => Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}

pub(super) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = answer(status, "text/plain; charset=utf-8", String::new());
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
