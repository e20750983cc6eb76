//! How often one network is answered over UDP: a server that answers everybody at any rate can be made to flood whoever's
//! address is forged.
//!
//! A bucket for each /24 and /56, kept as the time at which it would be full again (the generic cell rate algorithm): one
//! word, read and written without a lock. The table has a fixed size. Two networks that meet in a slot take it from each
//! other and are both answered more often; which networks meet is nobody's to choose, since the hash is keyed.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::time::Instant;

use crate::responder::AMPLIFICATION_MAX;

/// Networks that are counted at one time, eight octets each.
const SLOTS: usize = 1 << 16;
/// Bits of a slot's time, in microseconds since the start; they come round after 203 days. The rest tells networks apart.
const TIME_BITS: u32 = 44;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
/// The network that a client is counted with: what one customer usually has.
const PREFIX_V4: u8 = 24;
pub(crate) const PREFIX_V6: u8 = 56;
const MICROSECONDS: u64 = 1_000_000;
/// How far the clock readings of two threads may be apart, in microseconds: each reads it once for a batch.
const SKEW: u64 = 60 * MICROSECONDS;
/// Longest list of networks that are not limited: it is walked for each answer.
const EXEMPT_MAX: usize = 256;

/// How often one network (/24 or /56) is answered over UDP, and at what length: of more than twice the request, an answer says
/// only that it can be had by TCP. A negative answer is sent all the same, for its SOA (RFC 2308), and counts as several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Answers per second, on average. At least 1 and at most 1,000,000 are taken.
    pub answers_per_second: u32,
    /// Seconds' worth of answers that may come at once. At least 1 and at most 3600 are taken.
    pub burst_seconds: u32,
    /// Of the requests over the limit, one in so many is answered with TC, so that an honest client comes by TCP; the
    /// rest is dropped. 1 drops nothing, 0 everything.
    pub slip: u32,
    /// Networks that are not limited; the first 256 are taken.
    pub exempt: Vec<IpNet>,
}

/// What to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    /// The same as [`Verdict::Slip`], since the answer is longer than its sender may have it without proof of its address.
    Truncate,
    /// Send that it is incomplete, and nothing else.
    Slip,
    Drop,
}

/// The buckets of all networks, shared by all threads.
pub(crate) struct Limiter {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    start: Instant,
    /// Microseconds that one answer costs, and that may be spent ahead.
    cost: u64,
    burst: u64,
    slip: u64,
    limited: AtomicU64,
    exempt: Vec<IpNet>,
}

impl Default for RateLimit {
    /// 1000 a second with bursts of 5 s, every second one over it slipped; loopback, link-local and private networks
    /// (RFC 1918, RFC 4193, RFC 6598), where clusters have their addresses, are not limited.
    fn default() -> Self {
        let v4 = |a, b, prefix| Ipv4Net::new_assert([a, b, 0, 0].into(), prefix).into();
        let v6 = |first, prefix| Ipv6Net::new_assert([first, 0, 0, 0, 0, 0, 0, 0].into(), prefix).into();
        let loopback_v6 = Ipv6Net::new_assert([0, 0, 0, 0, 0, 0, 0, 1].into(), 128).into();
        Self {
            answers_per_second: 1000,
            burst_seconds: 5,
            slip: 2,
            exempt: vec![
                v4(127, 0, 8),
                v4(10, 0, 8),
                v4(172, 16, 12),
                v4(192, 168, 16),
                v4(169, 254, 16),
                v4(100, 64, 10),
                loopback_v6,
                v6(0xfc00, 7),
                v6(0xfe80, 10),
            ],
        }
    }
}

