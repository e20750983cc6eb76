//! The server: services over incoming connections, with keep-alive, limits and a graceful end.

use std::io;

use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Server, server::Connected},
};

use crate::{
    clients::Clients, config::ServerConfig, connection::Shared, metrics::Metrics, node::NodeResolver, service,
};

/// Window of a client's requests: large enough that 16 MiB of versions do not wait for round trips.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Streams of one connection: an Envoy opens one, or one for each type and each EDS cluster without ADS.
const STREAMS_PER_CONNECTION_MAX: u32 = 1024;

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The transport failed.
    #[error("xds server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// An xDS server: all discovery services, SotW and delta, aggregated and for single types.
#[derive(Clone)]
pub struct XdsServer {
    shared: Shared,
}

impl XdsServer {
    /// A server that serves each client from the store which the resolver names.
    pub fn new(resolver: impl NodeResolver, config: ServerConfig) -> Self {
        Self { shared: Shared::new(Box::new(resolver), config) }
    }

    /// The connected clients and what each of them holds.
    pub fn clients(&self) -> Clients {
        self.shared.clients().clone()
    }

    /// The metrics of this server.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics().clone()
    }

    /// Registers the metrics of this server, under the prefix `xds`.
    pub fn register(&self, registry: &mut Registry) {
        self.shared.metrics().register(registry);
    }

    /// The services, to be served together with others. [`shutdown`](Self::shutdown) ends their streams.
    pub fn routes(&self) -> Routes {
        service::routes(&self.shared)
    }

    /// Ends all streams with the status OK; streams that open later end at once.
    pub fn shutdown(&self) {
        self.shared.shutdown().cancel();
    }

    /// Serves until `shutdown`, then ends all streams with the status OK and waits for connections to close, at most
    /// [`ServerConfig::drain_timeout`].
    ///
    /// # Errors
    /// If the transport cannot be set up. Failures of single connections end only those.
    pub async fn serve<I, IO>(self, incoming: I, shutdown: CancellationToken) -> Result<(), ServeError>
    where
        I: Stream<Item = io::Result<IO>>,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let routes = self.routes();
        self.serve_routes(routes, incoming, shutdown).await
    }

    /// Like [`serve`](Self::serve), with routes that the caller made of [`routes`](Self::routes) and services of its own.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn serve_routes<I, IO>(
        self,
        routes: Routes,
        incoming: I,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError>
    where
        I: Stream<Item = io::Result<IO>>,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let config = self.shared.config();
        let mut server = Server::builder()
            .http2_keepalive_interval(Some(config.keepalive_interval))
            .http2_keepalive_timeout(Some(config.keepalive_timeout))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(2 * STREAM_WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
        if let Some(age) = config.connection_age_max {
            server = server.max_connection_age(age);
        }
        let drain_timeout = config.drain_timeout;
        let serving = server.add_routes(routes).serve_with_incoming_shutdown(incoming, shutdown.cancelled());
        // Streams are told here and not in the future above: a transport that stops when `incoming` ends drops that one.
        let draining = async {
            shutdown.cancelled().await;
            self.shutdown();
            tokio::time::sleep(drain_timeout).await;
        };
        tokio::select! {
            served = serving => Ok(served?),
            () = draining => {
                tracing::warn!("connections left open after the drain timeout");
                Ok(())
            }
        }
    }
}
