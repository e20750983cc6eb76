//! A running server, and clients that ask it over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use xcc_dns::{DnsConfig, DnsMetrics, DnsServer, Responder, Zones};

use super::{A, Request, check_frame};

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

/// A server of the zones over IPv4 and IPv6. It ends with the test's runtime.
pub(crate) fn serve(zones: Zones) -> Running {
    let server = serve_nothing();
    server.responder.publish(zones);
    server
}

/// A server that has no zones yet. One socket for each address, so that replies come in the order of the requests.
pub(crate) fn serve_nothing() -> Running {
    start(&["127.0.0.1:0", "[::1]:0"], DnsConfig { udp_sockets: 1, ..DnsConfig::default() })
}

impl Running {
    /// Asks over UDP and TCP, IPv4 and IPv6, checks what holds for every reply to a readable question, and gives back what
    /// all of them say. Over UDP a reply may have left out what does not fit.
    pub(crate) async fn ask(&self, request: &Request) -> Message {
        let octets = request.octets();
        for address in &self.addresses {
            check_frame(request, &ask_udp(*address, &octets).await);
            check_frame(request, &ask_tcp(*address, &octets).await);
        }
        self.ask_octets(&octets).await
    }

    /// The same for a request that may have no readable question.
    pub(crate) async fn ask_octets(&self, octets: &[u8]) -> Message {
        let [v4, v6] = self.addresses[..] else { panic!("{:?}", self.addresses) };
        let (udp, tcp) = (ask_udp(v4, octets).await, ask_tcp(v4, octets).await);
        assert_eq!(ask_udp(v6, octets).await, udp, "the same over IPv4 and IPv6");
        assert_eq!(ask_tcp(v6, octets).await, tcp, "the same over IPv4 and IPv6");
        let udp = Message::from_vec(&udp).expect("hickory reads the reply");
        if !udp.metadata.truncation {
            let mut tcp = Message::from_vec(&tcp).expect("hickory reads the reply");
            // What nobody asked for may be left out over UDP.
            tcp.additionals.truncate(udp.additionals.len());
            assert_eq!(tcp, udp, "the same over UDP and TCP");
        }
        udp
    }

    /// Sends what must have no reply: over UDP nothing comes before the reply to the next request, over TCP the connection
    /// ends.
    pub(crate) async fn ignores(&self, octets: &[u8]) {
        let next = Request { id: 0x7777, ..Request::new("nginx.xcc.test", A) };
        for address in &self.addresses {
            let local = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let socket = UdpSocket::bind(local).await.unwrap();
            socket.connect(address).await.unwrap();
            socket.send(octets).await.unwrap();
            socket.send(&next.octets()).await.unwrap();
            let mut reply = [0; 1232];
            let length = timeout(PATIENCE, socket.recv(&mut reply)).await.expect("a reply").unwrap();
            check_frame(&next, &reply[..length]);
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&framed(octets)).await.unwrap();
            assert!(is_closed(&mut stream).await, "{octets:?}");
        }
    }

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

/// Whether the server closes the connection, with or without a reset.
pub(crate) async fn is_closed(stream: &mut TcpStream) -> bool {
    timeout(PATIENCE, stream.read_u8()).await.expect("the server closes").is_err()
}