impl Limiter {
    pub(crate) fn new(config: &RateLimit) -> Self {
        let cost = MICROSECONDS / u64::from(config.answers_per_second.clamp(1, 1_000_000));
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            start: Instant::now(),
            cost,
            burst: MICROSECONDS * u64::from(config.burst_seconds.clamp(1, 3600)),
            slip: config.slip.into(),
            limited: AtomicU64::new(0),
            exempt: config.exempt.iter().take(EXEMPT_MAX).copied().collect(),
        }
    }

    /// Counts one reply to a client. `records`: it has an answer section, which can be had by TCP.
    pub(crate) fn check(
        &self,
        client: IpAddr,
        request: usize,
        reply: usize,
        records: bool,
        now: Instant,
    ) -> Verdict {
        let client = client.to_canonical();
        if self.exempt.iter().any(|network| network.contains(&client)) {
            return Verdict::Send;
        }
        let modest = (AMPLIFICATION_MAX * request).max(1);
        let (verdict, times) = match reply.div_ceil(modest) {
            2.. if records => (Verdict::Truncate, 1),
            times => (Verdict::Send, times.max(1)),
        };
        if self.spend(prefix(client), self.cost * times as u64, now) {
            return verdict;
        }
        let limited = self.limited.fetch_add(1, Ordering::Relaxed);
        // Without a slip everything goes.
        match limited.checked_rem(self.slip) {
            Some(0) => Verdict::Slip,
            _ => Verdict::Drop,
        }
    }

    /// Whether the network has so much left. Two threads that meet here may let one answer more pass.
    fn spend(&self, network: u64, cost: u64, now: Instant) -> bool {
        let hash = self.hasher.hash_one(network);
        let slot = &self.slots[hash as usize % SLOTS];
        // The lowest bit keeps an empty slot, whose mark is 0, from being anybody's.
        let mark = (hash | 1 << TIME_BITS) & !TIME_MASK;
        let now = now.saturating_duration_since(self.start).as_micros() as u64 & TIME_MASK;
        let held = slot.load(Ordering::Relaxed);
        let ahead = held.wrapping_sub(now) & TIME_MASK;
        // A time in the past reads as one farther ahead than any that is stored, by this thread or one whose clock is ahead.
        let ahead = if held & !TIME_MASK == mark && ahead <= self.burst + SKEW { ahead } else { 0 };
        if ahead + cost > self.burst.max(cost) {
            return false;
        }
        // One answer that costs more than a burst takes all of it.
        let ahead = (ahead + cost).min(self.burst);
        slot.store(mark | (now + ahead) & TIME_MASK, Ordering::Relaxed);
        true
    }
}

