//! The I/O around one stream: a `select!` over requests, new snapshots and shutdown.
//!
//! Nothing is queued: the next response is made when the last one was taken over by HTTP/2, so a slow client costs
//! only itself and is sent the newest state when it reads again.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::Frame;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::server::TcpConnectInfo};

use crate::{
    clients::{ClientHandle, Clients},
    config::ServerConfig,
    metrics::{Metrics, OpenStream},
    node::{NodeInfo, NodeResolver, Peer},
    patience::Patience,
    requests::Requests,
    response::Variant,
    store::SnapshotStore,
    stream::{AdsStream, Request, StreamLimits},
    subscription::{Acknowledged, Waiting},
    type_url::TypeUrl,
};

/// How many requests that have arrived already are applied before the next response is made.
const REQUESTS_AT_ONCE_MAX: usize = 64;

/// How long a client that reconnects has to name all types that it wants; clients send these requests together.
const OPENING_TIMEOUT: Duration = Duration::from_millis(200);

/// What all streams of a server share.
#[derive(Clone)]
pub(crate) struct Shared {
    inner: Arc<SharedInner>,
}

struct SharedInner {
    resolver: Box<dyn NodeResolver>,
    config: ServerConfig,
    clients: Clients,
    metrics: Metrics,
    streams: Arc<Semaphore>,
    next_id: AtomicU64,
    shutdown: CancellationToken,
}

impl Shared {
    pub(crate) fn new(resolver: Box<dyn NodeResolver>, config: ServerConfig) -> Self {
        let streams = Arc::new(Semaphore::new(config.streams_max.min(Semaphore::MAX_PERMITS)));
        Self {
            inner: Arc::new(SharedInner {
                resolver,
                config,
                clients: Clients::default(),
                metrics: Metrics::default(),
                streams,
                next_id: AtomicU64::new(1),
                shutdown: CancellationToken::new(),
            }),
        }
    }

    pub(crate) fn config(&self) -> &ServerConfig {
        &self.inner.config
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.inner.clients
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.inner.shutdown
    }
}

/// Whether a stream goes on.
enum Step {
    Continue,
    End,
}

/// The store that a client was given, and its generation.
struct Source {
    store: SnapshotStore,
    generation: watch::Receiver<u64>,
}

/// One open stream.
pub(crate) struct Connection {
    shared: Shared,
    id: u64,
    variant: Variant,
    requests: Requests,
    extensions: http::Extensions,
    stream: AdsStream,
    source: Option<Source>,
    client: Option<ClientHandle>,
    chunks: VecDeque<Bytes>,
    /// What is waited for, and when no longer.
    gate: Option<(Waiting, Instant)>,
    /// How often the client was expected to ask for more, and when it is no longer.
    awaited: Option<(u64, Instant)>,
    patience: Patience,
    half_closed: bool,
    ended: bool,
    open: OpenStream,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    pub(crate) fn open(
        shared: &Shared,
        variant: Variant,
        only: Option<TypeUrl>,
        requests: Requests,
        extensions: http::Extensions,
    ) -> Result<Self, Status> {
        let inner = &shared.inner;
        let Ok(permit) = Arc::clone(&inner.streams).try_acquire_owned() else {
            inner.metrics.stream_refused();
            return Err(Status::unavailable(format!(
                "{} streams are open, no more fit",
                inner.config.streams_max
            )));
        };
        let id = inner.next_id.fetch_add(1, Ordering::Relaxed);
        let limits = StreamLimits {
            names_max: inner.config.names_per_stream_max,
            response_bytes_max: inner.config.response_bytes_max,
        };
        Ok(Self {
            shared: shared.clone(),
            id,
            variant,
            requests,
            extensions,
            stream: AdsStream::new(id, only, limits),
            source: None,
            client: None,
            chunks: VecDeque::new(),
            gate: None,
            awaited: None,
            patience: Patience::new(inner.config.answer_timeout),
            half_closed: false,
            ended: false,
            open: inner.metrics.stream_opened(variant),
            _permit: permit,
        })
    }

