//! The server over real sockets, with hickory's decoder at the other end.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::sockets::{PATIENCE, ask_tcp, ask_udp, framed, is_closed, read_tcp, serve, serve_nothing, start};
use common::{A, AAAA, OPT, Request, SOA, TXT, check_frame, header, reply_over, zones, zones_with};
use hickory_proto::op::{Message, ResponseCode};
use prometheus_client::registry::Registry;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use xcc_dns::{DnsConfig, DnsMetrics, DnsServer, Rcode, Responder, Transport};

/// Messages of every kind that there is a rule for.
fn all_kinds() -> Vec<Vec<u8>> {
    let nginx = |record_type| Request::new("nginx.xcc.test", record_type);
    let mut requests = vec![];
    for name in [
        "NGINX.xcc.test",
        "none.xcc.test",
        "team.xcc.test",
        "q.wild.xcc.test",
        "xcc.test",
        "example.com",
        ".",
    ] {
        for record_type in
            [0, A, SOA, TXT, AAAA, OPT, common::DNSKEY, common::HTTPS, 250, 251, 252, common::ANY, 1000]
        {
            requests.push(Request::new(name, record_type));
            requests.push(Request::new(name, record_type).edns(4096));
        }
    }
    requests.extend((1..16).map(|opcode| nginx(A).opcode(opcode)));
    requests.extend([0, 3, 4, 254, 255].map(|class| nginx(TXT).class(class)));
    requests.extend(
        [0x0100, 0x0010, 0x0020, 0x0040, 0x0080, 0x0400, 0x0200, 0x057f].map(|flags| nginx(A).flags(flags)),
    );
    requests.push(nginx(A).edns_with(1, 0, &[]));
    requests.push(nginx(A).edns_with(0, 0x8000, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]));
    requests.push(nginx(A).edns_with(0, 0, &[0, 10, 0, 9]));
    let mut octets: Vec<Vec<u8>> = requests.iter().map(Request::octets).collect();
    let good = nginx(A).edns(1232).octets();
    octets.extend([header(1, 0, [0; 4]), header(1, 0, [2, 0, 0, 0]), header(1, 0x2800, [0; 4])]);
    octets.extend([[&good[..], b"x"].concat(), good[..good.len() - 1].to_vec(), good[..20].to_vec()]);
    octets
}

