//! Limits and times of the server.

use std::time::Duration;

/// Limits and times of an [`XdsServer`](crate::XdsServer). `Default` suits Envoys near by.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How many streams are open at once; further ones end with `UNAVAILABLE`, so that the client tries another server.
    pub streams_max: usize,
    /// How many resource names one stream may subscribe to, over all its types.
    pub names_per_stream_max: usize,
    /// The largest request in bytes. A reconnecting client sends the version of everything it holds: some 70 bytes
    /// for each name. tonic's own default of 4 MiB is too small for that.
    pub request_bytes_max: usize,
    /// Where a delta response is split into several. One larger resource still is sent alone.
    pub response_bytes_max: usize,
    /// How often an idle connection is probed (HTTP/2 PING).
    pub keepalive_interval: Duration,
    /// How long a probe may stay unanswered before the connection is closed.
    pub keepalive_timeout: Duration,
    /// How long resources wait for the client's answer to those that they refer to (a Listener for its Clusters).
    pub gate_timeout: Duration,
    /// How long a client has to answer a response before it is sent a newer one of the type all the same. The next one waits
    /// twice as long, and so on up to 64 times; only what is new is sent.
    ///
    /// Envoy answers Clusters when all of them are warm, which takes up to 15 s if endpoints are missing, and never happens
    /// for a Cluster whose load balancer it cannot make; a newer response mends that. A slow client loses nothing by it.
    pub answer_timeout: Duration,
    /// How long connections have to end after shutdown.
    pub drain_timeout: Duration,
    /// When connections are closed gracefully to spread clients over servers; `None`: never.
    pub connection_age_max: Option<Duration>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            streams_max: 10_000,
            names_per_stream_max: 500_000,
            request_bytes_max: 16 << 20,
            response_bytes_max: 3 << 20,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            gate_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
            connection_age_max: None,
        }
    }
}
