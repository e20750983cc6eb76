//! UDP: threads that receive and answer in batches.
//!
//! Threads of their own rather than tasks: a batch costs one system call to receive and none to wait, and answers do not
//! queue behind whatever else the runtime does.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmsg,
};
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use crate::metrics::{DnsMetrics, Shard};
use crate::responder::{DropReason, Outcome, Responder, Transport, UDP_PAYLOAD_OCTETS, respond};
use crate::zone::Zones;

/// Datagrams that one system call receives at most.
const BATCH: usize = 32;
/// Largest request that is taken whole; a longer one arrives cut short and is a format error.
const REQUEST_OCTETS_MAX: usize = 4096;
/// How long a thread may take to see that it is to stop.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);
/// Pause after an error of the socket, so that a lasting one does not take a processor.
const ERROR_PAUSE: Duration = Duration::from_millis(20);
/// Batches that are still answered after the stop.
const DRAIN_BATCHES_MAX: usize = 1024;
/// Ports that no client sends from: none, and services that answer whatever they get (echo, daytime, quotd, chargen).
const SOURCE_PORTS_DENIED: [u16; 5] = [0, 7, 13, 17, 19];

/// One socket and the thread that serves it.
pub(crate) struct Worker {
    socket: UdpSocket,
    /// The socket is bound to no address, so that each reply must name the one that was asked (RFC 2181, section 4).
    any_address: bool,
    responder: Responder,
    shard: Arc<Shard>,
    send_errors: Counter,
}

/// The buffers of a worker, kept from batch to batch.
struct Buffers {
    requests: Box<[[u8; REQUEST_OCTETS_MAX]; BATCH]>,
    headers: MultiHeaders<SockaddrStorage>,
    reply: Vec<u8>,
}

/// The address that a request was sent to.
enum Asked {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl Worker {
    pub(crate) fn new(
        socket: UdpSocket,
        any_address: bool,
        responder: Responder,
        metrics: &DnsMetrics,
    ) -> Self {
        let send_errors = metrics.send_errors.clone();
        Self { socket, any_address, responder, shard: metrics.shard(), send_errors }
    }

    /// Answers until the stop, and then what waits already. A panic costs its batch, not the thread.
    pub(crate) fn run(&self, stop: &CancellationToken) {
        while catch_unwind(AssertUnwindSafe(|| self.serve(stop))).is_err() {
            tracing::error!("answering a DNS request panicked; going on with the next ones");
        }
    }

    fn serve(&self, stop: &CancellationToken) {
        let mut buffers = Buffers::new(self.any_address);
        while !stop.is_cancelled() {
            match self.answer_batch(&mut buffers, MsgFlags::MSG_WAITFORONE) {
                Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot receive DNS requests");
                    std::thread::sleep(ERROR_PAUSE);
                }
            }
        }
        for _ in 0..DRAIN_BATCHES_MAX {
            if self.answer_batch(&mut buffers, MsgFlags::MSG_DONTWAIT).is_err() {
                break;
            }
        }
    }

    fn answer_batch(&self, buffers: &mut Buffers, flags: MsgFlags) -> Result<(), Errno> {
        let Buffers { requests, headers, reply } = buffers;
        let mut slices = requests.each_mut().map(|request| [IoSliceMut::new(request)]);
        let messages = recvmmsg(self.socket.as_raw_fd(), headers, slices.iter_mut(), flags, None)?;
        let zones = self.responder.peek();
        for message in messages {
            self.answer(&message, zones.as_deref(), reply);
        }
        Ok(())
    }

    fn answer(&self, message: &RecvMsg<'_, '_, SockaddrStorage>, zones: Option<&Zones>, reply: &mut Vec<u8>) {
        let Some(client) = &message.address else { return };
        if SOURCE_PORTS_DENIED.contains(&port(client)) {
            return self.shard.count(Transport::Udp, Outcome::Dropped(DropReason::SourcePort));
        }
        let request = message.iovs().next().unwrap_or_default();
        let outcome = respond(zones, Transport::Udp, request, reply);
        self.shard.count(Transport::Udp, outcome);
        if let Outcome::Replied { .. } = outcome {
            let asked = if self.any_address { asked(message) } else { None };
            if self.send(client, asked.as_ref(), reply).is_err() {
                self.send_errors.inc();
            }
        }
    }

    /// Sends without waiting: a client that gets no reply asks again.
    fn send(&self, client: &SockaddrStorage, asked: Option<&Asked>, reply: &[u8]) -> Result<usize, Errno> {
        let (socket, octets) = (self.socket.as_raw_fd(), [IoSlice::new(reply)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        match asked {
            None => sendmsg(socket, &octets, &[], flags, Some(client)),
            Some(Asked::V4(info)) => {
                sendmsg(socket, &octets, &[ControlMessage::Ipv4PacketInfo(info)], flags, Some(client))
            }
            Some(Asked::V6(info)) => {
                sendmsg(socket, &octets, &[ControlMessage::Ipv6PacketInfo(info)], flags, Some(client))
            }
        }
    }
}

impl Buffers {
    fn new(any_address: bool) -> Self {
        let control = any_address.then(|| cmsg_space!(in_pktinfo, in6_pktinfo));
        Self {
            requests: Box::new([[0; REQUEST_OCTETS_MAX]; BATCH]),
            headers: MultiHeaders::preallocate(BATCH, control),
            reply: Vec::with_capacity(usize::from(UDP_PAYLOAD_OCTETS)),
        }
    }
}

fn port(address: &SockaddrStorage) -> u16 {
    let v4 = address.as_sockaddr_in().map(|address| address.port());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.port())).unwrap_or(0)
}

/// Which of our addresses was asked, in the form in which the reply names it as its source.
fn asked(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Asked> {
    message.cmsgs().ok()?.find_map(|control| match control {
        // Without an interface, so that routing chooses it as it would for any other packet.
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Asked::V4(in_pktinfo { ipi_ifindex: 0, ..info })),
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let link_local = info.ipi6_addr.s6_addr[0] == 0xfe && info.ipi6_addr.s6_addr[1] & 0xc0 == 0x80;
            let ipi6_ifindex = if link_local { info.ipi6_ifindex } else { 0 };
            Some(Asked::V6(in6_pktinfo { ipi6_ifindex, ..info }))
        }
        _ => None,
    })
}
