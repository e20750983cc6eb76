//! The TLS handshakes in progress: few at a time, and none that strangers can keep for themselves.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use tokio::task::AbortHandle;

/// Handshakes at a time. One takes a gateway milliseconds.
pub(super) const HANDSHAKES_MAX: usize = 64;

/// Handshakes in progress, oldest first. There is room for one more always: when there are too many, the source with the
/// most loses its oldest. Who floods displaces himself, and many who do so have to be faster than a gateway's handshake.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    running: VecDeque<(Source, AbortHandle)>,
}

/// Whose connections share one another's fate: an IPv4 address, or an IPv6 network of the size that one host is given
/// (RFC 4291, section 2.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Source(IpAddr);

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            address => Self(address),
        }
    }
}

impl Handshakes {
    /// Notes a new one, and ends another for it if there are too many.
    pub(super) fn add(&mut self, peer: IpAddr, handshake: AbortHandle) {
        self.running.retain(|(_, running)| !running.is_finished());
        if self.running.len() >= HANDSHAKES_MAX
            && let Some((_, displaced)) = self.displaced().and_then(|index| self.running.remove(index))
        {
            displaced.abort();
        }
        self.running.push_back((Source::of(peer), handshake));
    }

    /// The oldest of the source with the most; of several such sources, the oldest of all.
    fn displaced(&self) -> Option<usize> {
        let mut shares: BTreeMap<Source, usize> = BTreeMap::new();
        for (source, _) in &self.running {
            *shares.entry(*source).or_default() += 1;
        }
        let most = shares.values().copied().max()?;
        self.running.iter().position(|(source, _)| shares.get(source) == Some(&most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake() -> AbortHandle {
        tokio::spawn(std::future::pending::<()>()).abort_handle()
    }

    async fn is_ended(handshake: &AbortHandle) -> bool {
        tokio::task::yield_now().await;
        handshake.is_finished()
    }

    #[tokio::test]
    async fn who_has_the_most_loses_the_oldest() {
        let mut handshakes = Handshakes::default();
        let gateway = handshake();
        handshakes.add("10.0.0.1".parse().unwrap(), gateway.clone());
        let strangers: Vec<_> = (0..HANDSHAKES_MAX).map(|_| handshake()).collect();
        for (number, stranger) in strangers.iter().enumerate() {
            // One host may have as many addresses as it likes of its network.
            handshakes.add(format!("2001:db8::{number:x}").parse().unwrap(), stranger.clone());
        }
        assert!(!is_ended(&gateway).await, "older than all of the stranger's");
        assert!(is_ended(&strangers[0]).await);
        assert!(!is_ended(&strangers[1]).await);
        assert_eq!(handshakes.running.len(), HANDSHAKES_MAX);
    }

    #[tokio::test]
    async fn what_has_ended_takes_no_room() {
        let mut handshakes = Handshakes::default();
        for _ in 0..HANDSHAKES_MAX {
            let done = tokio::spawn(async {});
            handshakes.add("10.0.0.1".parse().unwrap(), done.abort_handle());
            done.await.unwrap();
        }
        handshakes.add("10.0.0.1".parse().unwrap(), handshake());
        assert_eq!(handshakes.running.len(), 1);
    }

    #[test]
    fn addresses_of_one_host_are_one_source() {
        let of = |address: &str| Source::of(address.parse().unwrap());
        assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
