//! Servers of names of the benchmark's zone, one process each: xcc-dns, stock hickory, and echoes.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use hickory_proto::rr::rdata::{A, NS, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record};
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrStorage, bind, recvmmsg, sendmmsg,
    setsockopt, socket, sockopt,
};
use tokio_util::sync::CancellationToken;
use xcc_bench::dns::workload::{GATEWAY, ZONE, names, zones};
use xcc_dns::{DnsConfig, DnsMetrics, DnsServer, Responder, Zones};
use xcc_model::Hostname;

/// What a batch of the echo takes at most, as ours does.
const BATCH: usize = 32;
const DATAGRAM_OCTETS: usize = 4096;

#[derive(Parser)]
struct Arguments {
    mode: Mode,
    #[arg(long)]
    listen: SocketAddr,
    /// Names in the zone.
    #[arg(long, default_value_t = 1)]
    names: usize,
    /// UDP sockets, each with a thread or task.
    #[arg(long, default_value_t = 2)]
    sockets: usize,
    /// Addresses of the zone's name server (xcc only).
    #[arg(long, value_delimiter = ',', default_value = GATEWAY)]
    name_server: Vec<IpAddr>,
    /// Names that come and go again each second (xcc only).
    #[arg(long, default_value_t = 0)]
    changes_per_second: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Xcc,
    Hickory,
    Echo,
    EchoBatch,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.mode {
        Mode::Echo => echo(&arguments, |socket| {
            let mut octets = [0; DATAGRAM_OCTETS];
            loop {
                let (length, client) = socket.recv_from(&mut octets)?;
                socket.send_to(&octets[..length], client)?;
            }
        }),
        Mode::EchoBatch => echo(&arguments, echo_batches),
        Mode::Xcc => runtime()?.block_on(xcc(&arguments)),
        Mode::Hickory => runtime()?.block_on(hickory(&arguments)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

async fn xcc(arguments: &Arguments) -> Result<()> {
    let responder = Responder::new();
    let config = DnsConfig { udp_sockets: arguments.sockets, ..DnsConfig::default() };
    let server = DnsServer::bind(&[arguments.listen], config, responder.clone(), DnsMetrics::new())?;
    let zones = zones(arguments.names, &arguments.name_server)?;
    responder.publish(zones.clone());
    let stop = CancellationToken::new();
    let served = tokio::spawn(server.run(stop.clone()));
    if arguments.changes_per_second > 0 {
        let interval = Duration::from_secs(1) / arguments.changes_per_second;
        // A thread of its own: the timer of a runtime with several would wake another one first.
        tokio::task::spawn_blocking(move || change(&responder, zones, interval)).await??;
    }
    Ok(served.await??)
}

/// Lets a name come or go each so long, for ever.
fn change(responder: &Responder, mut zones: Zones, interval: Duration) -> Result<()> {
    let changing = (0..64)
        .map(|index| Hostname::parse(&format!("changing-{index}.{ZONE}")))
        .collect::<Result<Vec<_>, _>>()?;
    for name in changing.iter().cycle() {
        std::thread::sleep(interval);
        let name = std::slice::from_ref(name);
        zones = if zones.contains(&name[0]) {
            zones.with_changes([], name)
        } else {
            zones.with_changes(name, [])
        };
        responder.publish(zones.clone());
    }
    Ok(())
}

/// As its documentation has it: a catalogue of an in-memory zone, one socket registered per worker.
async fn hickory(arguments: &Arguments) -> Result<()> {
    let apex = Name::from_ascii(format!("{ZONE}."))?;
    let server_name = Name::from_ascii(format!("ns.dns.{ZONE}."))?;
    let mut zone: InMemoryZoneHandler =
        InMemoryZoneHandler::empty(apex.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let mailbox = apex.prepend_label("hostmaster")?;
    let soa = SOA::new(server_name.clone(), mailbox, 1, 14_400, 3600, 1_209_600, 30);
    let address = RData::A(A(GATEWAY.parse()?));
    zone.upsert_mut(Record::from_rdata(apex.clone(), 30, RData::SOA(soa)), 0);
    zone.upsert_mut(Record::from_rdata(apex.clone(), 30, RData::NS(NS(server_name.clone()))), 0);
    zone.upsert_mut(Record::from_rdata(server_name, 30, address.clone()), 0);
    for name in names(arguments.names)? {
        zone.upsert_mut(Record::from_rdata(Name::from_ascii(format!("{name}."))?, 30, address.clone()), 0);
    }
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::from(apex), vec![Arc::new(zone)]);
    let mut server = Server::new(catalog);
    for _ in 0..arguments.sockets {
        let socket = udp(arguments.listen)?;
        socket.set_nonblocking(true)?;
        server.register_socket(tokio::net::UdpSocket::from_std(socket)?);
    }
    server.block_until_done().await.context("hickory ended")
}

fn echo(arguments: &Arguments, serve: fn(UdpSocket) -> Result<()>) -> Result<()> {
    let mut threads = vec![];
    for _ in 0..arguments.sockets {
        let socket = udp(arguments.listen)?;
        threads.push(std::thread::spawn(move || serve(socket)));
    }
    for thread in threads {
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    Ok(())
}

fn echo_batches(socket: UdpSocket) -> Result<()> {
    let mut buffers = Box::new([[0; DATAGRAM_OCTETS]; BATCH]);
    let mut received = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut sent = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let (mut clients, mut lengths) = ([None; BATCH], [0; BATCH]);
    loop {
        let mut count = 0;
        let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let flags = MsgFlags::MSG_WAITFORONE;
        for message in recvmmsg(socket.as_raw_fd(), &mut received, slices.iter_mut(), flags, None)? {
            (clients[count], lengths[count]) = (message.address, message.bytes);
            count += 1;
        }
        let mut index = 0;
        let slices = buffers.each_ref().map(|buffer| {
            index += 1;
            [IoSlice::new(&buffer[..lengths[index - 1]])]
        });
        sendmmsg(socket.as_raw_fd(), &mut sent, slices.iter(), &clients[..count], [], MsgFlags::empty())?;
    }
}

/// A socket that shares its port with the others of this process.
fn udp(address: SocketAddr) -> Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(socket))
}
