//! How many TCP connections are open, in all and for each client, so that one client cannot have them all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The network that an IPv6 client is counted with: what one host may take addresses from at will.
const PREFIX_V6: u32 = 64;

/// Counts open connections.
pub(crate) struct Connections {
    limit: usize,
    limit_per_client: usize,
    open: Mutex<Open>,
}

/// No more clients than connections.
#[derive(Default)]
struct Open {
    count: usize,
    clients: HashMap<IpAddr, usize>,
}

/// One open connection.
pub(crate) struct Permit {
    connections: Arc<Connections>,
    client: IpAddr,
}

impl Connections {
    pub(crate) fn new(limit: usize, limit_per_client: usize) -> Arc<Self> {
        Arc::new(Self { limit, limit_per_client, open: Mutex::default() })
    }

    /// None when there are too many.
    pub(crate) fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Permit> {
        let client = network(client);
        let mut open = self.lock();
        let held = open.clients.get(&client).copied().unwrap_or(0);
        if open.count >= self.limit || held >= self.limit_per_client {
            return None;
        }
        open.count += 1;
        open.clients.insert(client, held + 1);
        Some(Permit { connections: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.count -= 1;
        match open.clients.get_mut(&self.client) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(open.clients.remove(&self.client)),
        }
    }
}

fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> PREFIX_V6 << PREFIX_V6).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_counted_by_client_and_come_back() {
        let connections = Connections::new(3, 2);
        let admit = |client: &str| connections.admit(client.parse().unwrap());
        let (first, second) = (admit("192.0.2.1").unwrap(), admit("::ffff:192.0.2.1").unwrap());
        assert!(admit("192.0.2.1").is_none(), "too many of one client");
        let other = admit("2001:db8::1").unwrap();
        assert!(admit("192.0.2.2").is_none(), "too many in all");
        drop(first);
        let same_network = admit("2001:db8::2").unwrap();
        assert!(admit("192.0.2.2").is_none());
        drop((other, same_network, second));
        assert!(connections.lock().clients.is_empty());
        assert_eq!(connections.lock().count, 0);
    }
}
