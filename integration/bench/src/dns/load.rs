//! Clients that measure: a closed loop for the price of an answer, an open one for latency.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Requests without a reply.
    pub lost: u64,
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

/// Asks from so many sockets, each with one request under way, and sets the server's processor time against the replies.
///
/// Fails when a reply has another code than one of `codes`.
pub fn closed_loop(
    server: SocketAddr,
    process: u32,
    requests: &[Vec<u8>],
    sockets: usize,
    time: Duration,
    codes: &[u8],
) -> Result<Price> {
    let stop = AtomicBool::new(false);
    let (start, before) = (clock(), cpu::time_of_tree(process)?);
    let (answers, lost) = std::thread::scope(|scope| -> Result<(u64, u64)> {
        let client = |index| {
            let stop = &stop;
            scope.spawn(move || ask_in_turns(server, requests, index, codes, stop))
        };
        let clients: Vec<_> = (0..sockets).map(client).collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let mut sums = (0, 0);
        for client in clients {
            let (answers, lost) = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            sums = (sums.0 + answers, sums.1 + lost);
        }
        Ok(sums)
    })?;
    let (elapsed, spent) = (start.elapsed(), cpu::time_of_tree(process)?.saturating_sub(before));
    ensure!(answers > 0, "no reply from {server}");
    Ok(Price {
        microseconds: spent.as_secs_f64() * 1e6 / answers as f64,
        rate: answers as f64 / elapsed.as_secs_f64(),
        lost,
    })
}

/// How many replies came and how many did not.
fn ask_in_turns(
    server: SocketAddr,
    requests: &[Vec<u8>],
    first: usize,
    codes: &[u8],
    stop: &AtomicBool,
) -> Result<(u64, u64)> {
    let socket = connect(server)?;
    let mut reply = [0; REPLY_OCTETS_MAX];
    let (mut count, mut lost) = (0, 0);
    // Each client begins elsewhere, so that they do not ask the same at the same time.
    for (id, request) in requests.iter().cycle().skip(first * requests.len() / 7).enumerate() {
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
                    count += 1;
                }
                Err(_) => lost += 1,
            }
            break;
        }
    }
    Ok((count, lost))
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
