//! A DNS client: one question, one answer, over UDP or TCP, decoded by hickory-proto and nothing of xcc's.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// What a server on the same machine may take; a lost datagram is asked again.
const LIMIT: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 3;

/// A client of one server.
#[derive(Debug)]
pub struct Resolver {
    server: SocketAddr,
    id: AtomicU16,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// NOERROR with addresses.
    Addresses(Vec<IpAddr>),
    /// NOERROR without a record of the type.
    NoData,
    /// Any other answer: NXDOMAIN, REFUSED, SERVFAIL.
    Failure(ResponseCode),
}

impl Resolver {
    /// A client of the server.
    pub fn new(server: SocketAddr) -> Self {
        Self { server, id: AtomicU16::new(1) }
    }

    /// The server.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Asks over UDP.
    ///
    /// # Errors
    /// When there is no answer, or one to another question.
    pub async fn query(&self, name: &str, record_type: RecordType) -> Result<Message> {
        let question = self.question(name, record_type)?;
        let bytes = question.to_vec()?;
        let local: SocketAddr =
            if self.server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(self.server).await?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        for _attempt in 0..ATTEMPTS {
            socket.send(&bytes).await?;
            match timeout(LIMIT, socket.recv(&mut buffer)).await {
                Ok(received) => return check(&question, Message::from_vec(&buffer[..received?])?),
                Err(_elapsed) => {}
            }
        }
        bail!("{} does not answer over UDP", self.server)
    }

    /// Asks over TCP.
    ///
    /// # Errors
    /// When there is no answer, or one to another question.
    pub async fn query_tcp(&self, name: &str, record_type: RecordType) -> Result<Message> {
        let question = self.question(name, record_type)?;
        let bytes = question.to_vec()?;
        let answer = async {
            let mut stream = TcpStream::connect(self.server).await?;
            stream.write_u16(u16::try_from(bytes.len())?).await?;
            stream.write_all(&bytes).await?;
            let length = stream.read_u16().await?;
            let mut buffer = vec![0; usize::from(length)];
            stream.read_exact(&mut buffer).await?;
            check(&question, Message::from_vec(&buffer)?)
        };
        timeout(LIMIT, answer).await.with_context(|| format!("{} does not answer over TCP", self.server))?
    }

    /// The IPv4 addresses of a name, as a pod's libc would ask for them.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn resolve(&self, name: &str) -> Result<Resolution> {
        self.resolve_type(name, RecordType::A).await
    }

    /// The addresses of a name of one type, A or AAAA.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn resolve_type(&self, name: &str, record_type: RecordType) -> Result<Resolution> {
        let message = self.query(name, record_type).await?;
        if message.metadata.response_code != ResponseCode::NoError {
            return Ok(Resolution::Failure(message.metadata.response_code));
        }
        let addresses: Vec<IpAddr> = message
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            })
            .collect();
        Ok(if addresses.is_empty() { Resolution::NoData } else { Resolution::Addresses(addresses) })
    }

    fn question(&self, name: &str, record_type: RecordType) -> Result<Message> {
        let mut name = Name::from_ascii(name)?;
        name.set_fqdn(true);
        let id = self.id.fetch_add(1, Ordering::Relaxed);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, record_type));
        Ok(message)
    }
}

fn check(question: &Message, answer: Message) -> Result<Message> {
    ensure!(answer.metadata.id == question.metadata.id, "an answer with another id");
    ensure!(answer.metadata.message_type == MessageType::Response, "an answer that is a query");
    ensure!(answer.queries == question.queries, "an answer to another question: {:?}", answer.queries);
    Ok(answer)
}
