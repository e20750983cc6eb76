//! Where gateways connect: plain TCP on loopback, mutual TLS elsewhere.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, info, warn};

use crate::cli::ServeArgs;

/// Handshakes at a time; more clients wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 64;
/// A client that has not finished its handshake by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the PEM files are looked at. Kubernetes takes up to a minute to renew a mounted Secret anyway.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a failed accept, out of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The socket that gateways connect to.
pub(crate) struct XdsListener {
    listener: TcpListener,
    tls: Option<Tls>,
}

impl XdsListener {
    /// Binds the address. Off loopback it wants mutual TLS, or to be told that it may go without.
    pub(crate) async fn bind(args: &ServeArgs) -> anyhow::Result<Self> {
        let tls = match (&args.xds_tls_cert, &args.xds_tls_key, &args.xds_client_ca) {
            (Some(cert), Some(key), Some(client_ca)) => Some(Tls::load(TlsFiles {
                cert: cert.clone(),
                key: key.clone(),
                client_ca: client_ca.clone(),
            })?),
            _ => None,
        };
        if tls.is_none() && !args.xds_insecure && !args.xds_listen.ip().is_loopback() {
            bail!(
                "--xds-listen {} is not loopback: give --xds-tls-cert, --xds-tls-key and --xds-client-ca, or \
                 --xds-insecure if the network is to be trusted",
                args.xds_listen
            );
        }
        let listener = TcpListener::bind(args.xds_listen)
            .await
            .with_context(|| format!("cannot listen for xDS on {} (--xds-listen)", args.xds_listen))?;
        Ok(Self { listener, tls })
    }

    /// The address that was bound.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The connections, ready to be served. Slow handshakes do not hold up others.
    pub(crate) fn incoming(self, shutdown: CancellationToken) -> impl Stream<Item = io::Result<Connection>> {
        let (connections, incoming) = mpsc::channel(HANDSHAKES_MAX);
        let tls = self.tls.map(Arc::new);
        if let Some(tls) = tls.clone() {
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(async move { tls.keep_fresh().await }));
        }
        tokio::spawn(shutdown.run_until_cancelled_owned(accept(self.listener, tls, connections)));
        ReceiverStream::new(incoming)
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept an xDS connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small messages must not wait for more.
        let _ = stream.set_nodelay(true);
        let (tls, connections) = (tls.clone(), connections.clone());
        tokio::spawn(async move {
            let connection = match tls {
                None => Connection::Plain(stream),
                Some(tls) => match timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream)).await {
                    Ok(Ok(stream)) => Connection::Tls(Box::new(stream)),
                    Ok(Err(error)) => return debug!(%peer, %error, "xDS client refused in the TLS handshake"),
                    Err(_) => return debug!(%peer, "xDS client did not finish the TLS handshake in time"),
                },
            };
            drop(permit);
            // The server is gone when nobody takes connections any more.
            let _ = connections.send(Ok(connection)).await;
        });
    }
}

#[derive(Debug, Clone)]
struct TlsFiles {
    cert: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
}

/// The server's side of mutual TLS, made anew when a file changes. Streams that are open stay open.
struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
}

/// What the three files held.
#[derive(PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

impl Tls {
    fn load(files: TlsFiles) -> anyhow::Result<Self> {
        let config = files.read()?.server_config(&files)?;
        Ok(Self { files, config: ArcSwap::from_pointee(config) })
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    async fn keep_fresh(&self) {
        let mut held = self.files.read().ok();
        let mut interval = interval(RELOAD_INTERVAL);
        loop {
            interval.tick().await;
            match self.files.read() {
                Ok(pem) if held.as_ref() == Some(&pem) => {}
                Ok(pem) => {
                    match pem.server_config(&self.files) {
                        Ok(config) => {
                            self.config.store(Arc::new(config));
                            info!(cert = %self.files.cert.display(), "xDS certificates renewed");
                        }
                        Err(error) => warn!("xDS certificates are not renewed: {error:#}"),
                    }
                    held = Some(pem);
                }
                // Files that are replaced may be missing for a moment; what was read last stays in force.
                Err(error) => debug!("xDS certificates cannot be read now: {error:#}"),
            }
        }
    }
}

impl TlsFiles {
    fn read(&self) -> anyhow::Result<Pem> {
        let read =
            |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Pem { cert: read(&self.cert)?, key: read(&self.key)?, client_ca: read(&self.client_ca)? })
    }
}

impl Pem {
    fn server_config(&self, files: &TlsFiles) -> anyhow::Result<ServerConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.client_ca, &files.client_ca)? {
            roots
                .add(certificate)
                .with_context(|| format!("{} holds no usable authority", files.client_ca.display()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let chain = certificates(&self.cert, &files.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .with_context(|| format!("{} holds no private key in PEM", files.key.display()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .with_context(|| format!("{} does not fit {}", files.key.display(), files.cert.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(pem: &[u8], path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} is not PEM", path.display()))?;
    ensure!(!certificates.is_empty(), "{} holds no certificate", path.display());
    Ok(certificates)
}

/// One gateway's connection.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Who is at the other end, as requests carry it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where it connects from.
    pub(crate) address: Option<SocketAddr>,
    /// Its verified certificate; none over plain TCP.
    pub(crate) certificate: Option<PeerCertificate>,
}

/// A client certificate that was verified in the handshake.
#[derive(Debug, Clone)]
pub(crate) struct PeerCertificate(CertificateDer<'static>);

impl PeerCertificate {
    /// Whether the certificate was issued for this name (a DNS name or an IP address among its subject alternative
    /// names, RFC 6125).
    pub(crate) fn names(&self, name: &str) -> bool {
        let name = match name.parse::<IpAddr>() {
            Ok(ip) => ServerName::from(ip),
            Err(_) => match ServerName::try_from(name) {
                Ok(name) => name,
                Err(_) => return false,
            },
        };
        webpki::EndEntityCert::try_from(&self.0)
            .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        match self {
            Self::Plain(stream) => Peer { address: stream.peer_addr().ok(), certificate: None },
            Self::Tls(stream) => {
                let (tcp, session) = stream.get_ref();
                let certificate = session.peer_certificates().and_then(|chain| chain.first()).cloned();
                Peer { address: tcp.peer_addr().ok(), certificate: certificate.map(PeerCertificate) }
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
