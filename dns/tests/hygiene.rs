//! What keeps the server from being used against others, or up by one client.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::sockets::{PATIENCE, Running, ask_tcp, ask_udp, framed, read_tcp, start};
use common::{A, Request, SOA, check_frame, zones, zones_with};
use hickory_proto::op::{Message, ResponseCode};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use xcc_dns::{DnsConfig, QUERY_LOG_TARGET, RateLimit};

/// The value of a counter.
fn counted(server: &Running, counter: &str) -> u64 {
    let mut registry = Registry::default();
    server.metrics.register(&mut registry);
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(counter))
        .unwrap_or_else(|| panic!("{counter}: {page}"));
    line.trim().parse().unwrap()
}

/// Waits until a counter has the value.
async fn wait_counted(server: &Running, counter: &str, want: u64) {
    let reached = async {
        while counted(server, counter) != want {
            tokio::task::yield_now().await;
        }
    };
    let in_time = timeout(PATIENCE, reached).await;
    assert!(in_time.is_ok(), "{counter} is {} and not {want}", counted(server, counter));
}

#[tokio::test]
async fn over_the_rate_limit_one_in_so_many_is_told_to_come_by_tcp() {
    let limit = RateLimit { answers_per_second: 1, burst_seconds: 10, slip: 3, exempt: vec![] };
    let config = DnsConfig { rate_limit: Some(limit), udp_sockets: 2, ..DnsConfig::default() };
    let server = start(&["127.0.0.1:0"], config);
    server.responder.publish(zones());
    let request = Request::new("nginx.xcc.test", A).edns(1232);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.addresses[0]).await.unwrap();
    const SENT: u64 = 300;
    for _ in 0..SENT {
        socket.send(&request.octets()).await.unwrap();
    }
    let dropped = "dns_dropped_total{transport=\"udp\",reason=\"rate_limit\"} ";
    let answers = "dns_answers_total{transport=\"udp\",rcode=\"NOERROR\",type=\"A\"} ";
    let all = async {
        while counted(&server, dropped) == 0 || counted(&server, dropped) + counted(&server, answers) < SENT {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, all).await.expect("every request is answered or dropped");
    let slipped = counted(&server, "dns_rate_limit_slipped_total ");
    let whole = counted(&server, answers) - slipped;
    // A second or more may pass on a busy machine.
    assert!((10..30).contains(&whole), "{whole} whole answers");
    assert_eq!(slipped, (SENT - whole).div_ceil(3));
    let mut reply = [0; 512];
    let mut truncated = 0;
    for _ in 0..whole + slipped {
        let length = timeout(PATIENCE, socket.recv(&mut reply)).await.expect("a reply").unwrap();
        check_frame(&request, &reply[..length]);
        let message = Message::from_vec(&reply[..length]).unwrap();
        assert!(message.edns.is_some());
        assert_eq!(message.metadata.truncation, message.answers.is_empty());
        truncated += u64::from(message.metadata.truncation);
    }
    assert_eq!(truncated, slipped);
    // TCP's sources are true: there is no limit.
    let reply = Message::from_vec(&ask_tcp(server.addresses[0], &request.octets()).await).unwrap();
    assert_eq!(reply.answers.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn what_slips_keeps_the_code_of_its_answer() {
    let limit = RateLimit { answers_per_second: 1, burst_seconds: 1, slip: 1, exempt: vec![] };
    let config = DnsConfig { rate_limit: Some(limit), udp_sockets: 1, ..DnsConfig::default() };
    let server = start(&["127.0.0.1:0"], config);
    server.responder.publish(zones());
    let nginx = Request::new("nginx.xcc.test", A);
    // The network's burst is one answer; with a slip of 1 nothing is dropped.
    ask_udp(server.addresses[0], &nginx.octets()).await;
    for (request, want) in [
        (nginx.clone(), ResponseCode::NoError),
        (Request::new("none.xcc.test", A).edns(1232), ResponseCode::NXDomain),
        (Request::new("example.com", A), ResponseCode::Refused),
        // hickory reads 16 as what TSIG calls the same number.
        (nginx.edns_with(1, 0, &[]), ResponseCode::BADSIG),
    ] {
        let slipped = async {
            // A second may pass on a busy machine, and with it one whole answer.
            loop {
                let reply = ask_udp(server.addresses[0], &request.octets()).await;
                check_frame(&request, &reply);
                let message = Message::from_vec(&reply).unwrap();
                if message.metadata.truncation {
                    return message;
                }
            }
        };
        let message = timeout(PATIENCE, slipped).await.expect("a reply that slips");
        assert_eq!(message.metadata.response_code, want);
        assert_eq!((message.answers.len(), message.authorities.len()), (0, 0));
    }
    server.stop().await;
}

/// Who may be forged gets no more than twice what was sent, but for the SOA of a negative answer.
#[tokio::test]
async fn rfc5358_records_longer_than_twice_the_request_are_had_by_tcp() {
    let limit = RateLimit { exempt: vec![], ..RateLimit::default() };
    let config = DnsConfig { rate_limit: Some(limit), ..DnsConfig::default() };
    let server = start(&["127.0.0.1:0", "[::1]:0"], config);
    let addresses: Vec<String> = (1..=8).map(|index| format!("10.0.0.{index}")).collect();
    server.responder.publish(zones_with(&addresses.iter().map(String::as_str).collect::<Vec<_>>()));
    for request in [Request::new("nginx.xcc.test", A), Request::new("xcc.test", SOA).edns(1232)] {
        for address in &server.addresses {
            let reply = ask_udp(*address, &request.octets()).await;
            check_frame(&request, &reply);
            let message = Message::from_vec(&reply).unwrap();
            assert!(message.metadata.truncation && message.answers.is_empty());
            assert!(message.metadata.authoritative);
            assert!(reply.len() <= 2 * request.octets().len());
            let whole = Message::from_vec(&ask_tcp(*address, &request.octets()).await).unwrap();
            assert!(!whole.metadata.truncation && !whole.answers.is_empty());
        }
    }
    let negative = Request::new("none.xcc.test", A);
    let reply = Message::from_vec(&ask_udp(server.addresses[0], &negative.octets()).await).unwrap();
    assert_eq!((reply.metadata.truncation, reply.authorities.len()), (false, 1));
    let truncated = "dns_truncated_total{transport=\"udp\"} ";
    wait_counted(&server, truncated, 4).await;
    assert_eq!(counted(&server, "dns_rate_limit_slipped_total "), 0);
    server.stop().await;
}

#[tokio::test]
async fn loopback_is_not_limited_by_default() {
    let server = start(&["127.0.0.1:0", "[::1]:0"], DnsConfig::default());
    server.responder.publish(zones());
    let request = Request::new("nginx.xcc.test", A).octets();
    for address in &server.addresses {
        let client = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(client).await.unwrap();
        socket.connect(address).await.unwrap();
        let mut reply = [0; 512];
        // Many more than the burst of any other network.
        for _ in 0..200 {
            for _ in 0..50 {
                socket.send(&request).await.unwrap();
            }
            for _ in 0..50 {
                let length = timeout(PATIENCE, socket.recv(&mut reply)).await.expect("a reply").unwrap();
                assert_eq!(reply[2] & 0x02, 0, "not truncated, in {length} octets");
            }
        }
    }
    server.stop().await;
}

async fn connect_from(client: &str, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(client.parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

#[tokio::test]
async fn one_client_cannot_have_all_tcp_connections() {
    let config = DnsConfig { tcp_connections_per_client_max: 2, ..DnsConfig::default() };
    let server = start(&["127.0.0.1:0"], config);
    server.responder.publish(zones());
    let request = Request::new("nginx.xcc.test", A);
    let mut open = vec![];
    for client in ["127.0.0.2:0", "127.0.0.2:0", "127.0.0.3:0"] {
        let mut stream = connect_from(client, server.addresses[0]).await;
        stream.write_all(&framed(&request.octets())).await.unwrap();
        check_frame(&request, &read_tcp(&mut stream).await);
        open.push(stream);
    }
    let mut third = connect_from("127.0.0.2:0", server.addresses[0]).await;
    assert!(timeout(PATIENCE, third.read_u8()).await.expect("the server closes").is_err());
    assert_eq!(counted(&server, "dns_tcp_connections_refused_total "), 1);
    open.remove(0);
    wait_counted(&server, "dns_tcp_connections ", 2).await;
    let mut again = connect_from("127.0.0.2:0", server.addresses[0]).await;
    again.write_all(&framed(&request.octets())).await.unwrap();
    check_frame(&request, &read_tcp(&mut again).await);
    server.stop().await;
}

/// Keeps the fields of the query log's events.
#[derive(Clone, Default)]
struct Collect(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Collect {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == QUERY_LOG_TARGET
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

#[tokio::test]
async fn the_query_log_tells_who_asked_what() {
    let lines = Collect::default();
    // Answering threads are not this one. No other test of this program logs queries.
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let config = DnsConfig { query_log_rate: 1.0, udp_sockets: 1, ..DnsConfig::default() };
    let server = start(&["127.0.0.1:0"], config);
    server.responder.publish(zones());
    ask_udp(server.addresses[0], &Request::new("nGinx.xcc.test", A).octets()).await;
    let odd = Request { name: b"\x03a\nb\x03xcc\x04test\0".to_vec(), ..Request::new("", A) };
    let reply = ask_tcp(server.addresses[0], &odd.octets()).await;
    assert_eq!(Message::from_vec(&reply).unwrap().metadata.response_code, ResponseCode::NXDomain);
    server.stop().await;
    let lines = lines.0.lock().unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for part in [
        "client=127.0.0.1:",
        "transport=\"udp\"",
        "name=nginx.xcc.test.",
        "type=A",
        "rcode=NOERROR",
        "octets=32",
    ] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    for part in ["transport=\"tcp\"", "name=a\\010b.xcc.test.", "rcode=NXDOMAIN"] {
        assert!(lines[1].contains(part), "{part} in {}", lines[1]);
    }
}

#[tokio::test]
async fn latency_is_sampled_into_a_histogram() {
    let server = start(&["127.0.0.1:0"], DnsConfig { udp_sockets: 1, ..DnsConfig::default() });
    server.responder.publish(zones());
    for _ in 0..64 {
        ask_udp(server.addresses[0], &Request::new("nginx.xcc.test", A).octets()).await;
    }
    ask_tcp(server.addresses[0], &Request::new("nginx.xcc.test", A).octets()).await;
    // One reply at a time, so that every request is received alone, the last one perhaps not noted yet. Of TCP all count.
    for (transport, count) in [("udp", 4), ("tcp", 1)] {
        let bucket = format!("dns_answer_seconds_bucket{{le=\"+Inf\",transport=\"{transport}\"}} ");
        wait_counted(&server, &bucket, count).await;
        wait_counted(&server, &format!("dns_answer_seconds_count{{transport=\"{transport}\"}} "), count)
            .await;
    }
    server.stop().await;
}
