//! A million malformed messages against a running server: it must not panic, nor grow, nor stop answering others.
//!
//! After each burst a good question goes the same way; since a socket is served in order, its answer says that the burst
//! was read to the end.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use xcc_bench::cpu;
use xcc_bench::dns::query;
use xcc_bench::dns::servers::{Kind, Plan, Server};
use xcc_bench::random::Random;

const BURST: usize = 64;
/// Lost bursts, for want of room in a socket of a busy machine, are sent again.
const ATTEMPTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(2);
/// After so much of it, all buffers have the size that they need.
const WARM_SHARE: usize = 10;
/// What the memory may grow by after that.
const GROWTH_OCTETS_MAX: u64 = 4 << 20;
const OCTETS_MAX: usize = 1400;

#[derive(Parser)]
struct Arguments {
    /// Malformed messages in all.
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let corpus = corpus()?;
    let mut random = Random::new(arguments.seed);
    let server =
        Kind::Xcc.start(Plan { names: 1000, workers: 2, processor: None, changes_per_second: 100 })?;
    let clients = (0..4).map(|_| connect(&server)).collect::<Result<Vec<_>>>()?;
    let bursts = arguments.messages.div_ceil(BURST);
    let (mut warm, mut replies) = (0, 0);
    for index in 0..bursts {
        if index == bursts / WARM_SHARE {
            warm = cpu::memory_of_tree(server.peer.id())?;
        }
        let burst: Vec<Vec<u8>> = (0..BURST).map(|_| malformed(&corpus, &mut random)).collect();
        replies += send(&clients[index % clients.len()], &burst, index as u16)
            .with_context(|| format!("after {} messages", index * BURST))?;
        if index % 64 == 0 {
            send_tcp(&server, &burst)?;
        }
    }
    let grown = cpu::memory_of_tree(server.peer.id())?.saturating_sub(warm);
    let text = std::fs::read_to_string(server.peer.folder().join("log"))?;
    ensure!(!text.contains("panicked"), "the server panicked: {text}");
    ensure!(grown <= GROWTH_OCTETS_MAX, "the server's memory grew by {grown} octets");
    report(bursts * BURST, bursts, replies, grown);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn report(messages: usize, good: usize, replies: usize, grown: u64) {
    println!(
        "{messages} malformed messages, {replies} answered; {good} good ones between them, all answered; memory grew by {grown} octets"
    );
}

fn corpus() -> Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dns/fuzz/corpus/respond");
    let files = std::fs::read_dir(&folder).with_context(|| format!("no corpus in {}", folder.display()))?;
    let mut corpus = files.map(|file| Ok(std::fs::read(file?.path())?)).collect::<Result<Vec<_>>>()?;
    corpus.sort();
    Ok(corpus)
}

/// Noise, or something of the corpus with some octets changed, lost or added.
fn malformed(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    if random.one_in(4) {
        let length = random.below(OCTETS_MAX);
        return (0..length).map(|_| random.next_number() as u8).collect();
    }
    let mut octets = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(octets.len());
        match random.below(5) {
            0 => octets.truncate(at),
            1 => octets.insert(at, random.next_number() as u8),
            2 => octets.extend_from_within(at..),
            _ if !octets.is_empty() => octets[at] = random.next_number() as u8,
            _ => {}
        }
    }
    octets.truncate(OCTETS_MAX);
    octets
}

fn connect(server: &Server) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server.address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Sends the burst and a good question, and waits for the answer to that one. How many others were answered.
fn send(client: &UdpSocket, burst: &[Vec<u8>], index: u16) -> Result<usize> {
    let mut good = query::request("service-00001.xcc.test", query::A, Some(1232));
    let mut reply = [0; 4096];
    let mut replies = 0;
    for attempt in 0..ATTEMPTS {
        for message in burst {
            client.send(message)?;
        }
        // Its answer has its id and question, no error, and a record more.
        good[..2].copy_from_slice(&index.wrapping_add(attempt as u16).to_be_bytes());
        client.send(&good)?;
        while let Ok(length) = client.recv(&mut reply) {
            let question = 12..good.len() - 11;
            if length > good.len()
                && reply[..2] == good[..2]
                && reply[3] & 0x0f == 0
                && reply[question.clone()] == good[question]
            {
                return Ok(replies);
            }
            replies += 1;
        }
    }
    anyhow::bail!("a good question gets no answer")
}

/// The same by TCP, each behind a length that is true: the server closes at what is no request, and answers the rest.
fn send_tcp(server: &Server, burst: &[Vec<u8>]) -> Result<()> {
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for message in burst {
        let length = u16::try_from(message.len())?.to_be_bytes();
        // The server may have closed already.
        if stream.write_all(&[&length, &message[..]].concat()).is_err() {
            break;
        }
    }
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut rest = vec![];
    drop(stream.read_to_end(&mut rest));
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let good = query::request("service-00001.xcc.test", query::A, None);
    stream.write_all(&[&u16::try_from(good.len())?.to_be_bytes(), &good[..]].concat())?;
    let mut reply = [0; 6];
    stream.read_exact(&mut reply).context("a good question gets no answer over TCP")?;
    ensure!(reply[5] & 0x0f == 0, "a good question gets code {} over TCP", reply[5] & 0x0f);
    Ok(())
}
