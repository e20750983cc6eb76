//! The TLS handshakes in progress: few at a time, and none that strangers can keep for themselves.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// Handshakes at a time. One takes a gateway milliseconds.
pub(super) const HANDSHAKES_MAX: usize = 64;

/// Handshakes that one source may have before its oldest is taken for a stranger's.
const SHARE_MAX: usize = HANDSHAKES_MAX / 4;
/// How long a handshake is left alone otherwise: many gateways that come back together must not displace one another.
const GRACE: Duration = Duration::from_millis(250);
/// How often it is looked whether there is room, while there is none.
const PAUSE: Duration = Duration::from_millis(5);

/// Handshakes in progress, oldest first. When there are too many, the source with the most loses its oldest: at once if it
/// has more than its share, else once that has had its time. Who floods displaces himself, and many who do so have to be
/// faster than a gateway's handshake.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    running: VecDeque<Running>,
}

#[derive(Debug)]
struct Running {
    source: Source,
    since: Instant,
    handshake: AbortHandle,
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
    /// Waits until there is room for one more, and makes it.
    pub(super) async fn room(&mut self) {
        loop {
            self.running.retain(|running| !running.handshake.is_finished());
            if self.running.len() < HANDSHAKES_MAX {
                return;
            }
            if let Some(displaced) = self.displaced().and_then(|index| self.running.remove(index)) {
                displaced.handshake.abort();
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Notes a new one.
    pub(super) fn add(&mut self, peer: IpAddr, handshake: AbortHandle) {
        self.running.push_back(Running { source: Source::of(peer), since: Instant::now(), handshake });
    }

    /// The oldest of the source with the most; of several such sources, the oldest of all. None while that has to be left
    /// alone.
    fn displaced(&self) -> Option<usize> {
        let mut shares: BTreeMap<Source, usize> = BTreeMap::new();
        for running in &self.running {
            *shares.entry(running.source).or_default() += 1;
        }
        let most = shares.values().copied().max()?;
        let oldest = self.running.iter().position(|running| shares.get(&running.source) == Some(&most))?;
        let may_go = |running: &Running| most > SHARE_MAX || running.since.elapsed() >= GRACE;
        self.running.get(oldest).is_some_and(may_go).then_some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake() -> AbortHandle {
        tokio::spawn(std::future::pending::<()>()).abort_handle()
    }

    async fn add(handshakes: &mut Handshakes, peer: &str, handshake: &AbortHandle) {
        handshakes.room().await;
        handshakes.add(peer.parse().unwrap(), handshake.clone());
    }

    async fn is_ended(handshake: &AbortHandle) -> bool {
        tokio::task::yield_now().await;
        handshake.is_finished()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_the_most_loses_the_oldest_at_once() {
        let mut handshakes = Handshakes::default();
        let gateway = handshake();
        add(&mut handshakes, "10.0.0.1", &gateway).await;
        let strangers: Vec<_> = (0..HANDSHAKES_MAX).map(|_| handshake()).collect();
        let start = Instant::now();
        for (number, stranger) in strangers.iter().enumerate() {
            // One host may have as many addresses as it likes of its network.
            add(&mut handshakes, &format!("2001:db8::{number:x}"), stranger).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(!is_ended(&gateway).await, "older than all of the stranger's");
        assert!(is_ended(&strangers[0]).await);
        assert!(!is_ended(&strangers[1]).await);
        assert_eq!(handshakes.running.len(), HANDSHAKES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn many_gateways_that_come_together_do_not_displace_one_another() {
        let mut handshakes = Handshakes::default();
        // Each takes longer than it takes to accept all of them.
        let one = || tokio::spawn(sleep(GRACE / 2));
        let mut gateways = Vec::new();
        for number in 0..4 * HANDSHAKES_MAX {
            let gateway = one();
            add(&mut handshakes, &format!("10.0.{}.{}", number / 256, number % 256), &gateway.abort_handle())
                .await;
            gateways.push(gateway);
        }
        for gateway in gateways {
            gateway.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_too_long_makes_room() {
        let mut handshakes = Handshakes::default();
        let slow: Vec<_> = (0..=HANDSHAKES_MAX).map(|_| handshake()).collect();
        let start = Instant::now();
        for (number, slow) in slow.iter().enumerate() {
            add(&mut handshakes, &format!("10.0.0.{number}"), slow).await;
        }
        assert!(start.elapsed() >= GRACE);
        assert!(is_ended(&slow[0]).await);
        assert!(!is_ended(&slow[1]).await);
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
