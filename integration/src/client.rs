//! An HTTPS client that does what a pod's does: resolve the name through xcc's DNS, connect to the answered address,
//! send the name as SNI, verify the service's own certificate, speak HTTP/2 if ALPN says so.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::Authority;
use crate::origin::{CLUSTER_HEADER, STREAM_PATH};
use crate::resolver::{Resolution, Resolver};

/// What connecting and what an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The port of HTTPS, which a URL need not name.
pub const HTTPS_PORT: u16 = 443;

/// An HTTPS client.
pub struct Client {
    resolver: Arc<Resolver>,
    tls: Arc<ClientConfig>,
    tls_without_sni: Arc<ClientConfig>,
    port_offset: u16,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `HTTP/2.0` or `HTTP/1.1`.
    pub version: Version,
    /// The status.
    pub status: StatusCode,
    /// The remote that answered, from its header.
    pub cluster: String,
    /// The body.
    pub body: String,
}

/// How a connection attempt ended that was not to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Closed without a byte of answer.
    Closed,
    /// Nobody listens there at all.
    NotListening,
    /// A TLS handshake or an answer came about.
    Served,
}

impl Client {
    /// A client that resolves with the resolver and trusts the authority. The offset is added to every port, for
    /// a gateway that binds unprivileged ports.
    ///
    /// # Errors
    /// When the authority cannot be trusted.
    pub fn new(resolver: Arc<Resolver>, authority: &Authority, port_offset: u16) -> Result<Self> {
        let tls = authority.client()?;
        let mut tls_without_sni = tls.clone();
        tls_without_sni.enable_sni = false;
        Ok(Self { resolver, tls: Arc::new(tls), tls_without_sni: Arc::new(tls_without_sni), port_offset })
    }

    /// The addresses that a name resolves to, with the port that the gateway binds for a service port.
    ///
    /// # Errors
    /// When the name has no address.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr> {
        match self.resolver.resolve(host).await? {
            Resolution::Addresses(addresses) => {
                let address = addresses.first().context("no address")?;
                Ok(SocketAddr::new(*address, port + self.port_offset))
            }
            other => bail!("cannot resolve {host}: {other:?}"),
        }
    }

    /// `GET https://host/path`, by name.
    ///
    /// # Errors
    /// When a step fails: resolution, connection, the verification of the certificate, the request.
    pub async fn get(&self, host: &str, path: &str) -> Result<Answer> {
        self.get_on_port(host, HTTPS_PORT, path).await
    }

    /// `GET https://host:port/path`, by name.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_on_port(&self, host: &str, port: u16, path: &str) -> Result<Answer> {
        let address = self.resolve(host, port).await?;
        self.get_at(address, host, path).await
    }

    /// The same at a known address, as `curl --resolve`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_at(&self, address: SocketAddr, host: &str, path: &str) -> Result<Answer> {
        let exchange = async {
            let mut connection = self.connect_at(address, host).await?;
            let response = connection.send(path).await?;
            read_answer(response).await
        };
        timeout(LIMIT, exchange)
            .await
            .map_err(|_elapsed| anyhow!("no answer within {LIMIT:?}"))
            .flatten()
            .with_context(|| format!("https://{host}{path} at {address}"))
    }

    /// Opens a connection by name, to be used for more than one request.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn connect(&self, host: &str) -> Result<Connection> {
        let address = self.resolve(host, HTTPS_PORT).await?;
        self.connect_to(address, host).await
    }

    /// Opens a connection at a known address.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn connect_to(&self, address: SocketAddr, host: &str) -> Result<Connection> {
        timeout(LIMIT, self.connect_at(address, host)).await.context("no connection in time")?
    }

    async fn connect_at(&self, address: SocketAddr, host: &str) -> Result<Connection> {
        let stream = self.handshake(address, host, &self.tls).await?;
        ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "ALPN did not choose HTTP/2");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let task = tokio::spawn(connection);
        Ok(Connection { sender, host: host.to_owned(), task })
    }

    async fn handshake(
        &self,
        address: SocketAddr,
        host: &str,
        tls: &Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned())?;
        Ok(TlsConnector::from(tls.clone()).connect(name, stream).await?)
    }

    /// How the gateway treats a ClientHello with this server name.
    ///
    /// # Errors
    /// When nothing happens within the limit: the connection must not be left hanging.
    pub async fn probe_sni(&self, address: SocketAddr, server_name: &str) -> Result<Refusal> {
        self.probe(address, server_name, &self.tls).await
    }

    /// How the gateway treats a ClientHello without a server name.
    ///
    /// # Errors
    /// As [`Self::probe_sni`].
    pub async fn probe_without_sni(&self, address: SocketAddr) -> Result<Refusal> {
        self.probe(address, "absent.invalid", &self.tls_without_sni).await
    }

    async fn probe(&self, address: SocketAddr, host: &str, tls: &Arc<ClientConfig>) -> Result<Refusal> {
        let attempt = timeout(LIMIT, self.handshake(address, host, tls)).await.context("left hanging")?;
        let Err(error) = attempt else { return Ok(Refusal::Served) };
        refusal(error)
    }

    /// How the gateway treats a plaintext HTTP request.
    ///
    /// # Errors
    /// As [`Self::probe_sni`].
    pub async fn probe_plaintext(&self, address: SocketAddr, host: &str) -> Result<Refusal> {
        let exchange = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, anyhow::Error>(answer)
        };
        match timeout(LIMIT, exchange).await.context("left hanging")? {
            Ok(answer) if answer.is_empty() => Ok(Refusal::Closed),
            Ok(_answer) => Ok(Refusal::Served),
            Err(error) => refusal(error),
        }
    }
}

