//! Whether the cluster's DNS really asks xcc: a look-up of a zone's SOA, as a pod would make it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
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
/// RFC 1035, section 3.2.2.
const TYPE_SOA: u16 = 6;
const CLASS_IN: u16 = 1;
const HEADER: usize = 12;
/// Compression pointers that are followed in one name.
const POINTERS_MAX: usize = 16;
/// RFC 1035, section 4.1.1.
const SERVFAIL: u8 = 2;

/// What a server says of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has the answer from xcc.
    Ours,
    /// Another name server is responsible for the zone.
    Others(String),
    /// There is no SOA, with this status.
    Nothing(u8),
}

impl Found {
    /// What a person can do about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Ours => "",
            Self::Others(_) => {
                "; it does not send the zone to xcc (yet): CoreDNS takes up to two minutes to see a new Corefile"
            }
            Self::Nothing(SERVFAIL) => "; it does not reach xcc, or xcc is not ready: look at its pods",
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
            Self::Nothing(code) => write!(f, "has no SOA ({})", describe(*code))?,
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
    let bytes = question(zone);
    let unspecified: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((unspecified, 0)).await.context("cannot open a socket")?;
    socket.connect(server).await.with_context(|| format!("no route to {server}"))?;
    for _try in 0..TRIES {
        socket.send(&bytes).await.with_context(|| format!("cannot ask {server}"))?;
        match timeout(PATIENCE, answer(&socket, &bytes[..2])).await {
            Ok(reply) => return found(&reply?, zone),
            Err(_elapsed) => {}
        }
    }
    bail!("{server} does not answer")
}

/// The next message that answers the request; what else comes is passed over.
async fn answer(socket: &UdpSocket, id: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut buffer = [0; ANSWER_MAX];
    loop {
        let length = socket.recv(&mut buffer).await.context("the server cannot be asked")?;
        let reply = &buffer[..length];
        if length >= HEADER && reply.starts_with(id) && reply[2] & 0x80 != 0 {
            return Ok(reply.to_vec());
        }
    }
}

/// A question for the zone's SOA (RFC 1035, section 4.1).
fn question(zone: &ZoneName) -> Vec<u8> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let id = (clock.subsec_nanos() & 0xffff) as u16;
    // Recursion desired, one question.
    let mut bytes = [id, 0x0100, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    for label in zone.as_str().split('.') {
        // A label of a zone's name has 63 octets at most.
        bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend([TYPE_SOA, CLASS_IN].map(u16::to_be_bytes).concat());
    bytes
}

fn found(reply: &[u8], zone: &ZoneName) -> anyhow::Result<Found> {
    ensure!(reply[2] & 0x02 == 0, "the answer is cut off");
    let server = soa_server(reply, zone.as_str()).context("the answer is no DNS message")?;
    Ok(match server {
        None => Found::Nothing(reply[3] & 0x0f),
        // The name server that xcc gives every zone.
        Some(server) if server.eq_ignore_ascii_case(&zone.name_server()) => Found::Ours,
        Some(server) => Found::Others(server),
    })
}

/// The name server in the SOA of a zone among the answers; none of a message that breaks off.
fn soa_server(reply: &[u8], zone: &str) -> Option<Option<String>> {
    let mut at = HEADER;
    for _question in 0..number(reply, 4)? {
        name(reply, &mut at)?;
        at += 4;
    }
    for _answer in 0..number(reply, 6)? {
        let owner = name(reply, &mut at)?;
        let (record_type, length) = (number(reply, at)?, number(reply, at + 8)?);
        at += 10;
        if record_type == TYPE_SOA && owner.eq_ignore_ascii_case(zone) {
            return Some(Some(name(reply, &mut at.clone())?));
        }
        at += usize::from(length);
    }
    Some(None)
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Reads a name, compressed or not (RFC 1035, section 4.1.4), and moves behind it.
fn name(bytes: &[u8], at: &mut usize) -> Option<String> {
    let mut labels = Vec::new();
    let (mut position, mut pointers) = (*at, 0);
    loop {
        let length = usize::from(*bytes.get(position)?);
        if length & 0xc0 == 0xc0 {
            let target = usize::from(number(bytes, position)? & 0x3fff);
            if pointers == 0 {
                *at = position + 2;
            }
            pointers += 1;
            if pointers > POINTERS_MAX {
                return None;
            }
            position = target;
            continue;
        }
        position += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(bytes.get(position..position + length)?).into_owned());
        position += length;
    }
    if pointers == 0 {
        *at = position;
    }
    Some(labels.join("."))
}

fn describe(code: u8) -> String {
    match code {
        0 => "NOERROR".to_owned(),
        SERVFAIL => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("response code {other}"),
    }
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
        assert_eq!(not_yet, Found::Nothing(SERVFAIL));
        responder.publish(Zones::new(&config).with_addresses(&["10.0.0.1".parse().unwrap()]));
        assert_eq!(ask(address, &zone("xcc.test")).await.unwrap(), Found::Ours);
        let elsewhere = ask(address, &zone("other.test")).await.unwrap();
        assert_eq!(elsewhere, Found::Nothing(5));
        assert!(elsewhere.to_string().contains("does not send the zone to xcc"), "{elsewhere}");
        shutdown.cancel();
        running.await.unwrap().unwrap();
    }

    #[test]
    fn names_end_wherever_a_message_breaks_off_or_points_in_circles() {
        let circle = [&[0; HEADER][..], &[0xc0, 12]].concat();
        assert_eq!(name(&circle, &mut 12), None);
        assert_eq!(name(b"\x03abc", &mut 0), None);
        assert_eq!(name(b"\x03abc\x00", &mut 0).as_deref(), Some("abc"));
        let answers_without_any = [0_u8, 1, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(soa_server(&answers_without_any, "xcc.test"), None);
    }

    #[test]
    fn the_first_name_server_with_an_address_is_asked() {
        let text = "# nameserver 192.0.2.9\nsearch a.svc\nnameserver bad\nnameserver  10.96.0.10\nnameserver 192.0.2.1\n";
        assert_eq!(name_server(text), Some("10.96.0.10".parse().unwrap()));
        assert_eq!(name_server("nameserver fd00::a\n"), Some("fd00::a".parse().unwrap()));
        assert_eq!(name_server("options ndots:5\n"), None);
    }
}
