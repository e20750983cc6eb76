//! A sample of the queries, for people who ask who asks what.
//!
//! Events of the target [`TARGET`] with the client's address: personal data in many places, and so off by default.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::request::Request;
use crate::responder::{Outcome, Transport};

/// The target of the log's events, for filters.
pub const TARGET: &str = "xcc_dns::queries";

/// Counts requests and logs one in so many. Each thread has its own, and all TCP connections together.
#[derive(Debug)]
pub(crate) struct QueryLog {
    /// 0 logs nothing.
    every: u64,
    seen: AtomicU64,
}

impl QueryLog {
    /// A log of this share of all queries, from 0 to 1.
    pub(crate) fn new(rate: f64) -> Self {
        let every = if rate > 0.0 { (1.0 / rate.min(1.0)).round() as u64 } else { 0 };
        Self { every, seen: AtomicU64::new(0) }
    }

    pub(crate) fn note(&self, client: SocketAddr, transport: Transport, request: &[u8], outcome: Outcome) {
        if self.is_due() {
            log(client, transport, request, outcome);
        }
    }

    /// Whether this request is one of the sample.
    fn is_due(&self) -> bool {
        self.every > 0 && self.seen.fetch_add(1, Ordering::Relaxed) % self.every == self.every - 1
    }
}

/// Names come in escaped form, so that a client writes nothing but letters into the log.
#[cold]
fn log(client: SocketAddr, transport: Transport, request: &[u8], outcome: Outcome) {
    let Outcome::Replied { rcode, record_type, truncated } = outcome else { return };
    let question = Request::read(request).ok().and_then(|request| request.question);
    let name = question.map_or_else(|| "-".to_owned(), |question| question.name.to_string());
    tracing::info!(
        target: TARGET,
        %client, transport = transport.name(), %name, r#type = %record_type, %rcode, truncated,
        octets = request.len(), "query",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept() {
        for (rate, want) in
            [(0.0, 0), (-1.0, 0), (f64::NAN, 0), (1.0, 1000), (7.0, 1000), (0.1, 100), (0.01, 10)]
        {
            let log = QueryLog::new(rate);
            assert_eq!((0..1000).filter(|_| log.is_due()).count(), want, "{rate}");
        }
    }
}
