//! Counters that cost an answering thread one uncontended addition: each has its own, and a scrape adds them up.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::registry::Registry;

use crate::connections::ConnectionMetrics;
use crate::latency::{Latency, LatencySum};
use crate::record_type::RecordType;
use crate::responder::{DropReason, Outcome, Rcode, Transport};

/// The types that are counted by name; all others count together, so that clients cannot make series.
const TYPES: [RecordType; 12] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::HTTPS,
    RecordType::SOA,
    RecordType::NS,
    RecordType::TXT,
    RecordType::MX,
    RecordType::SRV,
    RecordType::PTR,
    RecordType::DS,
    RecordType::ANY,
    RecordType::NONE,
];
const OTHER_TYPE: usize = TYPES.len();
const TYPE_COUNT: usize = TYPES.len() + 1;
const RCODES: [Rcode; 7] = [
    Rcode::NOERROR,
    Rcode::FORMERR,
    Rcode::SERVFAIL,
    Rcode::NXDOMAIN,
    Rcode::NOTIMP,
    Rcode::REFUSED,
    Rcode::BADVERS,
];
const TRANSPORTS: [&str; 2] = ["udp", "tcp"];
const DROPS: [&str; 4] = ["short", "response", "source_port", "rate_limit"];

/// What the responder counts.
#[derive(Clone, Debug, Default)]
pub struct DnsMetrics {
    shards: Arc<Shards>,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) send_errors: Counter,
    pub(crate) slipped: Counter,
}

/// The counters of one thread.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    answers: [[[AtomicU64; TYPE_COUNT]; RCODES.len()]; TRANSPORTS.len()],
    truncated: [AtomicU64; TRANSPORTS.len()],
    dropped: [[AtomicU64; DROPS.len()]; TRANSPORTS.len()],
    latencies: [Latency; TRANSPORTS.len()],
}

#[derive(Debug, Default)]
struct Shards(Mutex<Vec<Arc<Shard>>>);

struct SharedShards(Arc<Shards>);

impl DnsMetrics {
    /// Counters at zero, not registered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the counters under `dns`.
    pub fn register(&self, registry: &mut Registry) {
        let dns = registry.sub_registry_with_prefix("dns");
        let ConnectionMetrics { open, refused, displaced } = &self.connections;
        dns.register("tcp_connections", "Open TCP connections", open.clone());
        let help = "TCP connections closed at once because their network has too many";
        dns.register("tcp_connections_refused", help, refused.clone());
        let help = "TCP connections closed because there are too many and they were idle for longest";
        dns.register("tcp_connections_displaced", help, displaced.clone());
        dns.register("send_errors", "UDP replies that could not be sent", self.send_errors.clone());
        let help = "UDP requests over the rate limit that were told to come by TCP";
        dns.register("rate_limit_slipped", help, self.slipped.clone());
        dns.register_collector(Box::new(SharedShards(self.shards.clone())));
    }

    /// How many requests were answered with the code, whatever their type and transport.
    pub fn answers(&self, rcode: Rcode) -> u64 {
        let Some(code) = RCODES.iter().position(|known| *known == rcode) else { return 0 };
        let of_transport = |shard: &Shard, transport: usize| -> u64 {
            shard.answers[transport][code].iter().map(|count| count.load(Ordering::Relaxed)).sum()
        };
        self.shards.sum(|shard| (0..TRANSPORTS.len()).map(|transport| of_transport(shard, transport)).sum())
    }

    /// Counters of its own for a thread.
    pub(crate) fn shard(&self) -> Arc<Shard> {
        let shard = Arc::new(Shard::default());
        self.shards.0.lock().unwrap_or_else(PoisonError::into_inner).push(shard.clone());
        shard
    }
}

impl Shard {
    pub(crate) fn count(&self, transport: Transport, outcome: Outcome) {
        let transport_index = transport as usize;
        match outcome {
            Outcome::Replied { rcode, record_type, truncated } => {
                let rcode = RCODES.iter().position(|known| *known == rcode).unwrap_or(0);
                let known = TYPES.iter().position(|known| *known == record_type).unwrap_or(OTHER_TYPE);
                self.answers[transport_index][rcode][known].fetch_add(1, Ordering::Relaxed);
                if truncated {
                    self.truncated[transport_index].fetch_add(1, Ordering::Relaxed);
                }
            }
            Outcome::Dropped(reason) => {
                self.dropped[transport_index][reason_index(reason)].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How long answers by this transport take.
    pub(crate) fn latency(&self, transport: Transport) -> &Latency {
        &self.latencies[transport as usize]
    }

    /// How many messages had no reply for this reason.
    #[cfg(test)]
    pub(crate) fn dropped(&self, transport: Transport, reason: DropReason) -> u64 {
        self.dropped[transport as usize][reason_index(reason)].load(Ordering::Relaxed)
    }
}

impl Shards {
    fn sum(&self, value: impl Fn(&Shard) -> u64) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|shard| value(shard)).sum()
    }
}

impl SharedShards {
    fn sum(&self, counter: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.0.sum(|shard| counter(shard).load(Ordering::Relaxed))
    }

    fn latency(&self, transport: usize) -> LatencySum {
        let mut sum = LatencySum::default();
        let shards = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        shards.iter().for_each(|shard| sum.add(&shard.latencies[transport]));
        sum
    }
}

impl fmt::Debug for SharedShards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Collector for SharedShards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = MetricType::Counter;
        let mut family = encoder.encode_descriptor("answers", "Requests answered", None, counter)?;
        for (transport, label) in TRANSPORTS.iter().enumerate() {
            for (code, rcode) in RCODES.iter().enumerate() {
                for known in 0..TYPE_COUNT {
                    let count = self.sum(|shard| &shard.answers[transport][code][known]);
                    let labels = || {
                        [
                            ("transport", *label),
                            ("rcode", rcode.mnemonic().unwrap_or("other")),
                            ("type", type_label(known)),
                        ]
                    };
                    if count > 0 {
                        ConstCounter::new(count).encode(family.encode_family(&labels())?)?;
                    }
                }
            }
        }
        let help = "Replies that had to leave records out";
        let mut family = encoder.encode_descriptor("truncated", help, None, counter)?;
        for (transport, label) in TRANSPORTS.iter().enumerate() {
            let count = self.sum(|shard| &shard.truncated[transport]);
            ConstCounter::new(count).encode(family.encode_family(&[("transport", *label)])?)?;
        }
        let mut family = encoder.encode_descriptor("dropped", "Messages without a reply", None, counter)?;
        for (transport, label) in TRANSPORTS.iter().enumerate() {
            for (reason, name) in DROPS.iter().enumerate() {
                let count = self.sum(|shard| &shard.dropped[transport][reason]);
                let labels = [("transport", *label), ("reason", *name)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Seconds from a request's receipt until it and what came with it is answered; of UDP, at one receipt in 16";
        let mut family = encoder.encode_descriptor("answer_seconds", help, None, MetricType::Histogram)?;
        for (transport, label) in TRANSPORTS.iter().enumerate() {
            self.latency(transport).encode(family.encode_family(&[("transport", *label)])?)?;
        }
        Ok(())
    }
}

/// The reason's place in [`DROPS`].
fn reason_index(reason: DropReason) -> usize {
    match reason {
        DropReason::Short => 0,
        DropReason::Response => 1,
        DropReason::SourcePort => 2,
        DropReason::RateLimit => 3,
    }
}

fn type_label(index: usize) -> &'static str {
    TYPES.get(index).map_or("other", |known| known.mnemonic().unwrap_or("none"))
}
