//! The socket that listens and what comes of it: TCP without Nagle's delay, and TLS where it is asked for.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::{Args, BoxError};

/// How many connections may wait to be accepted. The system's own bound holds where that is less.
const BACKLOG: u32 = 4096;

/// A connection, with or without TLS.
pub type Transport = Either<TcpStream, TlsStream<TcpStream>>;

/// A socket that listens.
pub fn listen(address: &str) -> Result<TcpListener, BoxError> {
    let address: SocketAddr = address.parse()?;
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket.listen(BACKLOG)?)
}

/// A socket that listens, for libraries that are given a connection at a time.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Binds the address, and says so on standard output.
    pub fn bind(args: &Args) -> Result<Self, BoxError> {
        let tls = match &args.tls {
            None => None,
            Some((certificates, key)) => {
                Some(TlsAcceptor::from(Arc::new(tls_config(certificates, key)?)))
            }
        };
        let tcp = listen(&args.listen)?;
        println!("listening on {}", tcp.local_addr()?);
        Ok(Self { tcp, tls })
    }

    /// Hands every connection to a task of its own, for ever.
    pub async fn run<F>(self, serve: impl Fn(Transport) -> F + Clone + Send + 'static) -> !
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        loop {
            let Ok(tcp) = self.accept().await else {
                // No file is free: others have to end first.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let (serve, tls) = (serve.clone(), self.tls.clone());
            tokio::spawn(async move {
                let transport = match tls {
                    None => Transport::Left(tcp),
                    Some(tls) => Transport::Right(tls.accept(tcp).await?),
                };
                // A connection that fails concerns nobody else; the load generator notices.
                serve(transport).await
            });
        }
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        let (tcp, _) = self.tcp.accept().await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }
}

/// What rustls needs of the certificate and its key.
pub fn tls_config(certificates: &Path, key: &Path) -> Result<ServerConfig, BoxError> {
    let chain = CertificateDer::pem_file_iter(certificates)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    Ok(ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?)
}
