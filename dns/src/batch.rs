//! Datagrams by the batch: one system call takes what waits, one sends all replies.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg,
};

use crate::responder::UDP_PAYLOAD_OCTETS;

/// Datagrams that one system call receives or sends at most.
pub(crate) const BATCH: usize = 32;
/// Largest request that is taken whole; a longer one arrives cut short and is a format error.
const REQUEST_OCTETS_MAX: usize = 4096;

/// What was received.
pub(crate) struct Inbox {
    requests: Box<[[u8; REQUEST_OCTETS_MAX]; BATCH]>,
    headers: MultiHeaders<SockaddrStorage>,
    any_address: bool,
    /// How many datagrams the next call may take: twice what the last one took, since each has its price even if it does
    /// not come.
    width: usize,
}

/// One datagram.
pub(crate) struct Datagram<'a> {
    pub(crate) client: SocketAddr,
    pub(crate) octets: &'a [u8],
    /// What the reply needs to go where the request came from.
    pub(crate) route: Route,
}

/// Where a datagram came from, and which of our addresses it was sent to.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    client: SockaddrStorage,
    asked: Option<Asked>,
}

/// The address that a request was sent to, in the form in which the reply names it as its source.
#[derive(Clone, Copy)]
enum Asked {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

/// Replies that are to be sent.
pub(crate) struct Outbox {
    replies: Box<[Vec<u8>; BATCH]>,
    clients: [Option<SockaddrStorage>; BATCH],
    asked: [Option<Asked>; BATCH],
    count: usize,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Route {
    /// The way to a client, from whichever of our addresses.
    #[cfg(test)]
    pub(crate) fn to(client: SocketAddr) -> Self {
        Self { client: client.into(), asked: None }
    }
}

impl Inbox {
    /// `any_address`: the socket is bound to no address, so that each reply must name the one that was asked
    /// (RFC 2181, section 4).
    pub(crate) fn new(any_address: bool) -> Self {
        let control = any_address.then(|| cmsg_space!(in_pktinfo, in6_pktinfo));
        let headers = MultiHeaders::preallocate(BATCH, control);
        let requests = Box::new([[0; REQUEST_OCTETS_MAX]; BATCH]);
        Self { requests, headers, any_address, width: BATCH }
    }

    /// Takes what waits, and hands over each datagram.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        flags: MsgFlags,
        mut take: impl FnMut(Datagram<'_>),
    ) -> Result<(), Errno> {
        let mut slices = self.requests.each_mut().map(|request| [IoSliceMut::new(request)]);
        let slices = slices.iter_mut().take(self.width);
        let messages = recvmmsg(socket.as_raw_fd(), &mut self.headers, slices, flags, None)?;
        let mut count = 0;
        for message in messages {
            count += 1;
            // No octets and no sender: somebody wants the thread to wake up. An empty datagram gets no reply either.
            if message.bytes == 0 {
                continue;
            }
            let Some(client) = message.address else { continue };
            let Some(address) = socket_address(&client) else { continue };
            let asked = if self.any_address { asked(&message) } else { None };
            let octets = message.iovs().next().unwrap_or_default();
            take(Datagram { client: address, octets, route: Route { client, asked } });
        }
        self.width = (2 * count).clamp(1, BATCH);
        Ok(())
    }
}

impl Outbox {
    /// For a socket that is bound to this address.
    pub(crate) fn new(address: &SocketAddr) -> Self {
        // Exactly what one control message takes: the kernel refuses anything behind it.
        let control = address.ip().is_unspecified().then(|| match address {
            SocketAddr::V4(_) => cmsg_space!(in_pktinfo),
            SocketAddr::V6(_) => cmsg_space!(in6_pktinfo),
        });
        let reply = || Vec::with_capacity(UDP_PAYLOAD_OCTETS.into());
        Self {
            replies: Box::new(std::array::from_fn(|_| reply())),
            clients: [None; BATCH],
            asked: [None; BATCH],
            count: 0,
            headers: MultiHeaders::preallocate(BATCH, control),
        }
    }

    /// The buffer for the next reply.
    pub(crate) fn next(&mut self) -> &mut Vec<u8> {
        // A batch is sent before another one is received.
        &mut self.replies[self.count.min(BATCH - 1)]
    }

    /// The next reply is complete and goes this way.
    pub(crate) fn push(&mut self, route: Route) {
        if self.count < BATCH {
            self.clients[self.count] = Some(route.client);
            self.asked[self.count] = route.asked;
            self.count += 1;
        }
    }

    /// How many replies wait to be sent.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Sends all replies without waiting: a client that gets none asks again. How many could not be sent.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> u64 {
        let slices = self.replies.each_ref().map(|reply| [IoSlice::new(reply)]);
        let (mut from, mut failed) = (0, 0);
        while from < self.count {
            let asked = self.asked[from];
            let alike = self.asked[from..self.count].iter().take_while(|other| is_same(other, &asked));
            let run = from..from + alike.count();
            let (messages, clients) = (slices[run.clone()].iter(), &self.clients[run]);
            let flags = MsgFlags::MSG_DONTWAIT;
            let (socket, headers) = (socket.as_raw_fd(), &mut self.headers);
            let sent = match &asked {
                None => sendmmsg(socket, headers, messages, clients, [], flags),
                Some(Asked::V4(info)) => sendmmsg(
                    socket,
                    headers,
                    messages,
                    clients,
                    [ControlMessage::Ipv4PacketInfo(info)],
                    flags,
                ),
                Some(Asked::V6(info)) => sendmmsg(
                    socket,
                    headers,
                    messages,
                    clients,
                    [ControlMessage::Ipv6PacketInfo(info)],
                    flags,
                ),
            };
            match sent.map_or(0, Iterator::count) {
                // The first one is what failed.
                0 => (from, failed) = (from + 1, failed + 1),
                sent => from += sent,
            }
        }
        self.count = 0;
        failed
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| (address.ip(), address.port()).into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| (address.ip(), address.port()).into()))
}

fn is_same(one: &Option<Asked>, other: &Option<Asked>) -> bool {
    match (one, other) {
        (Some(Asked::V4(one)), Some(Asked::V4(other))) => {
            (one.ipi_spec_dst, one.ipi_addr) == (other.ipi_spec_dst, other.ipi_addr)
        }
        (Some(Asked::V6(one)), Some(Asked::V6(other))) => {
            (one.ipi6_addr, one.ipi6_ifindex) == (other.ipi6_addr, other.ipi6_ifindex)
        }
        (None, None) => true,
        _ => false,
    }
}

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
