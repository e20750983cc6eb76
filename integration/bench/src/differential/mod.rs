//! The same zones served by xcc, NSD and Knot, asked the same questions: every difference is a bug or a documented choice.

pub mod choices;
pub mod generate;
pub mod reply;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::differential::choices::{CHOICES, Case, explain};
use crate::differential::generate::Question;
use crate::differential::reply::Reply;

/// How long a reply may take; who does not answer at all is asked again.
const REPLY_PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 3;
/// Differences that are told in full.
const TOLD_MAX: usize = 20;

/// What comparing found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Questions that were asked.
    pub asked: usize,
    /// Replies that were compared and equal.
    pub equal: usize,
    /// Differences by the reason for which they are deliberate.
    pub chosen: BTreeMap<&'static str, usize>,
    /// Differences that nothing explains: how many.
    pub unexplained: usize,
    /// The first of them.
    pub told: Vec<String>,
}

/// A server with a socket for asking it.
pub struct Asked {
    name: &'static str,
    address: SocketAddr,
    socket: UdpSocket,
}

impl Asked {
    /// Opens a socket to the server.
    pub fn new(name: &'static str, address: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(REPLY_PATIENCE))?;
        Ok(Self { name, address, socket })
    }

    /// The reply over UDP, which was asked for already; none when there is none, again and again.
    fn receive(&self, request: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut octets = vec![0; 65535];
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.socket.send(request)?;
            }
            while let Ok(length) = self.socket.recv(&mut octets) {
                // A late reply to an earlier question has another id.
                if length >= 2 && octets[..2] == request[..2] {
                    octets.truncate(length);
                    return Ok(Some(octets));
                }
            }
        }
        Ok(None)
    }

    /// The reply over TCP; none when there is none, again and again: NSD closes connections when its next process takes over.
    fn ask_tcp(&self, request: &[u8]) -> Result<Option<Vec<u8>>> {
        for _ in 0..ATTEMPTS {
            let reply = self.ask_tcp_once(request)?;
            if reply.is_some() {
                return Ok(reply);
            }
        }
        Ok(None)
    }

    fn ask_tcp_once(&self, request: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(REPLY_PATIENCE))?;
        let length = u16::try_from(request.len())?.to_be_bytes();
        stream.write_all(&[&length, request].concat())?;
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            return Ok(None);
        }
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut reply).with_context(|| format!("half a reply of {} over TCP", self.name))?;
        Ok(Some(reply))
    }
}

/// Asks all servers the question and compares the replies of the others with ours, which is the first one. What comes
/// incomplete by UDP is asked for by TCP, too, as a resolver would.
pub fn compare(servers: &[Asked], question: &Question, by_tcp: bool, findings: &mut Findings) -> Result<()> {
    let request = question.octets();
    findings.asked += 1;
    if !by_tcp {
        let replies = ask_all_udp(servers, &request)?;
        compare_replies(servers, question, false, &replies, findings);
        if !replies.iter().flatten().any(|reply| reply.truncated) {
            return Ok(());
        }
    }
    let replies = ask_all_tcp(servers, &request)?;
    compare_replies(servers, question, true, &replies, findings);
    Ok(())
}

fn compare_replies(
    servers: &[Asked],
    question: &Question,
    by_tcp: bool,
    replies: &[Option<Reply>],
    findings: &mut Findings,
) {
    let transport = if by_tcp { "TCP" } else { "UDP" };
    let question_told = format!("{question} by {transport}");
    let mut replies = servers.iter().zip(replies);
    let Some((_, ours)) = replies.next() else { return };
    if let Some(wrong) = ours.as_ref().and_then(|ours| ours.unsound(question, by_tcp)) {
        findings.tell(format!("{question_told}: {wrong}"));
    }
    for (server, theirs) in replies {
        let (ours, theirs) = match (ours, theirs) {
            (Some(ours), Some(theirs)) => (ours, theirs),
            (None, None) => continue,
            _ => {
                let who = if theirs.is_none() { server.name } else { "xcc" };
                findings.tell(format!("{question_told}: no reply of {who}"));
                continue;
            }
        };
        let differences = ours.differences(theirs);
        if differences.is_empty() {
            findings.equal += 1;
            continue;
        }
        let case = Case { server: server.name, question, ours, theirs };
        match explain(&case, &differences.keys().copied().collect()) {
            Some(reasons) => {
                for reason in reasons {
                    *findings.chosen.entry(reason).or_default() += 1;
                }
            }
            None => {
                let parts: Vec<String> = differences.into_values().collect();
                findings.tell(format!("{question_told}\n  {}: {}", server.name, parts.join("; ")));
            }
        }
    }
}

fn ask_all_udp(servers: &[Asked], request: &[u8]) -> Result<Vec<Option<Reply>>> {
    for server in servers {
        server.socket.send(request)?;
    }
    servers
        .iter()
        .map(|server| server.receive(request)?.map(|octets| read(server, request, &octets)).transpose())
        .collect()
}

fn ask_all_tcp(servers: &[Asked], request: &[u8]) -> Result<Vec<Option<Reply>>> {
    servers
        .iter()
        .map(|server| server.ask_tcp(request)?.map(|octets| read(server, request, &octets)).transpose())
        .collect()
}

fn read(server: &Asked, request: &[u8], octets: &[u8]) -> Result<Reply> {
    Reply::read(request, octets)
        .with_context(|| format!("a reply of {} that hickory cannot read: {octets:?}", server.name))
}

impl Findings {
    fn tell(&mut self, text: String) {
        self.unexplained += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(text);
        }
    }

    /// Fails when a difference is unexplained, or when an explanation explains nothing and should go.
    pub fn check(&self) -> Result<()> {
        ensure!(self.unexplained == 0, "{} differences are unexplained", self.unexplained);
        for choice in CHOICES {
            ensure!(
                self.chosen.contains_key(choice.reason),
                "no difference needs the reason {:?} any more",
                choice.reason
            );
        }
        Ok(())
    }
}