/// The client's network, different for each of either family.
fn prefix(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(address) => u64::from(address.to_bits() >> (32 - u32::from(PREFIX_V4))),
        // The low bit of what is left free tells the families apart.
        IpAddr::V6(address) => {
            (address.to_bits() >> 64) as u64 & !(u64::MAX >> PREFIX_V6) | 1 << 63 >> PREFIX_V6
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const REQUEST: usize = 50;

    fn limiter(slip: u32) -> Limiter {
        Limiter::new(&RateLimit { answers_per_second: 10, burst_seconds: 2, slip, ..RateLimit::default() })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of so many requests at one time are answered in full.
    fn sent(limiter: &Limiter, client: &str, count: usize, reply: usize, now: Instant) -> usize {
        let verdicts = (0..count).map(|_| limiter.check(address(client), REQUEST, reply, false, now));
        verdicts.filter(|verdict| *verdict == Verdict::Send).count()
    }

    #[test]
    fn a_network_gets_its_burst_and_then_its_rate() {
        let limiter = limiter(2);
        let start = limiter.start;
        assert_eq!(sent(&limiter, "198.51.100.1", 100, 60, start), 20);
        assert_eq!(sent(&limiter, "198.51.100.200", 100, 60, start), 0, "the same /24");
        assert_eq!(sent(&limiter, "198.51.101.1", 100, 60, start), 20, "another /24");
        assert_eq!(sent(&limiter, "198.51.100.1", 100, 60, start + Duration::from_secs(1)), 10);
        assert_eq!(sent(&limiter, "198.51.100.1", 100, 60, start + Duration::from_secs(60)), 20);
        assert_eq!(sent(&limiter, "2001:db8:0:1::1", 100, 60, start), 20);
        assert_eq!(sent(&limiter, "2001:db8:0:ff::2", 100, 60, start), 0, "the same /56");
        assert_eq!(sent(&limiter, "2001:db8:0:100::1", 100, 60, start), 20, "another /56");
        assert_eq!(sent(&limiter, "::ffff:198.51.102.1", 100, 60, start), 20);
        assert_eq!(sent(&limiter, "198.51.102.9", 100, 60, start), 0, "IPv4 over a socket of IPv6");
    }

    #[test]
    fn longer_answers_cost_more() {
        let limiter = limiter(2);
        assert_eq!(sent(&limiter, "198.51.100.1", 100, 100, limiter.start), 20, "twice the request");
        assert_eq!(sent(&limiter, "198.51.101.1", 100, 101, limiter.start), 10);
        assert_eq!(sent(&limiter, "198.51.102.1", 100, 1232, limiter.start), 1);
        // Even one that costs more than there ever is comes at times.
        let later = limiter.start + Duration::from_secs(100);
        assert_eq!(sent(&limiter, "198.51.102.1", 100, 100_000, later), 1);
    }

    #[test]
    fn records_that_are_longer_than_twice_the_request_are_to_be_had_by_tcp() {
        let limiter = limiter(2);
        let check = |client: &str, reply| limiter.check(address(client), REQUEST, reply, true, limiter.start);
        assert_eq!(check("198.51.100.1", 100), Verdict::Send);
        assert_eq!(check("198.51.100.1", 101), Verdict::Truncate);
        assert_eq!(check("10.0.0.1", 1232), Verdict::Send, "not limited");
        // What is sent is short, and counts as one.
        let sent = (0..100).filter(|_| check("198.51.101.1", 1232) == Verdict::Truncate).count();
        assert_eq!(sent, 20);
    }

    #[test]
    fn one_in_so_many_slips() {
        for (slip, slipped) in [(0, 0), (1, 60), (2, 30), (3, 20)] {
            let limiter = limiter(slip);
            let check = || limiter.check(address("198.51.100.1"), REQUEST, 60, true, limiter.start);
            let verdicts: Vec<_> =
                (0..80).map(|_| check()).filter(|verdict| *verdict != Verdict::Send).collect();
            assert_eq!(verdicts.len(), 60);
            assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Slip).count(), slipped);
        }
    }

    #[test]
    fn clusters_and_loopback_are_not_limited_by_default() {
        let limiter = limiter(2);
        for client in
            ["127.0.0.1", "10.244.3.4", "172.31.0.1", "192.168.1.1", "100.100.0.1", "::1", "fd00::1"]
        {
            assert_eq!(sent(&limiter, client, 100, 60, limiter.start), 100, "{client}");
        }
        assert_eq!(sent(&limiter, "::ffff:10.0.0.1", 100, 60, limiter.start), 100);
        assert_eq!(sent(&limiter, "172.32.0.1", 100, 60, limiter.start), 20);
    }

    #[test]
    fn a_network_that_was_quiet_has_its_burst_again_however_long_it_was() {
        let limiter = limiter(2);
        for days in [0, 1, 100, 102, 110, 200, 203, 204, 310, 500] {
            let now = limiter.start + Duration::from_secs(days * 86_400);
            assert_eq!(sent(&limiter, "198.51.100.1", 100, 60, now), 20, "after {days} days");
        }
    }

    #[test]
    fn threads_whose_clocks_differ_share_one_bucket() {
        let limiter = limiter(2);
        let late = limiter.start + Duration::from_secs(100);
        assert_eq!(sent(&limiter, "198.51.100.1", 100, 60, late), 20);
        for earlier in [Duration::from_micros(10), Duration::from_secs(1)] {
            assert_eq!(sent(&limiter, "198.51.100.1", 100, 60, late - earlier), 0, "{earlier:?}");
        }
        assert_eq!(sent(&limiter, "198.51.100.1", 100, 60, late), 0);
    }

    #[test]
    fn the_clock_may_come_round() {
        let limiter = limiter(2);
        let round = Duration::from_micros(TIME_MASK - 500_000);
        assert_eq!(sent(&limiter, "198.51.100.1", 100, 60, limiter.start + round), 20);
        assert_eq!(
            sent(&limiter, "198.51.100.1", 100, 60, limiter.start + round + Duration::from_secs(1)),
            10
        );
        assert_eq!(
            sent(&limiter, "198.51.100.1", 100, 60, limiter.start + round + Duration::from_secs(9)),
            20
        );
    }
}
