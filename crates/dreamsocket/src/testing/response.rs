//! [`Response`]: what a server under test has answered, read to its end.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::request::Failed;

/// How large the body may be, in bytes.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// What a server under test has answered.
#[derive(Debug, Clone)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Response {
    pub(super) async fn read(response: http::Response<Incoming>) -> Result<Self, Failed> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(Failed::Body)?;
        Ok(Self {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// All its headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first value of a header, if it is there and readable.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Its body, which is empty if there is none.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => panic!("the body is not text: {error}\n{self}"),
        }
    }

    /// Its body as a `T` in JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[cfg(feature = "json")]
    #[must_use]
    #[track_caller]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            let name = std::any::type_name::<T>();
            panic!("the body is not JSON of a {name}: {error}\n{self}")
        })
    }
}

/// As on the wire: the status, the headers, an empty line, the body.
impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            writeln!(f, "{name}: {value}")?;
        }
        write!(f, "\n{}", String::from_utf8_lossy(&self.body))
    }
}
