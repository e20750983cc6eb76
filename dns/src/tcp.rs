//! TCP (RFC 7766): many messages per connection, each behind its length; replies in the order of the requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::{Connections, Permit};
use crate::metrics::Shard;
use crate::query_log::QueryLog;
use crate::responder::{Outcome, Responder, Transport, respond};

/// Octets of the length before each message (RFC 1035, section 4.2.2).
const LENGTH_OCTETS: usize = 2;
/// Room for requests, for as long as none needs more: a question with all options that there are needs a tenth. Longer
/// ones are taken, up to the 65535 octets that a length can tell.
const REQUESTS_OCTETS: usize = 4096;
/// Replies that are gathered before they are written.
const REPLIES_OCTETS_MAX: usize = 16 * 1024;
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) responder: Responder,
    pub(crate) shard: Arc<Shard>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) log: Arc<QueryLog>,
    /// How long a client may take for its next whole message, and to read its replies.
    pub(crate) idle_timeout: Duration,
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

/// Accepts until the stop.
pub(crate) async fn serve(listener: TcpListener, service: Service) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = service.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, client)) => accept(stream, client, &service),
            Err(error) => {
                tracing::debug!(%error, "cannot accept a DNS connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn accept(stream: TcpStream, client: SocketAddr, service: &Service) {
    let Some(permit) = service.connections.admit(client.ip()) else { return };
    let service = service.clone();
    service.tracker.clone().spawn(async move {
        let displaced = permit.displaced().clone();
        let connection = Connection { stream, client, permit, service: &service };
        if let Some(Err(error)) = displaced.run_until_cancelled(connection.run()).await {
            tracing::debug!(%error, "a DNS connection ended");
        }
    });
}

struct Connection<'a> {
    stream: TcpStream,
    client: SocketAddr,
    permit: Permit,
    service: &'a Service,
}

impl Connection<'_> {
    async fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut requests = Vec::with_capacity(REQUESTS_OCTETS);
        let mut deadline = Instant::now() + self.service.idle_timeout;
        loop {
            let idle = timeout_at(deadline, self.stream.read_buf(&mut requests));
            let read = tokio::select! {
                // What has come already is still answered after the stop.
                biased;
                read = idle => read,
                () = self.service.stop.cancelled() => return Ok(()),
            };
            match read {
                Err(_) | Ok(Ok(0)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) => {}
            }
            let answered = self.answer(&requests).await?;
            if answered > 0 {
                requests.drain(..answered);
                requests.shrink_to(REQUESTS_OCTETS);
                deadline = Instant::now() + self.service.idle_timeout;
            }
        }
    }

    /// Answers all whole messages at the start of the buffer; how many octets they took.
    async fn answer(&mut self, requests: &[u8]) -> io::Result<usize> {
        let (mut replies, mut reply) = (Vec::new(), Vec::new());
        // Without the time that a client takes to read.
        let (mut took, mut since, mut answered) = (Duration::ZERO, Instant::now(), 0);
        let mut rest = requests;
        while let Some((length, after)) = rest.split_first_chunk::<LENGTH_OCTETS>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some((request, after)) = after.split_at_checked(length) else { break };
            let zones = self.service.responder.load();
            let outcome = respond(zones.as_deref(), Transport::Tcp, request, &mut reply);
            self.service.shard.count(Transport::Tcp, outcome);
            self.service.log.note(self.client, Transport::Tcp, request, outcome);
            if let Outcome::Dropped(_) = outcome {
                // What came before it was a request, and has its reply.
                self.send(&mut replies).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is no request"));
            }
            // The encoders keep replies below 64 KiB.
            let reply_length = u16::try_from(reply.len()).map_err(io::Error::other)?;
            replies.extend_from_slice(&reply_length.to_be_bytes());
            replies.append(&mut reply);
            answered += 1;
            if answered == 1 {
                self.permit.touch();
            }
            rest = after;
            if replies.len() > REPLIES_OCTETS_MAX {
                took += since.elapsed();
                self.send(&mut replies).await?;
                since = Instant::now();
            }
        }
        self.service.shard.latency(Transport::Tcp).observe(took + since.elapsed(), answered);
        self.send(&mut replies).await?;
        Ok(requests.len() - rest.len())
    }

    async fn send(&mut self, replies: &mut Vec<u8>) -> io::Result<()> {
        timeout(self.service.idle_timeout, self.stream.write_all(replies)).await??;
        replies.clear();
        Ok(())
    }
}
