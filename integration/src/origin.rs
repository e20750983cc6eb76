//! A service of a remote: a TLS server that speaks HTTP/2 and says which remote it runs in.
//!
//! It stands for the pods behind an ingress. Every answer carries `x-cluster: <remote>` and echoes the path; a
//! request for [`STREAM_PATH`] is answered with a body that never ends.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// The path whose answer's body goes on until the client leaves.
pub const STREAM_PATH: &str = "/stream";

/// The time between two pieces of an endless body.
const STREAM_INTERVAL: Duration = Duration::from_millis(20);

/// The header that carries the remote's name, as in the ancestor's example.
pub const CLUSTER_HEADER: &str = "x-cluster";

/// A running TLS server, stopped when dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Origin {
    /// Serves on a free port of the address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(remote: &str, address: Ipv4Addr, tls: Arc<ServerConfig>) -> Result<Self> {
        let listener =
            TcpListener::bind((address, 0)).await.with_context(|| format!("cannot bind {address}"))?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(tls), remote.into()));
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts until aborted; the connections are aborted with it.
async fn accept(listener: TcpListener, tls: TlsAcceptor, remote: Arc<str>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _peer)) = accepted {
                    connections.spawn(serve(stream, tls.clone(), remote.clone()));
                }
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, remote: Arc<str>) {
    // Without it an answer in two pieces waits 40 ms for the client's acknowledgement of the first.
    let _best_effort = stream.set_nodelay(true);
    // A handshake that fails is the client's business; the client's side of the test sees it.
    let Ok(stream) = tls.accept(stream).await else { return };
    let connection = stream.get_ref().1;
    let is_http2 = connection.alpn_protocol() == Some(b"h2");
    let server_name: Arc<str> = connection.server_name().unwrap_or("-").into();
    let service = service_fn(move |request| {
        let response = answer(&request, &remote, &server_name);
        async move { Ok::<_, Infallible>(response) }
    });
    let io = TokioIo::new(stream);
    // How a connection ended is the client's business too.
    if is_http2 {
        let _ended = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    } else {
        let _ended = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    }
}

fn answer(
    request: &Request<Incoming>,
    remote: &str,
    server_name: &str,
) -> Response<BoxBody<Bytes, Infallible>> {
    let path = request.uri().path();
    let body = if path == STREAM_PATH {
        endless_body()
    } else {
        Full::new(Bytes::from(format!("{remote} {server_name} {path}\n"))).boxed()
    };
    let mut response = Response::new(body);
    if let Ok(value) = header::HeaderValue::from_str(remote) {
        response.headers_mut().insert(CLUSTER_HEADER, value);
    }
    response
}

fn endless_body() -> BoxBody<Bytes, Infallible> {
    let (pieces, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(STREAM_INTERVAL);
        loop {
            interval.tick().await;
            // The receiver is gone when the client is.
            if pieces.send(Frame::data(Bytes::from_static(b"tick\n"))).await.is_err() {
                return;
            }
        }
    });
    BodyExt::boxed(StreamBody::new(ReceiverStream::new(receiver).map(Ok)))
}
