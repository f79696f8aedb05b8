//! From the options to a [`Connect`]: headers, bounds, compression and TLS.

use std::path::Path;
use std::sync::Arc;

use dreamsocket::Config;
use dreamsocket::client::Connect;
use dreamsocket::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use dreamsocket::rustls::crypto::{self, CryptoProvider};
use dreamsocket::rustls::pki_types::pem::PemObject;
use dreamsocket::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use dreamsocket::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::args::TargetArgs;
use crate::failure::Failure;

impl TargetArgs {
    /// The URL with its scheme.
    pub(crate) fn url(&self) -> String {
        with_scheme(&self.url)
    }

    pub(crate) fn connect(&self) -> Result<Connect, Failure> {
        let config = Config::default()
            .with_max_message(self.max_message)
            .with_max_frame(self.max_message)
            .with_compression(self.compression.compression());
        let mut connect = Connect::new(self.url())
            .with_config(config)
            .with_subprotocols(&self.subprotocol)
            .with_dns_timeout(self.timeout)
            .with_connect_timeout(self.timeout)
            .with_tls_timeout(self.timeout)
            .with_handshake_timeout(self.timeout);
        for (name, value) in &self.header {
            connect = connect.with_header(name.as_str(), value.as_str());
        }
        if let Some(origin) = &self.origin {
            connect = connect.with_header("origin", origin.as_str());
        }
        if let Some(file) = &self.ca {
            connect = connect.with_tls(trusting(file)?);
        } else if self.danger_accept_any_certificate {
            connect = connect.with_tls(trusting_anybody()?);
        }
        Ok(connect)
    }
}

/// A path or a query may hold another URL.
fn with_scheme(url: &str) -> String {
    let end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (before, rest) = url.split_at(end);
    if before.ends_with(':') && rest.starts_with("//") {
        url.to_owned()
    } else {
        format!("ws://{url}")
    }
}

fn trusting(file: &Path) -> Result<ClientConfig, Failure> {
    let named = |line: String| Failure::Usage(format!("--ca {}: {line}", file.display()));
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| named(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| named(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| named(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(named("there is no certificate in it".to_owned()));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| named(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn trusting_anybody() -> Result<ClientConfig, Failure> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth())
}

/// Takes any certificate. That the server has its key is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_at_the_beginning_or_nowhere() {
        for (url, expected) in [
            ("localhost:9001/echo", "ws://localhost:9001/echo"),
            ("wss://example.com", "wss://example.com"),
            ("http://example.com/", "http://example.com/"),
            ("localhost", "ws://localhost"),
            ("localhost?to=http://x", "ws://localhost?to=http://x"),
            (
                "localhost:1/echo?to=http://x",
                "ws://localhost:1/echo?to=http://x",
            ),
            ("ws://localhost/http://x", "ws://localhost/http://x"),
        ] {
            assert_eq!(with_scheme(url), expected);
        }
    }
}
