//! What a gateway's listeners and clusters are made with, beside the table.

use std::net::IpAddr;
use std::time::Duration;

use xcc_model::ServicePort;

/// The settings of a gateway. There is no default: the caller decides at least where Envoy binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// The address that Envoy's listeners bind.
    pub bind: IpAddr,
    /// Added to a service port for the port that Envoy binds.
    pub port_offset: u16,
    /// How long one attempt to connect to a node may take.
    pub connect_timeout: Duration,
    /// How many nodes are tried for one client connection, at least 1.
    pub max_connect_attempts: u32,
    /// After how long without a byte in either direction a connection is closed.
    pub idle_timeout: Duration,
    /// How much Envoy buffers for each direction of a connection before it stops reading (a soft limit).
    pub buffer_limit_bytes: u32,
    /// Which connections Envoy logs to its standard output.
    pub access_log: AccessLog,
}

/// Which connections Envoy logs, one line of JSON each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// None: the cheapest.
    Off,
    /// Those that reached no node or that Envoy itself ended: a line is written when something is wrong, and a gateway
    /// that works pays nothing.
    Failures,
    /// All that were routed.
    All,
}

impl GatewayConfig {
    /// A node of a remote answers within a network round trip or is gone; the next one is tried then.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// The first try, and two other nodes.
    pub const MAX_CONNECT_ATTEMPTS: u32 = 3;
    /// Envoy's own default, made visible. Long enough for pooled connections, short enough to clean up after clients
    /// that vanished.
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
    /// Large enough that bulk data costs few system calls: with Envoy's advice for edges, 32 KiB, a gigabyte costs up to
    /// twice the CPU, from 128 KiB on it costs the same. Twice that keeps clear of the edge. What many stalled connections
    /// may hold is bounded by the overload manager of the bootstrap.
    pub const BUFFER_LIMIT_BYTES: u32 = 256 * 1024;

    /// The settings that suit a gateway, bound there.
    pub fn new(bind: IpAddr, port_offset: u16) -> Self {
        Self {
            bind,
            port_offset,
            connect_timeout: Self::CONNECT_TIMEOUT,
            max_connect_attempts: Self::MAX_CONNECT_ATTEMPTS,
            idle_timeout: Self::IDLE_TIMEOUT,
            buffer_limit_bytes: Self::BUFFER_LIMIT_BYTES,
            access_log: AccessLog::Failures,
        }
    }

    /// The port that Envoy binds for a service port; none if the offset leads beyond the last port.
    pub fn listener_port(&self, port: ServicePort) -> Option<u16> {
        port.get().checked_add(self.port_offset)
    }
}