#[tokio::test]
async fn the_same_answer_over_udp_and_tcp_and_ipv4_and_ipv6() {
    let server = start(&["127.0.0.1:0", "[::1]:0"], DnsConfig::default());
    server.responder.publish(zones());
    let zones = server.responder.load();
    for request in all_kinds() {
        for address in &server.addresses {
            let (udp, tcp) = (ask_udp(*address, &request).await, ask_tcp(*address, &request).await);
            assert_eq!(Some(udp), reply_over(Transport::Udp, zones.as_deref(), &request), "{request:?}");
            assert_eq!(Some(tcp), reply_over(Transport::Tcp, zones.as_deref(), &request), "{request:?}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn zones_come_into_force_when_they_are_published() {
    let server = start(&["127.0.0.1:0"], DnsConfig::default());
    let request = Request::new("nginx.xcc.test", A).octets();
    let code = |reply: &[u8]| Message::from_vec(reply).unwrap().metadata.response_code;
    assert!(server.responder.load().is_none());
    assert_eq!(code(&ask_udp(server.addresses[0], &request).await), ResponseCode::ServFail);
    assert_eq!(code(&ask_tcp(server.addresses[0], &request).await), ResponseCode::ServFail);
    server.responder.publish(zones());
    assert_eq!(code(&ask_udp(server.addresses[0], &request).await), ResponseCode::NoError);
    assert_eq!(code(&ask_tcp(server.addresses[0], &request).await), ResponseCode::NoError);
    assert!(server.responder.load().unwrap().serial() > zones().serial());
    server.stop().await;
}

#[tokio::test]
async fn rfc2181_4_the_reply_comes_from_the_address_that_was_asked() {
    let server = start(&["0.0.0.0:0", "[::]:0"], DnsConfig::default());
    server.responder.publish(zones());
    let request = Request::new("nginx.xcc.test", A);
    let (v4, v6) = (server.addresses[0].port(), server.addresses[1].port());
    // The kernel alone would answer from 127.0.0.1 to a client there.
    for address in [
        format!("127.0.0.1:{v4}"),
        format!("127.0.0.2:{v4}"),
        format!("127.9.8.7:{v4}"),
        format!("[::1]:{v6}"),
        format!("127.0.0.3:{v6}"),
    ] {
        check_frame(&request, &ask_udp(address.parse().unwrap(), &request.octets()).await);
        check_frame(&request, &ask_tcp(address.parse().unwrap(), &request.octets()).await);
    }
    server.stop().await;
}

/// Another socket may take a port that was free a moment ago, so that a few are tried.
#[tokio::test]
async fn ipv4_and_ipv6_wildcards_share_a_port() {
    let bind = || {
        let port = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let listen =
            [format!("0.0.0.0:{port}"), format!("[::]:{port}")].map(|address| address.parse().unwrap());
        DnsServer::bind(&listen, DnsConfig::default(), Responder::new(), DnsMetrics::new())
    };
    let server = (0..16).find_map(|_| bind().ok()).expect("both wildcards on one of 16 ports");
    let addresses = server.local_addrs();
    assert_eq!(addresses[0].port(), addresses[1].port());
}

#[tokio::test]
async fn many_udp_clients_all_get_their_own_reply() {
    let server = start(&["127.0.0.1:0"], DnsConfig { udp_sockets: 4, ..DnsConfig::default() });
    server.responder.publish(zones());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.addresses[0]).await.unwrap();
    let mut reply = [0; 512];
    for round in 0..20u16 {
        for index in 0..50 {
            let request = Request { id: round * 50 + index, ..Request::new("nginx.xcc.test", A) };
            socket.send(&request.octets()).await.unwrap();
        }
        let mut ids = vec![];
        for _ in 0..50 {
            timeout(PATIENCE, socket.recv(&mut reply)).await.expect("a reply").unwrap();
            ids.push(u16::from_be_bytes([reply[0], reply[1]]));
        }
        ids.sort_unstable();
        assert_eq!(ids, (round * 50..round * 50 + 50).collect::<Vec<_>>());
    }
    assert_eq!(server.metrics.answers(Rcode::NOERROR), 1000);
    server.stop().await;
}

#[tokio::test]
async fn udp_drops_what_is_no_request_and_goes_on() {
    let server = start(&["127.0.0.1:0"], DnsConfig { udp_sockets: 1, ..DnsConfig::default() });
    server.responder.publish(zones());
    let request = Request::new("nginx.xcc.test", A);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.addresses[0]).await.unwrap();
    for nonsense in [vec![], vec![1; 11], request.clone().flags(0x8000).octets()] {
        socket.send(&nonsense).await.unwrap();
    }
    socket.send(&request.octets()).await.unwrap();
    let mut reply = [0; 512];
    let length = timeout(PATIENCE, socket.recv(&mut reply)).await.expect("a reply").unwrap();
    check_frame(&request, &reply[..length]);
    assert!(socket.try_recv(&mut reply).is_err(), "one reply only");
    assert!(scrape(&server.metrics).contains("dns_dropped_total{transport=\"udp\",reason=\"response\"} 1\n"));
    // Longer than what is taken whole: cut short, and so a format error.
    socket.send(&[&request.octets()[..], &[0; 5000]].concat()).await.unwrap();
    timeout(PATIENCE, socket.recv(&mut reply)).await.expect("a reply").unwrap();
    assert_eq!(reply[3] & 0x0f, 1);
    server.stop().await;
}

#[tokio::test]
async fn rfc7766_6_2_1_1_pipelined_requests_are_answered_in_order() {
    let server = serve(zones());
    let requests: Vec<_> = (0..500).map(|id| Request { id, ..Request::new("nginx.xcc.test", A) }).collect();
    let octets: Vec<u8> = requests.iter().flat_map(|request| framed(&request.octets())).collect();
    for address in &server.addresses {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&octets).await.unwrap();
        for request in &requests {
            check_frame(request, &read_tcp(&mut stream).await);
        }
    }
}

/// What came before a message that ends the connection is answered, and so is what came before the client's end.
#[tokio::test]
async fn rfc7766_6_2_1_pipelined_requests_before_the_end_are_answered() {
    let server = serve(zones());
    let request = Request::new("nginx.xcc.test", A);
    let response = framed(&request.clone().flags(0x8000).octets());
    for address in &server.addresses {
        for end in [&[][..], &[0, 0], &[0, 1, 9], &framed(&[1; 11]), &response, &[0], &[0, 9, 9]] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&[&framed(&request.octets()).repeat(3)[..], end].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
            for _ in 0..3 {
                check_frame(&request, &read_tcp(&mut stream).await);
            }
            assert!(is_closed(&mut stream).await);
        }
    }
}