    /// The next frame of the response body; the last one carries the status.
    pub(crate) async fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        loop {
            if let Some(chunk) = self.chunks.pop_front() {
                return Some(Frame::data(chunk));
            }
            if self.ended {
                return None;
            }
            let status = match self.step().await {
                Ok(Step::Continue) => continue,
                Ok(Step::End) => Status::ok(""),
                Err(status) => status,
            };
            self.ended = true;
            let mut trailers = http::HeaderMap::new();
            // A status whose text fits into no header still ends the stream.
            if status.add_header(&mut trailers).is_err() {
                Status::new(status.code(), "").add_header(&mut trailers).ok();
            }
            return Some(Frame::trailers(trailers));
        }
    }

    /// Makes the next response, or waits for what may lead to one.
    async fn step(&mut self) -> Result<Step, Status> {
        if let Some(response) = self.stream.next_response(SystemTime::now()) {
            self.chunks = response.encode().ok_or_else(|| {
                Status::resource_exhausted(format!("the response for {} exceeds 4 GiB", response.type_url))
            })?;
            let bytes = self.chunks.iter().map(Bytes::len).sum();
            let metrics = self.shared.metrics();
            metrics.sent(&response.type_url, response.resources.len(), response.removed.len(), bytes);
            let unanswered = self.stream.unanswered(&response.type_url);
            if unanswered > 1 {
                metrics.overtaken(&response.type_url);
            }
            self.patience.sent(&response.type_url, unanswered);
            self.publish_status();
            return Ok(Step::Continue);
        }
        self.publish_status();
        if self.half_closed {
            return Ok(Step::End);
        }
        self.open.set_held(self.stream.is_held());
        self.set_gate();
        let stream = &self.stream;
        self.patience.retain(|type_url| stream.unanswered(type_url) > 0);
        let answer_due = self.patience.next(|type_url| stream.is_blocked(type_url));
        let shutdown = self.shared.shutdown().clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(Step::End),
            message = self.requests.message() => self.on_message(message),
            () = changed(&mut self.source) => {
                self.on_published();
                Ok(Step::Continue)
            }
            () = passed(self.gate.map(|(_, deadline)| deadline)) => {
                if self.gate.take().is_some_and(|(waiting, _)| waiting == Waiting::Answer) {
                    self.shared.metrics().gate_released();
                }
                self.stream.release();
                Ok(Step::Continue)
            }
            () = passed(self.awaited.map(|(_, deadline)| deadline)) => {
                self.stream.give_up_awaited();
                Ok(Step::Continue)
            }
            () = passed(answer_due) => {
                self.on_unanswered();
                Ok(Step::Continue)
            }
        }
    }

    /// A client that does not answer is sent what is newer all the same: its silence may come from what that mends.
    fn on_unanswered(&mut self) {
        for type_url in self.patience.passed(self.shared.metrics()) {
            tracing::debug!(stream = self.id, type_url = type_url.short(), "a response is unanswered");
            self.stream.overtake(&type_url);
        }
    }

    /// Applies a request and those that wait behind it: a client's ACK of Clusters and its wish for their endpoints
    /// mostly come together, and should be seen together.
    fn on_message(&mut self, first: Result<Option<Request>, Status>) -> Result<Step, Status> {
        let mut message = first;
        for _ in 0..REQUESTS_AT_ONCE_MAX {
            match message {
                Ok(Some(request)) => self.on_request(request)?,
                // Half-closed: what is due is sent, then the stream ends well.
                Ok(None) => {
                    self.half_closed = true;
                    break;
                }
                Err(status) => return self.on_broken(status),
            }
            match self.requests.message().now_or_never() {
                Some(next) => message = next,
                None => break,
            }
        }
        Ok(Step::Continue)
    }

    /// A client that went away is nothing to report; a request that we cannot take is.
    fn on_broken(&self, status: Status) -> Result<Step, Status> {
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted | Code::Internal => {
                self.shared.metrics().request_refused();
                tracing::warn!(stream = self.id, %status, "request refused");
                Err(status)
            }
            _ => {
                tracing::debug!(stream = self.id, %status, "stream broke off");
                Ok(Step::End)
            }
        }
    }

    fn on_request(&mut self, mut request: Request) -> Result<(), Status> {
        let node = request.take_node();
        if self.client.is_none() {
            self.identify(node.unwrap_or_default())?;
        }
        let (type_url, acknowledged) =
            self.stream.on_request(request, SystemTime::now()).map_err(|error| {
                self.shared.metrics().request_refused();
                tracing::warn!(stream = self.id, %error, "request refused");
                Status::invalid_argument(error.to_string())
            })?;
        let metrics = self.shared.metrics();
        match acknowledged {
            Acknowledged::Nothing => {}
            Acknowledged::Ack => metrics.acked(&type_url),
            Acknowledged::Stale => metrics.stale(&type_url),
            Acknowledged::Nack => {
                metrics.nacked(&type_url);
                if let Some(nack) = self.stream.last_nack(&type_url) {
                    tracing::warn!(
                        stream = self.id,
                        type_url = type_url.short(),
                        version = %nack.version,
                        nonce = nack.nonce,
                        error = nack.message,
                        "client refused a response; it is not sent again"
                    );
                }
            }
        }
        Ok(())
    }

    /// Asks the resolver for the client's store, with its first request. The node is not kept: an Envoy's has 60 KB.
    fn identify(&mut self, node: crate::wire::Node) -> Result<(), Status> {
        let extensions = std::mem::take(&mut self.extensions);
        let node = NodeInfo::new(node, peer_addr(&extensions), extensions);
        let store = self.shared.inner.resolver.resolve(&node).inspect_err(|status| {
            tracing::warn!(node = node.id, peer = ?node.peer_addr, %status, "client refused");
        })?;
        tracing::info!(
            stream = self.id,
            node = node.id,
            cluster = node.cluster,
            user_agent = %format_args!("{} {}", node.user_agent_name, node.user_agent_version),
            peer = ?node.peer_addr,
            variant = self.variant.as_str(),
            "client connected"
        );
        let mut generation = store.generation();
        generation.mark_changed();
        self.source = Some(Source { store, generation });
        self.on_published();
        self.client = Some(self.shared.clients().connect(self.id, self.variant, &node));
        Ok(())
    }

    fn on_published(&mut self) {
        let published = self.source.as_mut().and_then(|source| {
            // Marked before the load, so that a publication in between is seen again.
            source.generation.mark_unchanged();
            source.store.published()
        });
        if let Some(published) = published {
            self.stream.on_published(&published);
        }
    }

    fn publish_status(&mut self) {
        if let Some(client) = &self.client {
            client.update(self.stream.take_statuses());
        }
    }

    fn set_gate(&mut self) {
        let waiting = self.stream.waiting();
        if waiting != self.gate.map(|(waiting, _)| waiting) {
            self.gate = waiting.map(|waiting| {
                let timeout = match waiting {
                    Waiting::Opening => OPENING_TIMEOUT,
                    Waiting::Answer => self.shared.config().gate_timeout,
                };
                (waiting, Instant::now() + timeout)
            });
        }
        let awaited = self.stream.awaited_growths();
        if awaited != self.awaited.map(|(growths, _)| growths) {
            let deadline = Instant::now() + self.shared.config().gate_timeout;
            self.awaited = awaited.map(|growths| (growths, deadline));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.client.is_some() {
            tracing::info!(stream = self.id, "client disconnected");
        }
    }
}

async fn changed(source: &mut Option<Source>) {
    // A store that is gone changes no more; its last snapshot is served on.
    if let Some(source) = source
        && source.generation.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn peer_addr(extensions: &http::Extensions) -> Option<SocketAddr> {
    extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr).or_else(|| {
        // For connections of the caller's own making.
        extensions.get::<Peer>().and_then(|peer| peer.address)
    })
}