/// What an error of a connection attempt means. A failed verification of a certificate is no refusal: somebody
/// served one.
fn refusal(error: anyhow::Error) -> Result<Refusal> {
    use std::io::ErrorKind;
    match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            Ok(Refusal::Closed)
        }
        Some(ErrorKind::ConnectionRefused) => Ok(Refusal::NotListening),
        Some(ErrorKind::InvalidData) => Ok(Refusal::Served),
        _ => Err(error),
    }
}

async fn read_answer(response: hyper::Response<Incoming>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    let cluster = head.headers.get(CLUSTER_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body = body.collect().await?.to_bytes();
    Ok(Answer {
        version: head.version,
        status: head.status,
        cluster: cluster.to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// A verified HTTP/2 connection, closed when dropped.
#[derive(Debug)]
pub struct Connection {
    sender: hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    host: String,
    task: JoinHandle<hyper::Result<()>>,
}

impl Connection {
    /// Sends a request over this connection.
    ///
    /// # Errors
    /// When the connection is gone or the answer bad.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        let response = timeout(LIMIT, self.send(path)).await.context("no answer in time")??;
        read_answer(response).await
    }

    /// Opens the endless body on this connection.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn stream(mut self) -> Result<LongStream> {
        let response = self.send(STREAM_PATH).await?;
        ensure!(response.status() == StatusCode::OK, "{}", response.status());
        Ok(LongStream { body: response.into_body(), pieces: 0, _connection: self })
    }

    async fn send(&mut self, path: &str) -> Result<hyper::Response<Incoming>> {
        self.sender.ready().await?;
        let request = Request::get(format!("https://{}{path}", self.host)).body(Empty::new())?;
        Ok(self.sender.send_request(request).await?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A long connection: a response whose body never ends unless the connection is cut.
#[derive(Debug)]
pub struct LongStream {
    body: Incoming,
    pieces: u64,
    _connection: Connection,
}

impl LongStream {
    /// Reads until a piece came that the service sent after this call, so that all the way was alive just now.
    ///
    /// # Errors
    /// When the stream was cut, or nothing came in time.
    pub async fn check_alive(&mut self) -> Result<u64> {
        // What was sent before this call waits in buffers and proves nothing: read until it has to be waited for.
        let mut waited = false;
        while !waited {
            let frame = self.body.frame();
            tokio::pin!(frame);
            let frame = match poll_once(frame.as_mut()).await {
                Some(frame) => frame,
                None => {
                    waited = true;
                    timeout(LIMIT, frame).await.context("the long connection went silent")?
                }
            };
            let frame =
                frame.context("the long connection was ended")?.context("the long connection was cut")?;
            self.pieces += u64::from(frame.is_data());
        }
        Ok(self.pieces)
    }
}

/// The value of a future if it is ready now.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// The address of a gateway for a service port.
pub fn gateway_socket(address: IpAddr, port: u16, port_offset: u16) -> SocketAddr {
    SocketAddr::new(address, port + port_offset)
}
