//! How many TCP connections are open, in all and for each network, so that one network cannot have them all, and many
//! together cannot keep out who comes next.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv6Net;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;

use crate::rate_limit::PREFIX_V6;

/// Counts open connections.
pub(crate) struct Connections {
    limit: usize,
    limit_per_client: usize,
    metrics: ConnectionMetrics,
    open: Mutex<Open>,
}

/// What is counted of connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionMetrics {
    pub(crate) open: Gauge,
    pub(crate) refused: Counter,
    pub(crate) displaced: Counter,
}

#[derive(Default)]
struct Open {
    /// The first makes room: one that was never used before all others, then the one that has been idle for longest.
    connections: BTreeMap<Turn, Connection>,
    /// How many of them each network has, none of them 0.
    clients: HashMap<IpAddr, usize>,
    next_turn: u64,
}

/// Whether a connection was used, and when it was opened or used last, counted.
type Turn = (bool, u64);

struct Connection {
    client: IpAddr,
    displaced: CancellationToken,
}

/// One open connection.
pub(crate) struct Permit {
    connections: Arc<Connections>,
    turn: Turn,
    displaced: CancellationToken,
}

impl Connections {
    pub(crate) fn new(limit: usize, limit_per_client: usize, metrics: ConnectionMetrics) -> Arc<Self> {
        Arc::new(Self { limit, limit_per_client, metrics, open: Mutex::default() })
    }

    /// None when the client's network has too many. When there are too many in all, one that was never used makes room, or else
    /// the one that has been idle for longest (RFC 7766, section 6.2.3: a server may close idle connections when it needs to).
    pub(crate) fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Permit> {
        let client = network(client);
        let mut open = self.lock();
        let held = open.clients.get(&client).copied().unwrap_or(0);
        if self.limit == 0 || held >= self.limit_per_client {
            self.metrics.refused.inc();
            return None;
        }
        if open.connections.len() >= self.limit
            && let Some(turn) = open.connections.keys().next().copied()
            && let Some(idle) = open.remove(turn)
        {
            idle.displaced.cancel();
            self.metrics.displaced.inc();
        }
        let displaced = CancellationToken::new();
        *open.clients.entry(client).or_default() += 1;
        let turn = open.insert(false, Connection { client, displaced: displaced.clone() });
        self.tell(&open);
        Some(Permit { connections: self.clone(), turn, displaced })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, open: &Open) {
        self.metrics.open.set(open.connections.len() as i64);
    }
}

impl Open {
    /// Puts the connection behind all others that were used, or not used, as it was; its turn.
    fn insert(&mut self, used: bool, connection: Connection) -> Turn {
        let turn = (used, self.next_turn);
        self.next_turn += 1;
        self.connections.insert(turn, connection);
        turn
    }

    fn remove(&mut self, turn: Turn) -> Option<Connection> {
        let connection = self.connections.remove(&turn)?;
        match self.clients.get_mut(&connection.client) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(self.clients.remove(&connection.client)),
        }
        Some(connection)
    }
}

impl Permit {
    /// The connection is used: there are whole requests.
    pub(crate) fn touch(&mut self) {
        let mut open = self.connections.lock();
        if let Some(connection) = open.connections.remove(&self.turn) {
            self.turn = open.insert(true, connection);
        }
    }

    /// Cancelled when the connection has to make room for another one.
    pub(crate) fn displaced(&self) -> &CancellationToken {
        &self.displaced
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.remove(self.turn);
        self.connections.tell(&open);
    }
}

/// What a client is counted with: an IPv4 address, or the first one of an IPv6 network.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Net::new_assert(address, PREFIX_V6).network().into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(connections: &Arc<Connections>, client: &str) -> Option<Permit> {
        connections.admit(client.parse().unwrap())
    }

    #[test]
    fn a_network_has_so_many_and_gets_them_back() {
        let connections = Connections::new(100, 2, ConnectionMetrics::default());
        let first = admit(&connections, "192.0.2.1").unwrap();
        let second = admit(&connections, "::ffff:192.0.2.1").unwrap();
        assert!(admit(&connections, "192.0.2.1").is_none(), "too many of one client");
        let other = admit(&connections, "2001:db8:0:1::1").unwrap();
        let same_network = admit(&connections, "2001:db8:0:ff::1").unwrap();
        assert!(admit(&connections, "2001:db8::1").is_none(), "the same /56");
        let another = admit(&connections, "2001:db8:0:100::1").unwrap();
        drop(first);
        let again = admit(&connections, "192.0.2.1").unwrap();
        assert_eq!((connections.metrics.open.get(), connections.metrics.refused.get()), (5, 2));
        drop((second, other, same_network, another, again));
        assert!(connections.lock().clients.is_empty());
        assert!(connections.lock().connections.is_empty());
        assert_eq!((connections.metrics.open.get(), connections.metrics.displaced.get()), (0, 0));
    }

    #[test]
    fn the_one_that_is_idle_for_longest_makes_room() {
        let connections = Connections::new(3, 3, ConnectionMetrics::default());
        let client = |index: usize| format!("192.0.2.{index}");
        let mut permits: Vec<Permit> =
            (0..3).map(|index| admit(&connections, &client(index)).unwrap()).collect();
        for index in [2, 1, 0] {
            permits[index].touch();
        }
        permits[2].touch();
        permits.push(admit(&connections, &client(3)).unwrap());
        let displaced: Vec<bool> = permits.iter().map(|permit| permit.displaced().is_cancelled()).collect();
        assert_eq!(displaced, [false, true, false, false]);
        // One that is gone already takes nothing along, and cannot come back.
        permits[1].touch();
        drop(permits.remove(1));
        assert_eq!(connections.metrics.open.get(), 3);
        // Who was never asked anything goes before those who were, whoever came last.
        permits.push(admit(&connections, &client(4)).unwrap());
        let displaced: Vec<bool> = permits.iter().map(|permit| permit.displaced().is_cancelled()).collect();
        assert_eq!(displaced, [false, false, true, false]);
        assert_eq!(connections.metrics.displaced.get(), 2);
        drop(permits);
        assert!(connections.lock().clients.is_empty());
        for (limit, limit_per_client) in [(0, 3), (3, 0)] {
            let none = Connections::new(limit, limit_per_client, ConnectionMetrics::default());
            assert!(admit(&none, "192.0.2.1").is_none());
        }
    }
}
