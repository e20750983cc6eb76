//! Binds all sockets of all addresses, and serves them until it is told to stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::Connections;
use crate::metrics::DnsMetrics;
use crate::query_log::QueryLog;
use crate::rate_limit::{Limiter, RateLimit};
use crate::responder::Responder;
use crate::{socket, tcp, udp};

/// Most UDP sockets per address. More than processors only cost memory.
const UDP_SOCKETS_MAX: usize = 64;
/// UDP sockets per address unless told otherwise; one each keeps so many processors busy with nothing but DNS.
const UDP_SOCKETS_DEFAULT_MAX: usize = 8;
/// How often another port is tried when any may be taken and the one that is free for TCP is not for UDP.
const ANY_PORT_ATTEMPTS: usize = 16;
/// How long open TCP connections may take to get their last replies.
const DRAIN: Duration = Duration::from_secs(2);

/// The server's limits.
#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// UDP sockets, and threads, per address; at least one and at most 64 are taken. By default one per processor, up
    /// to 8.
    pub udp_sockets: usize,
    /// Most TCP connections at one time, over all addresses: for one more, the one that has been idle for longest is closed.
    /// By default 512.
    pub tcp_connections_max: usize,
    /// Most TCP connections at one time of one client: an IPv4 address or an IPv6 /56. By default 64, since whole
    /// nodes may stand behind one address.
    pub tcp_connections_per_client_max: usize,
    /// How long a TCP client may take for its next whole request, and to take its replies. By default 10 s
    /// (RFC 7766, section 6.2.3, asks for the order of seconds).
    pub tcp_idle_timeout: Duration,
    /// How often one network is answered over UDP. None: as often as it asks.
    pub rate_limit: Option<RateLimit>,
    /// Share of the queries that are logged, from 0 (none, the default) to 1 (all): events of the target
    /// [`QUERY_LOG_TARGET`](crate::QUERY_LOG_TARGET), with the clients' addresses.
    pub query_log_rate: f64,
}

/// Bound sockets, not served yet.
pub struct DnsServer {
    config: DnsConfig,
    udp: udp::Service,
    metrics: DnsMetrics,
    addresses: Vec<SocketAddr>,
    listeners: Vec<TcpListener>,
    workers: Vec<udp::Worker>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for DNS on {address} ({transport}): {error}{hint}", hint = self.hint())]
pub struct BindError {
    /// The address as it was asked for.
    pub address: SocketAddr,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// What the operating system says.
    pub error: io::Error,
}

impl Default for DnsConfig {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            udp_sockets: processors.min(UDP_SOCKETS_DEFAULT_MAX),
            tcp_connections_max: 512,
            tcp_connections_per_client_max: 64,
            tcp_idle_timeout: Duration::from_secs(10),
            rate_limit: Some(RateLimit::default()),
            query_log_rate: 0.0,
        }
    }
}

impl DnsServer {
    /// Binds UDP and TCP on each address. From here on requests wait in the sockets.
    ///
    /// Port 0 takes any port that is free for both. `[::]` takes IPv4 as well, unless an IPv4 address with the same
    /// port is given too.
    pub fn bind(
        addresses: &[SocketAddr],
        config: DnsConfig,
        responder: Responder,
        metrics: DnsMetrics,
    ) -> Result<Self, BindError> {
        let udp = udp::Service {
            responder,
            limiter: config.rate_limit.as_ref().map(|limit| Arc::new(Limiter::new(limit))),
            query_log_rate: config.query_log_rate,
            send_errors: metrics.send_errors.clone(),
            slipped: metrics.slipped.clone(),
        };
        let mut server = Self { config, udp, metrics, addresses: vec![], listeners: vec![], workers: vec![] };
        for address in addresses {
            let shares_port = addresses
                .iter()
                .any(|other| other.is_ipv4() && other.port() == address.port() && other.port() != 0);
            server.bind_address(*address, shares_port)?;
        }
        Ok(server)
    }

    /// The addresses that are listened on, in the order in which they were given.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers until the token is cancelled; then what has arrived is answered, and all sockets are closed.
    ///
    /// An error is one of the operating system at the start: no thread can be made, or no runtime is there.
    pub async fn run(self, shutdown: CancellationToken) -> io::Result<()> {
        // A child that is cancelled too when this future is dropped, since threads would go on. Variables are dropped in
        // the reverse order: the token is cancelled before the threads wake up to see it.
        let stop = shutdown.child_token();
        let wakers = self.workers.iter().map(udp::Worker::waker).collect::<io::Result<Vec<_>>>()?;
        let _stop_on_drop = stop.clone().drop_guard();
        let mut threads = Vec::with_capacity(self.workers.len());
        for worker in self.workers {
            let stop = stop.clone();
            let thread = std::thread::Builder::new().name("dns-udp".to_owned());
            threads.push(thread.spawn(move || worker.run(&stop))?);
        }
        let tracker = TaskTracker::new();
        let service = tcp::Service {
            responder: self.udp.responder,
            shard: self.metrics.shard(),
            connections: Connections::new(
                self.config.tcp_connections_max,
                self.config.tcp_connections_per_client_max,
                self.metrics.connections,
            ),
            log: Arc::new(QueryLog::new(self.config.query_log_rate)),
            idle_timeout: self.config.tcp_idle_timeout,
            stop: stop.clone(),
            tracker: tracker.clone(),
        };
        for listener in self.listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tracker.spawn(tcp::serve(listener, service.clone()));
        }
        stop.cancelled().await;
        drop(wakers);
        tracker.close();
        if timeout(DRAIN, tracker.wait()).await.is_err() {
            tracing::debug!(connections = tracker.len(), "DNS connections are cut off");
        }
        let joined =
            tokio::task::spawn_blocking(|| threads.into_iter().try_for_each(std::thread::JoinHandle::join));
        match joined.await {
            Ok(Ok(())) => Ok(()),
            _ => Err(io::Error::other("a thread that answers DNS ended by a panic")),
        }
    }

    fn bind_address(&mut self, address: SocketAddr, v6_only: bool) -> Result<(), BindError> {
        let attempts = if address.port() == 0 { ANY_PORT_ATTEMPTS } else { 1 };
        let mut outcome = self.try_bind_address(address, v6_only);
        for _ in 1..attempts {
            match &outcome {
                Err(BindError { error, .. }) if error.kind() == io::ErrorKind::AddrInUse => {
                    outcome = self.try_bind_address(address, v6_only);
                }
                _ => break,
            }
        }
        outcome
    }

    /// TCP first: its port is not shared, so that a second server on the port fails instead of taking half the clients.
    fn try_bind_address(&mut self, address: SocketAddr, v6_only: bool) -> Result<(), BindError> {
        let failed = |transport| move |error| BindError { address, transport, error };
        let listener = socket::tcp(address, v6_only).map_err(failed("tcp"))?;
        let bound = listener.local_addr().map_err(failed("tcp"))?;
        let sockets = (0..self.config.udp_sockets.clamp(1, UDP_SOCKETS_MAX))
            .map(|_| socket::udp(bound, v6_only))
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed("udp"))?;
        let worker = |socket| udp::Worker::new(socket, bound, self.udp.clone(), &self.metrics);
        self.workers.extend(sockets.into_iter().map(worker));
        self.listeners.push(listener);
        self.addresses.push(bound);
        Ok(())
    }
}

impl BindError {
    fn hint(&self) -> &'static str {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => "; another process holds the port: stop it, or choose another",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => "; the address is none of this host's",
            _ if self.error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
                "; this host has no IPv6: listen on 0.0.0.0"
            }
            _ => "",
        }
    }
}
