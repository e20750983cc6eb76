//! How long replies may be, and what becomes of those that are longer.

use hickory_proto::op::{Message, ResponseCode};
use xcc_model::Hostname;

use crate::common::sockets::{ask_tcp, ask_udp, serve};
use crate::common::{A, AAAA, ANY, HTTPS, NS, Request, SOA, TXT, zones, zones_with};
use crate::{data, negative_soa};

#[tokio::test]
async fn rfc2181_9_what_does_not_fit_goes_as_a_whole() {
    let many: Vec<String> = (0..100).map(|index| format!("10.1.0.{index}")).collect();
    let xcc = serve(zones_with(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    for (request, limit) in [
        (Request::new("nginx.xcc.test", A), 512),
        (Request::new("nginx.xcc.test", A).edns(0), 512),
        (Request::new("nginx.xcc.test", A).edns(511), 512),
        (Request::new("nginx.xcc.test", A).edns(512), 512),
        (Request::new("nginx.xcc.test", A).edns(1000), 1000),
        (Request::new("nginx.xcc.test", A).edns(65535), 1232),
    ] {
        let udp = ask_udp(xcc.addresses[0], &request.octets()).await;
        assert!(udp.len() <= limit);
        let message = xcc.ask(&request).await;
        assert!(message.metadata.truncation && message.answers.is_empty());
        assert_eq!(message.edns.is_some(), request.opt.is_some(), "OPT stays");
        let tcp = Message::from_vec(&ask_tcp(xcc.addresses[0], &request.octets()).await).unwrap();
        assert!(!tcp.metadata.truncation);
        assert_eq!(tcp.answers.len(), 100);
    }
    // Thirty fit into 512 octets without EDNS, but not thirty-one.
    for (count, truncated) in [(29, false), (31, true)] {
        let xcc = serve(zones_with(&many[..count].iter().map(String::as_str).collect::<Vec<_>>()));
        let message = xcc.ask(&Request::new("nginx.xcc.test", A)).await;
        assert_eq!(message.metadata.truncation, truncated, "{count} addresses");
    }
}

/// What a forged source gets out of one request over UDP. Three kinds of answers are longer than twice their request,
/// and the protocol leaves no choice: a negative answer needs the SOA (RFC 2308), whose 54 octets are too much for short
/// names without EDNS; the SOA itself; and all addresses of a name belong together (RFC 2181, section 5).
#[tokio::test]
async fn rfc5358_no_answer_is_more_than_twice_the_request_unless_the_protocol_wants_it() {
    let zones = zones().with_origins([(
        &Hostname::parse("nginx.xcc.test").unwrap(),
        &["remote=east object=web/nginx", "remote=west object=web/nginx"][..],
    )]);
    let nginx = Hostname::parse("nginx.xcc.test").unwrap();
    let zones = zones.with_https(&["h2".to_owned()]).with_ports([(&nginx, 8443)]);
    let xcc = serve(zones);
    let ratio = async |request: Request| {
        let reply = ask_udp(xcc.addresses[0], &request.octets()).await;
        reply.len() as f64 / request.octets().len() as f64
    };
    let names = [
        ("nginx.xcc.test", &[A, AAAA, HTTPS, ANY, 252][..]),
        ("a.xcc.test", &[252]),
        ("q.wild.xcc.test", &[A, AAAA, HTTPS, ANY]),
        ("xcc.test", &[NS, ANY]),
        ("_xcc.nginx.xcc.test", &[TXT, ANY]),
        ("example.com", &[A, ANY, TXT]),
        ("a-name-of-nearly-forty-octets-w.xcc.test", &[A, AAAA]),
    ];
    for (name, record_types) in names {
        for record_type in record_types {
            for request in [Request::new(name, *record_type), Request::new(name, *record_type).edns(4096)] {
                assert!(ratio(request).await <= 2.0, "{name} TYPE{record_type}");
            }
        }
    }
    for (request, most) in [
        (Request::new("a.xcc.test", A), 2.93),
        (Request::new("a.xcc.test", A).edns(4096), 2.4),
        (Request::new("xcc.test", SOA), 3.1),
    ] {
        let ratio = ratio(request).await;
        assert!((2.0..=most).contains(&ratio), "{ratio}");
    }
}

#[tokio::test]
async fn rfc7766_5_texts_about_origins_come_whole_over_tcp() {
    let name = Hostname::parse("nginx.xcc.test").unwrap();
    let xcc = serve(zones().with_origins([(&name, &["remote=east object=web/nginx"][..])]));
    let request = Request::new("_xcc.nginx.xcc.test", TXT);
    assert!(xcc.ask(&request).await.metadata.truncation);
    let message = Message::from_vec(&ask_tcp(xcc.addresses[0], &request.octets()).await).unwrap();
    assert_eq!(data(&message), ["remote=east object=web/nginx"]);
    negative_soa(&xcc.ask(&Request::new("_xcc.nginx.xcc.test", A)).await, ResponseCode::NoError);
}
