//! A running server, and clients that ask it over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use xcc_dns::{DnsConfig, DnsMetrics, DnsServer, Responder};

/// Far more than anything here takes; reached only when something is lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server on loopback.
pub(crate) struct Running {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) responder: Responder,
    pub(crate) metrics: DnsMetrics,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
}

pub(crate) fn start(listen: &[&str], config: DnsConfig) -> Running {
    let listen: Vec<SocketAddr> = listen.iter().map(|address| address.parse().unwrap()).collect();
    let (responder, metrics, stop) = (Responder::new(), DnsMetrics::new(), CancellationToken::new());
    let server = DnsServer::bind(&listen, config, responder.clone(), metrics.clone()).unwrap();
    let addresses = server.local_addrs().to_vec();
    let task = tokio::spawn(server.run(stop.clone()));
    Running { addresses, responder, metrics, stop, task }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("the server stops").unwrap().unwrap();
    }
}

pub(crate) async fn ask_udp(server: SocketAddr, request: &[u8]) -> Vec<u8> {
    let local = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(local).await.unwrap();
    // A connected socket takes replies from the address that was asked, and from no other.
    socket.connect(server).await.unwrap();
    socket.send(request).await.unwrap();
    let mut reply = vec![0; 65535];
    let length = timeout(PATIENCE, socket.recv(&mut reply)).await.expect("a reply over UDP").unwrap();
    reply.truncate(length);
    reply
}

pub(crate) fn framed(request: &[u8]) -> Vec<u8> {
    [&(request.len() as u16).to_be_bytes()[..], request].concat()
}

pub(crate) async fn read_tcp(stream: &mut TcpStream) -> Vec<u8> {
    let length = timeout(PATIENCE, stream.read_u16()).await.expect("a reply over TCP").unwrap();
    let mut reply = vec![0; length.into()];
    timeout(PATIENCE, stream.read_exact(&mut reply)).await.expect("a whole reply").unwrap();
    reply
}

pub(crate) async fn ask_tcp(server: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(&framed(request)).await.unwrap();
    read_tcp(&mut stream).await
}
