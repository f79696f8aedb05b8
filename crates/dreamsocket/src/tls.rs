//! [`Tls`]: the certificate and key that a [`Server`](crate::Server) shows, from PEM files, bytes or a configuration of
//! rustls; they can be replaced while the server runs.
//!
//! Knows no sockets: the server does the handshakes.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// What a server of WebSockets speaks, the preferred one first (RFC 7301).
const PROTOCOLS: &[&[u8]] = if cfg!(feature = "http2") {
    &[b"h2", b"http/1.1"]
} else {
    &[b"http/1.1"]
};

/// A server's certificate and key; a cheap clone, whose clones are replaced together.
///
/// ```no_run
/// # async fn serve(router: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// use dreamsocket::{Server, Tls};
///
/// let tls = Tls::from_pem_files("cert.pem", "key.pem")?;
/// let server = Server::new(router).tls(tls.clone()).bind("0.0.0.0:443").await?;
/// tokio::spawn(async move {
///     // When the certificate was renewed: connections stay, new ones see the new certificate.
///     if let Err(error) = tls.reload() {
///         eprintln!("still serving the old certificate: {error}");
///     }
/// });
/// server.run().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    /// Certificate and key, if they came from files.
    files: Option<(PathBuf, PathBuf)>,
    /// What the next handshake uses. Held for a clone or a swap only.
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its private key (PKCS #8, PKCS #1 or SEC 1), both in
    /// PEM. TLS 1.2 and 1.3 with the defaults of rustls; no client certificates.
    ///
    /// # Errors
    ///
    /// A file can't be read, holds no certificate or no key, or the two do not belong together. The error's text is one
    /// line that names the file.
    pub fn from_pem_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let files = (certificates.as_ref().into(), key.as_ref().into());
        let config = read_files(&files)?;
        Ok(Self::new(Some(files), config))
    }

    /// As [`from_pem_files`](Self::from_pem_files), of what the files would hold.
    ///
    /// # Errors
    ///
    /// There is no certificate or no key in it, or the two do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let config = configure(
            parse_certificates(certificates, Path::new("the given bytes"))?,
            parse_key(key, Path::new("the given bytes"))?,
            Path::new("the given bytes"),
        )?;
        Ok(Self::new(None, config))
    }

    fn new(files: Option<(PathBuf, PathBuf)>, config: ServerConfig) -> Self {
        Self {
            inner: Arc::new(Inner {
                files,
                config: RwLock::new(Arc::new(with_protocols(config))),
            }),
        }
    }

    /// Reads the files again. From here on new connections see what is in them; those that are open stay as they are.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files), and [`TlsError::NoFiles`] if it was not made of files. Then what was
    /// used before is still used.
    pub fn reload(&self) -> Result<(), TlsError> {
        let files = self.inner.files.as_ref().ok_or(TlsError::NoFiles)?;
        self.replace(read_files(files)?);
        Ok(())
    }

    /// Uses another configuration for new connections; those that are open stay as they are.
    pub fn replace(&self, config: impl Into<Arc<ServerConfig>>) {
        let config = Arc::new(with_protocols(Arc::unwrap_or_clone(config.into())));
        let mut place = self
            .inner
            .config
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let replaced = std::mem::replace(&mut *place, config);
        drop(place);
        drop(replaced);
    }

    /// What the next handshake uses.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let config = self.inner.config.read();
        Arc::clone(&config.unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes a configuration of your own, such as one that asks for client certificates. If it names no ALPN protocols, `h2`
/// and `http/1.1` are offered.
impl From<ServerConfig> for Tls {
    fn from(config: ServerConfig) -> Self {
        Self::new(None, config)
    }
}

/// As from the configuration itself.
impl From<Arc<ServerConfig>> for Tls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::new(None, Arc::unwrap_or_clone(config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.inner.files)
            .finish_non_exhaustive()
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("{} is not valid PEM: {source}", path.display())]
    InvalidPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// There is no certificate.
    #[error("no certificate in {}: it should have a part `BEGIN CERTIFICATE`", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no private key.
    #[error("no private key in {}: it should have a part `BEGIN PRIVATE KEY`", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is not the certificate's, or rustls can't use one of them.
    #[error("cannot use the key in {}: {}", path.display(), explain(source))]
    Unusable {
        /// The key's file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// There are no files to be read again.
    #[error("it was not made of files, so they can't be read again; use `Tls::replace`")]
    NoFiles,
}

fn explain(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "it is not the key of the certificate".to_owned(),
        error => error.to_string(),
    }
}

fn read_files((certificates, key): &(PathBuf, PathBuf)) -> Result<ServerConfig, TlsError> {
    configure(
        parse_certificates(&read(certificates)?, certificates)?,
        parse_key(&read(key)?, key)?,
        key,
    )
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable {
        path: path.into(),
        source,
    })
}

fn parse_certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::InvalidPem {
            path: path.into(),
            source,
        })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.into() });
    }
    Ok(certificates)
}

fn parse_key(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::NoKey { path: path.into() },
        source => TlsError::InvalidPem {
            path: path.into(),
            source,
        },
    })
}

fn configure(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    path: &Path,
) -> Result<ServerConfig, TlsError> {
    // Named, so that it does not hang on which providers the rest of the program brings.
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(certificates, key)
        })
        .map_err(|source| TlsError::Unusable {
            path: path.into(),
            source,
        })
}

fn with_protocols(mut config: ServerConfig) -> ServerConfig {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    }
    config
}
