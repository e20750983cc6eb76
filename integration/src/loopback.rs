//! Loopback addresses for one run: a /24 of 127.0.0.0/8 that no other run uses at the same time.
//!
//! On Linux all of 127/8 is there without any set-up and without root, so that runs side by side need no random
//! ports: each has its own addresses and the ports are the well-known ones.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// The port whose listener on the last address of a /24 says that the /24 is taken. The kernel closes it when the
/// process ends, however it ends.
const LOCK_PORT: u16 = 20_254;

/// How many ports are tried from the preferred one on.
const PORT_ATTEMPTS: u16 = 64;

/// A /24 of loopback addresses, held until dropped.
#[derive(Debug)]
pub struct Loopback {
    third_octet: u8,
    _lock: TcpListener,
}

impl Loopback {
    /// Takes the first free /24 from 127.0.1.0/24 on.
    ///
    /// # Errors
    /// When all of them are taken, or something listens on the lock's port on every address.
    pub fn reserve() -> Result<Self> {
        (1..=254)
            .find_map(|third_octet| {
                let lock = TcpListener::bind((Ipv4Addr::new(127, 0, third_octet, 254), LOCK_PORT)).ok()?;
                Some(Self { third_octet, _lock: lock })
            })
            .with_context(|| format!("no loopback network from 127.0.1.0/24 on is free (port {LOCK_PORT})"))
    }

    /// An address of this network.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, self.third_octet, host)
    }

    /// A free TCP and UDP port on one of the addresses, the preferred one where possible: only something that
    /// listens on all addresses of the machine can be in the way.
    ///
    /// # Errors
    /// When no port near the preferred one is free.
    pub fn socket(&self, host: u8, preferred: u16) -> Result<SocketAddr> {
        let address = self.address(host);
        (preferred..preferred.saturating_add(PORT_ATTEMPTS))
            .map(|port| SocketAddr::from((address, port)))
            .find(|socket| TcpListener::bind(socket).is_ok() && std::net::UdpSocket::bind(socket).is_ok())
            .with_context(|| format!("no port from {preferred} on is free on {address}"))
    }

    /// A port below the ephemeral range that belongs to this network alone, for `[::1]`, of which there is one.
    pub fn ipv6_port(&self) -> u16 {
        21_000 + u16::from(self.third_octet)
    }

    /// Another such port.
    pub fn ipv6_dns_port(&self) -> u16 {
        22_000 + u16::from(self.third_octet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reservations_never_share_a_network() {
        let one = Loopback::reserve().unwrap();
        let other = Loopback::reserve().unwrap();
        assert_ne!(one.address(1), other.address(1));
        assert_ne!(one.ipv6_port(), other.ipv6_port());
    }

    #[test]
    fn a_taken_port_is_stepped_over() {
        let loopback = Loopback::reserve().unwrap();
        let first = loopback.socket(1, 20_300).unwrap();
        let _taken = TcpListener::bind(first).unwrap();
        assert_ne!(loopback.socket(1, 20_300).unwrap(), first);
    }
}
