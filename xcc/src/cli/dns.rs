//! The flags of the DNS responder beyond where it listens.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use ipnet::IpNet;
use xcc_dns::{DnsConfig, RateLimit, Zones};
use xcc_kube::dns_config::{DnsConfigOptions, ObjectName};
use xcc_model::Hostname;

/// How DNS is answered, and whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "DNS")]
pub(crate) struct DnsArgs {
    /// Where DNS queries come in, over UDP and TCP; repeatable. [::] takes IPv4 as well.
    #[arg(
        long,
        env = "XCC_DNS_LISTEN",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:8053"
    )]
    pub(crate) dns_listen: Vec<SocketAddr>,

    /// An address of ns.dns.ZONE, the name server that NS records name: where resolvers reach --dns-listen; repeatable
    /// [default: with --kubernetes the addresses of --dns-service, else those of --dns-listen but 0.0.0.0 and ::].
    #[arg(long, env = "XCC_DNS_NAME_SERVER", value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) dns_name_server: Vec<IpAddr>,

    /// With --kubernetes: the Service at which resolvers reach --dns-listen.
    #[arg(long, env = "XCC_DNS_SERVICE", value_name = "NAMESPACE/NAME", default_value = DnsConfigOptions::DNS_SERVICE)]
    pub(crate) dns_service: ObjectName,

    /// UDP sockets of each address, each with a thread of its own [default: one for each processor, up to 8].
    #[arg(long, env = "XCC_DNS_UDP_SOCKETS", value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=64))]
    dns_udp_sockets: Option<u16>,

    /// Most TCP connections at one time; for one more, one that is idle is closed.
    #[arg(long, env = "XCC_DNS_TCP_CONNECTIONS", value_name = "NUMBER", default_value_t = 512)]
    dns_tcp_connections: u16,

    /// Answers over UDP that one network (/24 or /56) gets each second; over that every second query is told to come by
    /// TCP, the others are dropped. Records of more than twice the query's length are had by TCP alone. 0: no limit of
    /// either kind.
    #[arg(long, env = "XCC_DNS_RATE_LIMIT", value_name = "ANSWERS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    dns_rate_limit: u32,

    /// A network that is not limited, and whose answers over UDP may be longer than twice the query, beside loopback,
    /// link-local and private networks, where most clusters have their addresses; repeatable. `none` stands for none
    /// of these.
    #[arg(long, env = "XCC_DNS_RATE_LIMIT_EXEMPT", value_name = "CIDR", value_delimiter = ',', value_parser = exemption)]
    dns_rate_limit_exempt: Vec<Exemption>,

    /// Share of the queries that are logged with the client's address, from 0 to 1.
    #[arg(long, env = "XCC_DNS_QUERY_LOG", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    dns_query_log: f64,

    /// Answer HTTPS records (RFC 9460) with these protocols for every name, such as h2,http/1.1 [default: none].
    #[arg(long, env = "XCC_DNS_HTTPS_ALPN", value_name = "PROTOCOL", value_delimiter = ',')]
    dns_https_alpn: Vec<String>,

    /// Answer PTR for the gateway's addresses with this name [default: such queries are refused].
    #[arg(long, env = "XCC_DNS_REVERSE", value_name = "NAME", value_parser = hostname)]
    dns_reverse: Option<Hostname>,
}

impl DnsArgs {
    /// The server's limits.
    pub(crate) fn config(&self) -> DnsConfig {
        let default = DnsConfig::default();
        DnsConfig {
            udp_sockets: self.dns_udp_sockets.map_or(default.udp_sockets, usize::from),
            tcp_connections_max: self.dns_tcp_connections.into(),
            rate_limit: self.rate_limit(),
            query_log_rate: self.dns_query_log,
            ..default
        }
    }