/// RFC 1035, section 4.2.2: a message over TCP may have as many octets as its length can tell.
#[tokio::test]
async fn rfc1035_4_2_2_the_longest_request_over_tcp_is_answered() {
    let server = serve(zones());
    for padding in [4096 - 47, 10_000, 65535 - 47] {
        // RFC 7830's option, that the rest of the message may be of any length.
        let option = [&[0, 12][..], &(padding as u16).to_be_bytes(), &vec![0; padding]].concat();
        let request = Request::new("nginx.xcc.test", A).edns_with(0, 0, &option);
        assert_eq!(request.octets().len(), padding + 47);
        for address in &server.addresses {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for _ in 0..2 {
                stream.write_all(&framed(&request.octets())).await.unwrap();
                let reply = read_tcp(&mut stream).await;
                check_frame(&request, &reply);
                assert_eq!(Message::from_vec(&reply).unwrap().answers.len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn rfc7766_8_a_message_may_come_in_any_segments() {
    let server = serve(zones());
    let request = Request::new("nginx.xcc.test", A);
    let framed = framed(&request.octets());
    for address in &server.addresses {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for octet in &framed {
            stream.write_all(&[*octet]).await.unwrap();
            tokio::task::yield_now().await;
        }
        check_frame(&request, &read_tcp(&mut stream).await);
        // One message's end with the next one's first octet of the length.
        for part in [&[&framed[..], &framed[..1]].concat()[..], &framed[1..2], &framed[2..]] {
            stream.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        check_frame(&request, &read_tcp(&mut stream).await);
        check_frame(&request, &read_tcp(&mut stream).await);
    }
}

#[tokio::test]
async fn large_replies_go_over_tcp_as_a_whole() {
    let server = start(&["127.0.0.1:0"], DnsConfig::default());
    let many: Vec<String> = (0..256).map(|index| format!("2001:db8::{index:x}")).collect();
    server.responder.publish(zones_with(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let request = Request::new("nginx.xcc.test", AAAA);
    let udp = Message::from_vec(&ask_udp(server.addresses[0], &request.octets()).await).unwrap();
    assert!(udp.metadata.truncation && udp.answers.is_empty());
    let mut stream = TcpStream::connect(server.addresses[0]).await.unwrap();
    stream.write_all(&framed(&request.octets()).repeat(20)).await.unwrap();
    for _ in 0..20 {
        let tcp = Message::from_vec(&read_tcp(&mut stream).await).unwrap();
        assert_eq!((tcp.metadata.truncation, tcp.answers.len()), (false, 256));
    }
    server.stop().await;
}

#[tokio::test]
async fn rfc7766_6_2_3_idle_and_slow_tcp_clients_are_let_go() {
    let config = DnsConfig { tcp_idle_timeout: Duration::from_millis(50), ..DnsConfig::default() };
    let server = start(&["127.0.0.1:0", "[::1]:0"], config);
    for address in &server.addresses {
        let mut idle = TcpStream::connect(address).await.unwrap();
        assert!(is_closed(&mut idle).await);
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(&[0x0f, 0xff, 1, 2, 3]).await.unwrap();
        assert!(is_closed(&mut silent).await);
    }
    server.stop().await;
}

#[tokio::test]
async fn tcp_messages_that_are_no_requests_end_the_connection() {
    let server = serve_nothing();
    let response = Request::new("nginx.xcc.test", A).flags(0x8000).octets();
    for address in &server.addresses {
        for nonsense in [vec![0, 0], framed(&[1; 11]), framed(&response)] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&nonsense).await.unwrap();
            assert!(is_closed(&mut stream).await, "{nonsense:?}");
        }
    }
}

#[tokio::test]
async fn above_the_limit_the_tcp_connection_that_is_idle_for_longest_makes_room() {
    let server = start(&["127.0.0.1:0"], DnsConfig { tcp_connections_max: 2, ..DnsConfig::default() });
    server.responder.publish(zones());
    let request = Request::new("nginx.xcc.test", A);
    let mut open = vec![];
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.addresses[0]).await.unwrap();
        stream.write_all(&framed(&request.octets())).await.unwrap();
        check_frame(&request, &read_tcp(&mut stream).await);
        open.push(stream);
    }
    open[0].write_all(&framed(&request.octets())).await.unwrap();
    check_frame(&request, &read_tcp(&mut open[0]).await);
    let mut third = TcpStream::connect(server.addresses[0]).await.unwrap();
    third.write_all(&framed(&request.octets())).await.unwrap();
    check_frame(&request, &read_tcp(&mut third).await);
    assert!(is_closed(&mut open[1]).await);
    let page = scrape(&server.metrics);
    assert!(page.contains("dns_tcp_connections 2\n"), "{page}");
    assert!(page.contains("dns_tcp_connections_displaced_total 1\n"), "{page}");
    // UDP does not care, and the others are served on.
    check_frame(&request, &ask_udp(server.addresses[0], &request.octets()).await);
    open[0].write_all(&framed(&request.octets())).await.unwrap();
    check_frame(&request, &read_tcp(&mut open[0]).await);
    server.stop().await;
}

#[tokio::test]
async fn the_stop_answers_what_waits_and_closes_everything() {
    // An address of its own, so that no other test takes the port when it is free.
    let server = start(&["127.0.0.77:0"], DnsConfig::default());
    server.responder.publish(zones());
    let address = server.addresses[0];
    let request = Request::new("nginx.xcc.test", A);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&framed(&request.octets())).await.unwrap();
    check_frame(&request, &read_tcp(&mut stream).await);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    socket.send(&request.octets()).await.unwrap();
    server.stop().await;
    let mut reply = [0; 512];
    let length = timeout(PATIENCE, socket.recv(&mut reply)).await.expect("a reply").unwrap();
    check_frame(&request, &reply[..length]);
    assert!(is_closed(&mut stream).await);
    assert!(TcpStream::connect(address).await.is_err());
    std::net::UdpSocket::bind(address).expect("the port is free again");
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_no_thread_on_the_port() {
    let server = start(&["127.0.0.66:0"], DnsConfig::default());
    let address = server.addresses[0];
    ask_udp(address, &Request::new("nginx.xcc.test", A).octets()).await;
    server.task.abort();
    let free = async {
        while std::net::UdpSocket::bind(address).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, free).await.expect("the threads end");
}

#[tokio::test]
async fn a_taken_port_is_one_clear_error() {
    let first = start(&["127.0.0.1:0"], DnsConfig::default());
    let bind = |address: SocketAddr| {
        DnsServer::bind(&[address], DnsConfig::default(), Responder::new(), DnsMetrics::new())
            .err()
            .expect("taken")
    };
    let error = bind(first.addresses[0]);
    assert_eq!((error.address, error.transport), (first.addresses[0], "tcp"));
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot listen for DNS on {} (tcp): ", first.addresses[0])), "{text}");
    assert!(text.ends_with("stop it, or choose another"), "{text}");
    first.stop().await;

    // An address of its own, where no other test listens.
    let udp_only = std::net::UdpSocket::bind("127.0.0.88:0").unwrap();
    assert_eq!(bind(udp_only.local_addr().unwrap()).transport, "udp");
    assert!(bind("192.0.2.1:0".parse().unwrap()).to_string().ends_with("none of this host's"));
}

#[tokio::test]
async fn answers_are_counted_by_transport_code_and_type() {
    let server = start(&["127.0.0.1:0"], DnsConfig::default());
    server.responder.publish(zones());
    let address = server.addresses[0];
    for request in [
        Request::new("nginx.xcc.test", A),
        Request::new("nginx.xcc.test", 999),
        Request::new("x.xcc.test", A),
    ] {
        ask_udp(address, &request.octets()).await;
        ask_tcp(address, &request.octets()).await;
    }
    ask_udp(address, &common::header(1, 0, [0; 4])).await;
    let page = scrape(&server.metrics);
    for line in [
        "dns_answers_total{transport=\"udp\",rcode=\"NOERROR\",type=\"A\"} 1",
        "dns_answers_total{transport=\"tcp\",rcode=\"NOERROR\",type=\"other\"} 1",
        "dns_answers_total{transport=\"udp\",rcode=\"NXDOMAIN\",type=\"A\"} 1",
        "dns_answers_total{transport=\"udp\",rcode=\"FORMERR\",type=\"none\"} 1",
        "dns_truncated_total{transport=\"udp\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
    }
    assert_eq!(server.metrics.answers(Rcode::NXDOMAIN), 2);
    server.stop().await;
}

fn scrape(metrics: &DnsMetrics) -> String {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
    page
}
