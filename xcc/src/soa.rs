//! Whether the cluster's DNS really asks xcc: a look-up of a zone's SOA, as a pod would make it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use xcc_dns::{Rcode, SoaAnswer, ask_soa};
use xcc_model::ZoneName;

/// Where pods' resolvers find their name servers.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// What a server says of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has the answer from xcc.
    Ours,
    /// Another name server is responsible for the zone.
    Others(String),
    /// There is no SOA, with this status.
    Nothing(Rcode),
}

impl Found {
    /// What a person can do about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Ours => "",
            Self::Others(_) => {
                "; it does not send the zone to xcc (yet): CoreDNS takes up to two minutes to see a new Corefile"
            }
            Self::Nothing(Rcode::SERVFAIL) => {
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
            Self::Nothing(code) => write!(f, "has no SOA ({code})")?,
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
    Ok(found(ask_soa(SocketAddr::new(server, DNS_PORT), zone).await?, zone))
}

/// `resolv.conf(5)`: the first is the one that is asked while it answers.
fn name_server(resolv_conf: &str) -> Option<IpAddr> {
    let servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()).flatten()
    });
    servers.filter_map(|server| server.parse().ok()).next()
}

fn found(answer: SoaAnswer, zone: &ZoneName) -> Found {
    match answer {
        SoaAnswer::None(code) => Found::Nothing(code),
        // The name server that xcc gives every zone.
        SoaAnswer::NameServer(server) if server == zone.name_server() => Found::Ours,
        SoaAnswer::NameServer(server) => Found::Others(server),
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

    async fn ask(server: SocketAddr, name: &str) -> Found {
        found(ask_soa(server, &zone(name)).await.unwrap(), &zone(name))
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
        let not_yet = ask(address, "xcc.test").await;
        assert_eq!(not_yet, Found::Nothing(Rcode::SERVFAIL));
        responder.publish(Zones::new(&config).with_addresses(&["10.0.0.1".parse().unwrap()]));
        assert_eq!(ask(address, "xcc.test").await, Found::Ours);
        let elsewhere = ask(address, "other.test").await;
        assert_eq!(elsewhere, Found::Nothing(Rcode::REFUSED));
        let others = found(SoaAnswer::NameServer("ns.other.test".to_owned()), &zone("xcc.test"));
        assert!(others.to_string().starts_with("answered for by ns.other.test, not by xcc"), "{others}");
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
