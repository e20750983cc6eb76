//! A client, for one question: which name server is responsible for a zone, as a server says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::ProtoError;
use hickory_proto::op::{Message, MessageType, Query};
use hickory_proto::rr::{self, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use xcc_model::ZoneName;

use crate::responder::Rcode;

/// How often a server is asked that does not answer.
const TRIES: usize = 3;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Room for an answer over UDP; without EDNS it has at most 512 octets (RFC 1035, section 2.3.4).
const ANSWER_OCTETS_MAX: usize = 4096;

/// What a server says of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoaAnswer {
    /// The zone's SOA names this server: lower case, without a trailing dot.
    NameServer(String),
    /// There is no SOA of the zone.
    None(Rcode),
}

/// Why a server's answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The operating system cannot send or receive.
    #[error("{server} cannot be asked: {source}")]
    Socket {
        /// Who was to be asked.
        server: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// Nothing came, and the question was sent several times.
    #[error("{0} does not answer")]
    Silent(SocketAddr),
    /// What came is no DNS message, or is cut off.
    #[error("{0} answers with a message that cannot be read")]
    Unreadable(SocketAddr),
}

/// Asks a server for a zone's SOA, over UDP, and waits up to six seconds.
pub async fn ask_soa(server: SocketAddr, zone: &ZoneName) -> Result<SoaAnswer, AskError> {
    let failed = |source| AskError::Socket { server, source };
    let unreadable = |_: ProtoError| AskError::Unreadable(server);
    let apex = rr::Name::from_ascii(format!("{zone}.")).map_err(unreadable)?;
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(apex, RecordType::SOA));
    let octets = question.to_vec().map_err(unreadable)?;
    let local: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    for _try in 0..TRIES {
        socket.send(&octets).await.map_err(failed)?;
        if let Ok(reply) = timeout(PATIENCE, reply(&socket, &question)).await {
            return read(&reply.map_err(failed)?, &question).ok_or(AskError::Unreadable(server));
        }
    }
    Err(AskError::Silent(server))
}

/// The next message that may answer the question; what else comes is passed over.
async fn reply(socket: &UdpSocket, question: &Message) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; ANSWER_OCTETS_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if buffer[..length].starts_with(&question.metadata.id.to_be_bytes()) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

/// What the reply says; none when it cannot be read or answers something else.
fn read(reply: &[u8], question: &Message) -> Option<SoaAnswer> {
    let reply = Message::from_vec(reply).ok()?;
    if reply.metadata.message_type != MessageType::Response || reply.metadata.truncation {
        return None;
    }
    // A server that could not read the question gives none back.
    if !reply.queries.is_empty() && reply.queries != question.queries {
        return None;
    }
    let apex = question.queries.first()?.name();
    let soa = reply.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) if record.name == *apex => Some(soa),
        _ => None,
    });
    Some(match soa {
        Some(soa) => {
            SoaAnswer::NameServer(soa.mname.to_lowercase().to_ascii().trim_end_matches('.').to_owned())
        }
        None => SoaAnswer::None(Rcode(reply.metadata.response_code.into())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::responder::{Outcome, Transport, respond};
    use crate::zone::Zones;

    fn question(name: &str) -> Message {
        let mut question = Message::query();
        question.add_query(Query::query(rr::Name::from_ascii(name).unwrap(), RecordType::SOA));
        question
    }

    fn answered(question: &Message) -> Vec<u8> {
        let apexes = vec![ZoneName::parse("xcc.test").unwrap()];
        let config = crate::ZoneConfig { apexes, ttl_seconds: 30, name_server_addresses: vec![] };
        let mut reply = vec![];
        let outcome =
            respond(Some(&Zones::new(&config)), Transport::Udp, &question.to_vec().unwrap(), &mut reply);
        assert!(matches!(outcome, Outcome::Replied { .. }));
        reply
    }

    #[test]
    fn the_name_server_or_the_code_is_read() {
        for (name, want) in [
            ("XCC.test.", SoaAnswer::NameServer("ns.dns.xcc.test".to_owned())),
            ("a.xcc.test.", SoaAnswer::None(Rcode::NXDOMAIN)),
            ("example.com.", SoaAnswer::None(Rcode::REFUSED)),
        ] {
            let question = question(name);
            assert_eq!(read(&answered(&question), &question), Some(want));
        }
    }

    #[test]
    fn what_breaks_off_or_answers_something_else_is_not_taken() {
        let asked = question("xcc.test.");
        let reply = answered(&asked);
        for length in 0..reply.len() {
            assert_eq!(read(&reply[..length], &asked), None, "{length} octets");
        }
        assert_eq!(read(&asked.to_vec().unwrap(), &asked), None, "a question");
        assert_eq!(read(&reply, &question("a.test.")), None);
        let mut truncated = reply;
        truncated[2] |= 0x02;
        assert_eq!(read(&truncated, &asked), None);
    }

    /// A server that sends something else first, and is silent at the first try.
    #[tokio::test(start_paused = true)]
    async fn a_server_is_asked_again_and_other_messages_are_passed_over() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let asked =
            tokio::spawn(async move { ask_soa(address, &ZoneName::parse("xcc.test").unwrap()).await });
        let mut octets = [0; 512];
        server.recv(&mut octets).await.unwrap();
        let (length, client) = server.recv_from(&mut octets).await.unwrap();
        let reply = answered(&Message::from_vec(&octets[..length]).unwrap());
        server.send_to(&[reply[0] ^ 1, reply[1], 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], client).await.unwrap();
        server.send_to(&reply, client).await.unwrap();
        assert!(matches!(asked.await.unwrap(), Ok(SoaAnswer::NameServer(_))));
        let silent = ask_soa(address, &ZoneName::parse("xcc.test").unwrap()).await;
        assert!(matches!(silent, Err(AskError::Silent(_))), "{silent:?}");
    }
}
