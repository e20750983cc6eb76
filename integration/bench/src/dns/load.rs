//! Clients that measure: a closed loop for the price of an answer, an open one for latency.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cpu;
use crate::statistics::percentile;

/// How long a client waits for a reply before it takes the request for lost.
const REPLY_PATIENCE: Duration = Duration::from_millis(500);
const REPLY_OCTETS_MAX: usize = 4096;

/// What a closed loop measured.
#[derive(Debug, Clone, Copy)]
pub struct Price {
    /// Processor time of the server per answer, in microseconds.
    pub microseconds: f64,
    /// Answers per second.
    pub rate: f64,
}

/// What an open loop measured, in microseconds from when the request was due to its reply.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Half of the replies took no longer.
    pub p50: f64,
    /// 99 % of the replies took no longer.
    pub p99: f64,
    /// Share of the requests without a reply.
    pub lost: f64,
}

/// How a closed loop asks.
#[derive(Debug, Clone, Copy)]
pub struct Clients {
    /// Threads, each with one request under way.
    pub threads: usize,
    /// Sockets that each thread asks from in turns. The kernel gives all that comes from one socket to one of the server's
    /// workers, by a hash that is another for each server: few sockets would measure that.
    pub sockets: usize,
}

/// Asks from so many sockets, and sets the server's processor time against the replies, after a third of the time to warm up.
///
/// Fails when a reply has another code than one of `codes`.
pub fn closed_loop(
    server: SocketAddr,
    process: u32,
    requests: &[Vec<u8>],
    clients: Clients,
    time: Duration,
    codes: &[u8],
) -> Result<Price> {
    let (stop, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let client = |index| {
            let (stop, answers) = (&stop, &answers);
            scope.spawn(move || ask_in_turns(server, requests, index, clients, codes, stop, answers))
        };
        let threads: Vec<_> = (0..clients.threads).map(client).collect();
        std::thread::sleep(time / 3);
        let start = (clock(), answers.load(Ordering::Relaxed), cpu::time_of_tree(process));
        std::thread::sleep(time);
        let end = (clock(), answers.load(Ordering::Relaxed), cpu::time_of_tree(process));
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        let (answers, spent) = (end.1 - start.1, end.2?.saturating_sub(start.2?));
        ensure!(answers > 0, "no reply from {server}");
        Ok(Price {
            microseconds: spent.as_secs_f64() * 1e6 / answers as f64,
            rate: answers as f64 / (end.0 - start.0).as_secs_f64(),
        })
    })
}

/// Asks until the stop, and counts the replies.
fn ask_in_turns(
    server: SocketAddr,
    requests: &[Vec<u8>],
    first: usize,
    clients: Clients,
    codes: &[u8],
    stop: &AtomicBool,
    answers: &AtomicU64,
) -> Result<()> {
    let sockets = (0..clients.sockets).map(|_| connect(server)).collect::<Result<Vec<_>>>()?;
    let mut reply = [0; REPLY_OCTETS_MAX];
    // Each client begins elsewhere, so that they do not ask the same at the same time.
    let requests = requests.iter().cycle().skip(first * requests.len() / 7);
    for ((id, request), socket) in requests.enumerate().zip(sockets.iter().cycle()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut request = request.clone();
        request[..2].copy_from_slice(&(id as u16).to_be_bytes());
        socket.send(&request)?;
        loop {
            match socket.recv(&mut reply) {
                // Late, to a request that was taken for lost.
                Ok(length) if length < 12 || reply[..2] != request[..2] => continue,
                Ok(_) => {
                    ensure!(codes.contains(&(reply[3] & 0x0f)), "reply code {}", reply[3] & 0x0f);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                // Lost.
                Err(_) => {}
            }
            break;
        }
    }
    Ok(())
}

/// Asks at a fixed rate, whatever the replies do.
pub fn open_loop(server: SocketAddr, requests: &[Vec<u8>], rate: f64, time: Duration) -> Result<Latency> {
    let socket = connect(server)?;
    let receiving = socket.try_clone()?;
    let total = (rate * time.as_secs_f64()) as usize;
    let start = clock();
    let due = |index: usize| Duration::from_secs_f64(index as f64 / rate);
    let mut latencies = std::thread::scope(|scope| -> Result<Vec<f64>> {
        let receiver = scope.spawn(move || {
            let mut latencies: Vec<f64> = Vec::with_capacity(total);
            let mut reply = [0; REPLY_OCTETS_MAX];
            let mut newest = 0;
            while latencies.len() < total {
                let Ok(length) = receiving.recv(&mut reply) else { break };
                let now = start.elapsed();
                if length < 2 {
                    continue;
                }
                // The id is the lower half of the request's number, and far fewer are under way than it can tell apart.
                let id = usize::from(u16::from_be_bytes([reply[0], reply[1]]));
                let lap = (newest + 0x8000_usize).saturating_sub(id) >> 16;
                let index = (lap << 16) + id;
                newest = newest.max(index);
                latencies.push(now.saturating_sub(due(index)).as_secs_f64() * 1e6);
            }
            latencies
        });
        for (index, request) in requests.iter().cycle().take(total).enumerate() {
            let mut request = request.clone();
            request[..2].copy_from_slice(&(index as u16).to_be_bytes());
            if let Some(early) = due(index).checked_sub(start.elapsed()) {
                std::thread::sleep(early);
            }
            socket.send(&request)?;
        }
        Ok(receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    latencies.sort_by(f64::total_cmp);
    ensure!(!latencies.is_empty(), "no reply from {server}");
    Ok(Latency {
        p50: percentile(&latencies, 0.5),
        p99: percentile(&latencies, 0.99),
        lost: 1.0 - latencies.len() as f64 / total as f64,
    })
}

/// Whether a server answers a request with NOERROR.
pub fn answers(server: SocketAddr, request: &[u8]) -> bool {
    let ask = || -> Result<bool> {
        let socket = connect(server)?;
        socket.send(request)?;
        let mut reply = [0; REPLY_OCTETS_MAX];
        let length = socket.recv(&mut reply)?;
        Ok(length >= 12 && reply[..2] == request[..2] && reply[3] & 0x0f == 0)
    };
    ask().unwrap_or(false)
}

fn connect(server: SocketAddr) -> Result<UdpSocket> {
    let local = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(local)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(REPLY_PATIENCE))?;
    Ok(socket)
}

#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn clock() -> Instant {
    Instant::now()
}
