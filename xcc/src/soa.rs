//! Whether the cluster's DNS really asks xcc: a look-up of a zone's SOA, as a pod would make it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use xcc_model::ZoneName;

/// Where pods' resolvers find their name servers.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How often a server is asked that does not answer.
const TRIES: usize = 3;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest answer over UDP without EDNS (RFC 1035, section 2.3.4).
const ANSWER_MAX: usize = 512;
const DNS_PORT: u16 = 53;

/// What a server says of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has the answer from xcc.
    Ours,
    /// Another name server is responsible for the zone.
    Others(String),
    /// There is no SOA, with this status.
    Nothing(ResponseCode),
}

impl Found {
    /// What a person can do about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Ours => "",
            Self::Others(_) => {
                "; it does not send the zone to xcc (yet): CoreDNS takes up to two minutes to see a new Corefile"
            }
            Self::Nothing(ResponseCode::ServFail) => {
                "; it does not reach xcc, or xcc is not ready: look at its pods"
            }
            Self::Nothing(_) => {
                "; it does not send the zone to xcc (yet): CoreDNS takes up to two minutes to see a new Corefile"
            }
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours => f.write_str("answered by xcc")?,
            Self::Others(server) => write!(f, "answered for by {server}, not by xcc")?,
            Self::Nothing(code) => write!(f, "has no SOA ({code:?})")?,
        }
        f.write_str(self.advice())
    }
}

/// Asks the first name server of `resolv.conf` for a zone's SOA.
pub(crate) async fn look_up(resolv_conf: &Path, zone: &ZoneName) -> anyhow::Result<Found> {
    let text = std::fs::read_to_string(resolv_conf)
        .with_context(|| format!("cannot read {}", resolv_conf.display()))?;
    let server = name_server(&text)
        .with_context(|| format!("{} has no nameserver with an IP address", resolv_conf.display()))?;
    ask(SocketAddr::new(server, DNS_PORT), zone).await
}

/// `resolv.conf(5)`: the first is the one that is asked while it answers.
fn name_server(resolv_conf: &str) -> Option<IpAddr> {
    let servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()).flatten()
    });
    servers.filter_map(|server| server.parse().ok()).next()
}

/// Asks a server for a zone's SOA.
async fn ask(server: SocketAddr, zone: &ZoneName) -> anyhow::Result<Found> {
    let apex = Name::from_ascii(format!("{zone}."))?;
    let mut request = Message::query();
    request.metadata.recursion_desired = true;
    request.add_query(Query::query(apex.clone(), RecordType::SOA));
    let bytes = request.to_vec()?;
    let unspecified: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((unspecified, 0)).await.context("cannot open a socket")?;
    socket.connect(server).await.with_context(|| format!("no route to {server}"))?;
    for _try in 0..TRIES {
        socket.send(&bytes).await.with_context(|| format!("cannot ask {server}"))?;
        match timeout(PATIENCE, answer(&socket, request.metadata.id)).await {
            Ok(reply) => return found(&reply?, &apex, zone),
            Err(_elapsed) => {}
        }
    }
    bail!("{server} does not answer")
}

/// The next message that answers the request; what else comes is passed over.
async fn answer(socket: &UdpSocket, id: u16) -> anyhow::Result<Message> {
    let mut buffer = [0; ANSWER_MAX];
    loop {
        let length = socket.recv(&mut buffer).await.context("the server cannot be asked")?;
        if let Ok(message) = Message::from_vec(&buffer[..length])
            && message.metadata.id == id
        {
            return Ok(message);
        }
    }
}

fn found(reply: &Message, apex: &Name, zone: &ZoneName) -> anyhow::Result<Found> {
    ensure!(!reply.metadata.truncation, "the answer is cut off");
    let soa = reply.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) if record.name == *apex => Some(soa),
        _ => None,
    });
    let Some(soa) = soa else { return Ok(Found::Nothing(reply.metadata.response_code)) };
    // The name server that xcc gives every zone.
    let ours = Name::from_ascii(format!("{}.", zone.name_server()))?;
    Ok(if soa.mname == ours { Found::Ours } else { Found::Others(soa.mname.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;
    use xcc_dns::{DnsConfig, DnsMetrics, DnsServer, Responder, ZoneConfig, Zones};

    fn zone(name: &str) -> ZoneName {
        ZoneName::parse(name).unwrap()
    }

    #[tokio::test]
    async fn a_responder_of_xcc_is_known_by_its_soa() {
        let responder = Responder::new();
        let listen = "127.0.0.1:0".parse().unwrap();
        let server =
            DnsServer::bind(&[listen], DnsConfig::default(), responder.clone(), DnsMetrics::new()).unwrap();
        let address = server.local_addrs()[0];
        let config = ZoneConfig {
            apexes: vec![zone("xcc.test")],
            ttl_seconds: 30,
            name_server_addresses: vec!["127.0.0.1".parse().unwrap()],
        };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));
        let not_yet = ask(address, &zone("xcc.test")).await.unwrap();
        assert_eq!(not_yet, Found::Nothing(ResponseCode::ServFail));
        responder.publish(Zones::new(&config).with_addresses(&["10.0.0.1".parse().unwrap()]));
        assert_eq!(ask(address, &zone("xcc.test")).await.unwrap(), Found::Ours);
        let elsewhere = ask(address, &zone("other.test")).await.unwrap();
        assert_eq!(elsewhere, Found::Nothing(ResponseCode::Refused));
        assert!(elsewhere.to_string().contains("does not send the zone to xcc"), "{elsewhere}");
        shutdown.cancel();
        running.await.unwrap().unwrap();
    }

    #[test]
    fn the_first_name_server_with_an_address_is_asked() {
        let text = "# nameserver 192.0.2.9\nsearch a.svc\nnameserver bad\nnameserver  10.96.0.10\nnameserver 192.0.2.1\n";
        assert_eq!(name_server(text), Some("10.96.0.10".parse().unwrap()));
        assert_eq!(name_server("nameserver fd00::a\n"), Some("fd00::a".parse().unwrap()));
        assert_eq!(name_server("options ndots:5\n"), None);
    }
}
