//! Where gateways connect: plain TCP on loopback, mutual TLS elsewhere.

mod handshakes;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwapOption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::{debug, info, warn};
use xcc_kube::xds_certificates::XdsCertificates;
use xcc_xds::Peer;

use self::handshakes::Handshakes;
use crate::cli::ServeArgs;
use crate::vital::Vital;

/// Connections that wait to be served.
const CONNECTIONS_MAX: usize = 64;
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
    pub(crate) async fn bind(args: &ServeArgs, tls: Option<TlsSource>) -> anyhow::Result<Self> {
        let tls = tls.map(Tls::load).transpose().context("--xds-tls-cert, --xds-tls-key, --xds-client-ca")?;
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
    pub(crate) fn incoming(self, vital: &Vital) -> impl Stream<Item = io::Result<Connection>> + use<> {
        let (connections, incoming) = mpsc::channel(CONNECTIONS_MAX);
        let tls = self.tls.map(Arc::new);
        let shutdown = vital.shutdown();
        if let Some(tls) = tls.clone() {
            let fresh = shutdown.clone().run_until_cancelled_owned(async move { tls.keep_fresh().await });
            vital.spawn("xDS certificates in force", fresh);
        }
        let accept = shutdown.run_until_cancelled_owned(accept(self.listener, tls, connections));
        vital.spawn("xDS listener", accept);
        ReceiverStream::new(incoming)
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let mut handshakes = Handshakes::default();
    loop {
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
        let Some(tls) = tls.clone() else {
            // The server is gone when nobody takes connections any more.
            let _ = connections.send(Ok(Connection::Plain(stream))).await;
            continue;
        };
        handshakes.room().await;
        let connections = connections.clone();
        let handshake = tokio::spawn(async move {
            match handshake(&tls, stream).await {
                Ok(stream) => {
                    // A gateway that has got in is not displaced any more.
                    let connection = Ok(Connection::Tls(Box::new(stream)));
                    tokio::spawn(async move { connections.send(connection).await });
                }
                Err(error) => debug!(%peer, "xDS client refused: {error:#}"),
            }
        });
        handshakes.add(peer.ip(), handshake.abort_handle());
    }
}

async fn handshake(tls: &Tls, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
    let acceptor = tls.acceptor().context("the server has no certificates yet")?;
    let handshake = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
    handshake.context("the TLS handshake took too long")?.context("the TLS handshake failed")
}

/// Where the server's side of mutual TLS comes from.
pub(crate) enum TlsSource {
    /// PEM files, looked at again and again.
    Files { cert: PathBuf, key: PathBuf, client_ca: PathBuf },
    /// Secrets of the importing cluster; none while they are not known.
    Secrets(watch::Receiver<Option<Arc<XdsCertificates>>>),
}

/// The server's side of mutual TLS, made anew when what it comes from changes. Streams that are open stay open.
struct Tls {
    source: TlsSource,
    /// None before the first certificates: clients are turned away and come again.
    config: ArcSwapOption<ServerConfig>,
}

impl Tls {
    /// Files have to be right at the start; Secrets may come later.
    fn load(source: TlsSource) -> anyhow::Result<Self> {
        let config = match &source {
            TlsSource::Files { cert, key, client_ca } => {
                let files = [cert, key, client_ca].map(|path| path.display().to_string());
                let of_files =
                    || format!("certificate {}, key {}, client CA {}", files[0], files[1], files[2]);
                Some(server_config(&read(cert, key, client_ca)?).with_context(of_files)?)
            }
            TlsSource::Secrets(_) => None,
        };
        Ok(Self { source, config: ArcSwapOption::from_pointee(config) })
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        self.config.load_full().map(TlsAcceptor::from)
    }

    async fn keep_fresh(&self) {
        match &self.source {
            TlsSource::Files { cert, key, client_ca } => {
                let mut held = read(cert, key, client_ca).ok();
                let mut interval = interval(RELOAD_INTERVAL);
                loop {
                    interval.tick().await;
                    match read(cert, key, client_ca) {
                        Ok(pem) if held.as_ref() == Some(&pem) => {}
                        Ok(pem) => {
                            self.renew(&pem);
                            held = Some(pem);
                        }
                        // Files that are replaced may be missing for a moment; what was read last stays in force.
                        Err(error) => debug!("xDS certificates cannot be read now: {error:#}"),
                    }
                }
            }
            TlsSource::Secrets(secrets) => {
                let mut secrets = secrets.clone();
                loop {
                    let pem = secrets.borrow_and_update().clone();
                    if let Some(pem) = pem {
                        self.renew(&pem);
                    }
                    if secrets.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn renew(&self, pem: &XdsCertificates) {
        match server_config(pem) {
            Ok(config) => {
                self.config.store(Some(Arc::new(config)));
                info!("xDS certificates are in force");
            }
            Err(error) => warn!("xDS certificates are not renewed: {error:#}"),
        }
    }
}

fn read(cert: &Path, key: &Path, client_ca: &Path) -> anyhow::Result<XdsCertificates> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(XdsCertificates { cert: read(cert)?, key: read(key)?, client_ca: read(client_ca)? })
}

fn server_config(pem: &XdsCertificates) -> anyhow::Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&pem.client_ca).context("the authority of xDS clients")? {
        roots.add(certificate).context("the authority of xDS clients cannot be used")?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let chain = certificates(&pem.cert).context("the xDS server's certificate")?;
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes())
        .context("the xDS server's key is no private key in PEM")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .context("the xDS server's key does not fit its certificate")?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(pem: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    ensure!(!certificates.is_empty(), "no certificate in PEM");
    Ok(certificates)
}

/// One gateway's connection.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Whether a client's certificate was issued for this name (a DNS name or an IP address among its subject alternative
/// names, RFC 6125).
pub(crate) fn certificate_names(certificate: &[u8], name: &str) -> bool {
    let name = match name.parse::<IpAddr>() {
        Ok(ip) => ServerName::from(ip),
        Err(_) => match ServerName::try_from(name) {
            Ok(name) => name,
            Err(_) => return false,
        },
    };
    webpki::EndEntityCert::try_from(&CertificateDer::from(certificate))
        .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        match self {
            Self::Plain(stream) => Peer { address: stream.peer_addr().ok(), certificate: None },
            Self::Tls(stream) => {
                let (tcp, session) = stream.get_ref();
                let certificate = session.peer_certificates().and_then(|chain| chain.first());
                let certificate = certificate.map(|certificate| Arc::from(certificate.as_ref()));
                Peer { address: tcp.peer_addr().ok(), certificate }
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

#[cfg(test)]
mod tests;
