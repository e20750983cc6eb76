//! Sockets with the options that a name server needs.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt,
    shutdown, socket, sockopt,
};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};

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
/// blocks until [`wake`].
pub(crate) fn udp(address: SocketAddr, v6_only: bool) -> io::Result<UdpSocket> {
    let socket = open(address, SockType::Datagram, v6_only)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    setsockopt(&socket, sockopt::RcvBuf, &UDP_RECEIVE_BUFFER_OCTETS)?;
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    if let Err(error) = keep_whole(&socket, address) {
        tracing::debug!(%error, "replies may go in fragments where a path is said to be narrow");
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(socket))
}

/// Replies are short enough for every path. What a path is said to take is not believed, since an ICMP message is easily
/// forged: it would have them sent in fragments, which are easily forged, too (RFC 9715, section 3.1).
fn keep_whole(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::OMIT)?;
    }
    // A socket of IPv6 may take IPv4, too.
    Ok(set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::OMIT)?)
}

/// Ends the waiting of whoever receives from the socket: an empty message without sender comes, now and from now on, when
/// there is no other one. A timeout would do too, but costs a timer for each time that somebody waits.
pub(crate) fn wake(socket: &UdpSocket) {
    // Linux says that the socket is not connected, and wakes those who wait all the same.
    let _unconnected = shutdown(socket.as_raw_fd(), Shutdown::Read);
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

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::{ip_mtu_discover, ipv6_mtu_discover};

    use super::*;

    #[test]
    fn rfc9715_3_1_no_message_makes_replies_go_in_fragments() {
        let v4 = udp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        assert_eq!(ip_mtu_discover(&v4).unwrap(), Ipv4PathMtuDiscovery::OMIT);
        let both = udp("[::]:0".parse().unwrap(), false).unwrap();
        assert_eq!(ipv6_mtu_discover(&both).unwrap(), Ipv6PathMtuDiscovery::OMIT);
        assert_eq!(ip_mtu_discover(&both).unwrap(), Ipv4PathMtuDiscovery::OMIT);
    }
}
