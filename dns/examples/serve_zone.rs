//! Serves names from a file, one per line, until it is interrupted: for trials with `dig` and `dnsperf`.
//!
//! `cargo run -p xcc-dns --example serve_zone -- 127.0.0.1:8053 xcc.test 10.0.0.1 names.txt`

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use tokio_util::sync::CancellationToken;
use xcc_dns::{DnsConfig, DnsMetrics, DnsServer, Responder, ZoneConfig, Zones};
use xcc_model::{Hostname, ZoneName};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, zone, gateway, file] = &arguments[..] else {
        return Err("usage: serve_zone ADDRESS:PORT ZONE GATEWAY-ADDRESS FILE".into());
    };
    let listen: SocketAddr = listen.parse()?;
    let gateway: IpAddr = gateway.parse()?;
    let config = ZoneConfig {
        apexes: vec![ZoneName::parse(zone)?],
        ttl_seconds: 30,
        name_server_addresses: vec![listen.ip()],
    };
    let text = std::fs::read_to_string(file)?;
    let names = text.lines().map(Hostname::parse).collect::<Result<Vec<_>, _>>()?;
    let responder = Responder::new();
    let server = DnsServer::bind(&[listen], DnsConfig::default(), responder.clone(), DnsMetrics::new())?;
    responder.publish(Zones::new(&config).with_addresses(&[gateway]).with_changes(&names, []));
    server.run(CancellationToken::new()).await?;
    Ok(())
}
