//! UDP: threads that receive and answer in batches.
//!
//! Threads of their own rather than tasks: a batch costs one system call to receive and none to wait, and answers do not
//! queue behind whatever else the runtime does.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batch::{Datagram, Inbox, Outbox};
use crate::metrics::{DnsMetrics, Shard};
use crate::query_log::QueryLog;
use crate::rate_limit::{Limiter, Verdict};
use crate::responder::{DropReason, Outcome, Responder, Transport, has_records, respond, truncate};
use crate::socket::wake;
use crate::zone::Zones;

/// Pause after an error of the socket, so that a lasting one does not take a processor.
const ERROR_PAUSE: Duration = Duration::from_millis(20);
/// Batches that are still answered after the stop.
const DRAIN_BATCHES_MAX: usize = 1024;
/// One batch in so many is timed.
const LATENCY_SAMPLE: u64 = 16;
/// Ports that no client sends from: none, and services that answer whatever they get (echo, daytime, quotd, chargen).
const SOURCE_PORTS_DENIED: [u16; 5] = [0, 7, 13, 17, 19];

/// One socket and the thread that serves it.
pub(crate) struct Worker {
    socket: UdpSocket,
    address: SocketAddr,
    service: Service,
    shard: Arc<Shard>,
}

/// What all workers share.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) responder: Responder,
    pub(crate) limiter: Option<Arc<Limiter>>,
    pub(crate) query_log_rate: f64,
    pub(crate) send_errors: Counter,
    pub(crate) slipped: Counter,
}

/// What answering a batch needs besides the batch.
struct Desk<'a> {
    worker: &'a Worker,
    outbox: Outbox,
    log: QueryLog,
    batches: u64,
}

/// Wakes a worker when it is dropped.
pub(crate) struct Waker(UdpSocket);

impl Drop for Waker {
    fn drop(&mut self) {
        wake(&self.0);
    }
}

impl Worker {
    /// For a socket that is bound to this address.
    pub(crate) fn new(
        socket: UdpSocket,
        address: SocketAddr,
        service: Service,
        metrics: &DnsMetrics,
    ) -> Self {
        Self { socket, address, service, shard: metrics.shard() }
    }

    /// What ends the waiting of [`Worker::run`] once the stop is there.
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        Ok(Waker(self.socket.try_clone()?))
    }

    /// Answers until the stop, and then what waits already. A panic costs its batch, not the thread.
    pub(crate) fn run(&self, stop: &CancellationToken) {
        while catch_unwind(AssertUnwindSafe(|| self.serve(stop))).is_err() {
            tracing::error!("answering a DNS request panicked; going on with the next ones");
        }
    }

    fn serve(&self, stop: &CancellationToken) {
        let mut inbox = Inbox::new(self.address.ip().is_unspecified());
        let log = QueryLog::new(self.service.query_log_rate);
        let mut desk = Desk { worker: self, outbox: Outbox::new(&self.address), log, batches: 0 };
        while !stop.is_cancelled() {
            match desk.answer_batch(&mut inbox, MsgFlags::MSG_WAITFORONE) {
                Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot receive DNS requests");
                    std::thread::sleep(ERROR_PAUSE);
                }
            }
        }
        // The message that ended the waiting has no sender, and its empty header would be taken over.
        inbox = Inbox::new(self.address.ip().is_unspecified());
        for _ in 0..DRAIN_BATCHES_MAX {
            if desk.answer_batch(&mut inbox, MsgFlags::MSG_DONTWAIT).is_err() {
                break;
            }
        }
    }
}

impl Desk<'_> {
    fn answer_batch(&mut self, inbox: &mut Inbox, flags: MsgFlags) -> Result<(), Errno> {
        let worker = self.worker;
        // One reading of the table and of the clock for all; none of either before there is something to answer.
        let mut common = None;
        inbox.receive(&worker.socket, flags, |datagram| {
            let (zones, now) =
                common.get_or_insert_with(|| (worker.service.responder.peek(), Instant::now()));
            self.answer(&datagram, zones.as_deref(), *now);
        })?;
        let answers = self.outbox.len() as u64;
        let failed = self.outbox.send(&worker.socket);
        if failed > 0 {
            worker.service.send_errors.inc_by(failed);
        }
        self.batches += 1;
        if let (Some((_, received)), 0) = (common, self.batches % LATENCY_SAMPLE) {
            worker.shard.latency(Transport::Udp).observe(received.elapsed(), answers);
        }
        Ok(())
    }

    fn answer(&mut self, datagram: &Datagram<'_>, zones: Option<&Zones>, now: Instant) {
        let shard = &self.worker.shard;
        if SOURCE_PORTS_DENIED.contains(&datagram.client.port()) {
            return shard.count(Transport::Udp, Outcome::Dropped(DropReason::SourcePort));
        }
        let reply = self.outbox.next();
        let outcome = respond(zones, Transport::Udp, datagram.octets, reply);
        let outcome = limit(&self.worker.service, datagram, reply, outcome, now);
        shard.count(Transport::Udp, outcome);
        self.log.note(datagram.client, Transport::Udp, datagram.octets, outcome);
        if let Outcome::Replied { .. } = outcome {
            self.outbox.push(datagram.route);
        }
    }
}

/// What becomes of the reply when its network has had too many.
fn limit(
    service: &Service,
    datagram: &Datagram<'_>,
    reply: &mut Vec<u8>,
    outcome: Outcome,
    now: Instant,
) -> Outcome {
    let (Some(limiter), Outcome::Replied { rcode, record_type, .. }) = (&service.limiter, outcome) else {
        return outcome;
    };
    let (client, request) = (datagram.client.ip(), datagram.octets.len());
    let verdict = limiter.check(client, request, reply.len(), has_records(reply), now);
    match verdict {
        Verdict::Send => return outcome,
        Verdict::Drop => return Outcome::Dropped(DropReason::RateLimit),
        Verdict::Slip => {
            service.slipped.inc();
        }
        Verdict::Truncate => {}
    }
    truncate(datagram.octets, rcode, reply);
    Outcome::Replied { rcode, record_type, truncated: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Route;

    /// A for `a.`; without zones the reply is SERVFAIL.
    const REQUEST: &[u8] = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

    /// How many replies wait to be sent after a request from this client, and how many were dropped for its port.
    fn replies(client: &str) -> (usize, u64) {
        let (metrics, responder) = (DnsMetrics::new(), Responder::new());
        let service = Service {
            responder,
            limiter: None,
            query_log_rate: 0.0,
            send_errors: Counter::default(),
            slipped: Counter::default(),
        };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let worker = Worker::new(socket, address, service, &metrics);
        let (outbox, log) = (Outbox::new(&address), QueryLog::new(0.0));
        let mut desk = Desk { worker: &worker, outbox, log, batches: 0 };
        let client: SocketAddr = client.parse().unwrap();
        desk.answer(&Datagram { client, octets: REQUEST, route: Route::to(client) }, None, Instant::now());
        (desk.outbox.len(), worker.shard.dropped(Transport::Udp, DropReason::SourcePort))
    }

    /// The ports are privileged, so that no socket of a test can have them without root.
    #[test]
    fn ports_that_would_answer_the_answer_get_none() {
        for host in ["192.0.2.1", "[2001:db8::1]"] {
            for port in [0, 7, 13, 17, 19] {
                assert_eq!(replies(&format!("{host}:{port}")), (0, 1), "{host}, port {port}");
            }
            for port in [1, 53, 123, 1024, 65535] {
                assert_eq!(replies(&format!("{host}:{port}")), (1, 0), "{host}, port {port}");
            }
        }
    }
}