    /// Where the zones' name server is reached without a Service, if that can be said.
    pub(crate) fn name_server(&self) -> Vec<IpAddr> {
        if !self.dns_name_server.is_empty() {
            return self.dns_name_server.clone();
        }
        self.dns_listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect()
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        let default = RateLimit::default();
        let mut exempt = default.exempt;
        if self.dns_rate_limit_exempt.contains(&Exemption::NotByDefault) {
            exempt.clear();
        }
        exempt.extend(self.dns_rate_limit_exempt.iter().filter_map(Exemption::network));
        (self.dns_rate_limit > 0).then_some(RateLimit {
            answers_per_second: self.dns_rate_limit,
            exempt,
            ..default
        })
    }

    /// The zones with the records that are off by default.
    pub(crate) fn extend(&self, zones: &Zones) -> Zones {
        zones.with_https(&self.dns_https_alpn).with_reverse(self.dns_reverse.as_ref())
    }
}

/// Who is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exemption {
    Network(IpNet),
    /// Nobody who is not given.
    NotByDefault,
}

impl Exemption {
    fn network(&self) -> Option<IpNet> {
        match self {
            Self::Network(network) => Some(*network),
            Self::NotByDefault => None,
        }
    }
}

fn exemption(text: &str) -> Result<Exemption, String> {
    match text {
        "none" => Ok(Exemption::NotByDefault),
        _ => text
            .parse()
            .map(Exemption::Network)
            .map_err(|_| "want a network such as 192.0.2.0/24, or none".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().map_err(|_| "want a number from 0 to 1")?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("want a number from 0 to 1".to_owned()) }
}

fn hostname(text: &str) -> Result<Hostname, String> {
    Hostname::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        dns: DnsArgs,
    }

    fn parse(flags: &[&str]) -> DnsArgs {
        Only::try_parse_from(["xcc"].iter().chain(flags)).unwrap().dns
    }

    #[test]
    fn nothing_said_is_the_servers_own_defaults() {
        let (config, default) = (parse(&[]).config(), DnsConfig::default());
        assert_eq!(config.rate_limit, default.rate_limit);
        assert_eq!(config.udp_sockets, default.udp_sockets);
        assert_eq!(config.tcp_connections_max, default.tcp_connections_max);
        assert_eq!(config.query_log_rate, default.query_log_rate);
    }

    #[test]
    fn the_name_server_is_where_dns_listens_unless_said_otherwise() {
        let server =
            |flags: &[&str]| parse(flags).name_server().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(server(&[]), ["127.0.0.1"]);
        assert_eq!(server(&["--dns-listen=0.0.0.0:53"]), [""; 0]);
        assert_eq!(server(&["--dns-listen=192.0.2.1:53,[2001:db8::1]:53"]), ["192.0.2.1", "2001:db8::1"]);
        let flags = ["--dns-listen=0.0.0.0:53", "--dns-name-server=192.0.2.1,2001:db8::1"];
        assert_eq!(server(&flags), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(parse(&[]).dns_service.to_string(), "cross-cluster-connectivity/xcc-dns");
    }

    #[test]
    fn limits_are_what_the_flags_say() {
        assert_eq!(parse(&["--dns-rate-limit=0"]).config().rate_limit, None);
        let limit = |exempt: &str| {
            let exempt = format!("--dns-rate-limit-exempt={exempt}");
            parse(&["--dns-rate-limit=20", &exempt]).config().rate_limit.unwrap()
        };
        let networks = ["192.0.2.0/24", "2001:db8::/32"].map(|network| network.parse().unwrap());
        let more = limit("192.0.2.0/24,2001:db8::/32");
        assert_eq!(more.answers_per_second, 20);
        assert_eq!(more.exempt, [&RateLimit::default().exempt[..], &networks].concat());
        assert_eq!(limit("none,192.0.2.0/24,2001:db8::/32").exempt, networks);
        let config =
            parse(&["--dns-udp-sockets=3", "--dns-tcp-connections=7", "--dns-query-log=0.5"]).config();
        assert_eq!((config.udp_sockets, config.tcp_connections_max, config.query_log_rate), (3, 7, 0.5));
        for wrong in
            ["--dns-query-log=2", "--dns-udp-sockets=0", "--dns-rate-limit-exempt=x", "--dns-reverse=a..b"]
        {
            assert!(Only::try_parse_from(["xcc", wrong]).is_err(), "{wrong}");
        }
    }
}
