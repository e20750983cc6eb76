//! Sockets with the options that a name server needs.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// Connections that wait to be accepted. The kernel takes less if its own limit is lower.
const TCP_BACKLOG: i32 = 1024;
/// Room for datagrams that wait, so that a burst is answered late rather than not at all. The kernel takes less if its
/// own limit is lower.
const UDP_RECEIVE_BUFFER_OCTETS: usize = 1 << 20;

/// A listening socket. `v6_only` keeps an IPv6 wildcard address from taking IPv4's port as well.
pub(crate) fn tcp(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = open(address, SockType::Stream, v6_only)?;
    // Without it a restart would have to wait for connections that the last process closed.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(TCP_BACKLOG)?)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A socket that shares its port with others of the same process, the kernel spreading clients over them. Receiving
/// blocks, at most for the given time.
pub(crate) fn udp(address: SocketAddr, v6_only: bool, patience: Duration) -> io::Result<UdpSocket> {
    let socket = open(address, SockType::Datagram, v6_only)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    setsockopt(&socket, sockopt::RcvBuf, &UDP_RECEIVE_BUFFER_OCTETS)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::from(libc_timeval(patience)))?;
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(socket))
}

fn open(address: SocketAddr, kind: SockType, v6_only: bool) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &v6_only)?;
    }
    Ok(socket)
}

fn libc_timeval(duration: Duration) -> nix::libc::timeval {
    nix::libc::timeval {
        tv_sec: nix::libc::time_t::try_from(duration.as_secs()).unwrap_or(nix::libc::time_t::MAX),
        tv_usec: nix::libc::suseconds_t::from(duration.subsec_micros()),
    }
}
