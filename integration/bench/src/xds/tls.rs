//! Connections that begin as TLS does and then are bare octets: a proxy that passes TLS through cannot tell, and nobody
//! pays for cryptography.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::time::Instant;

const CHUNK_OCTETS: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// The first record of a client that wants this name.
pub fn client_hello(name: &str) -> Vec<u8> {
    let mut server_name = vec![0];
    put_u16_prefixed(&mut server_name, name.as_bytes());
    let mut names = Vec::new();
    put_u16_prefixed(&mut names, &server_name);
    let mut extensions = Vec::new();
    // server_name, supported_groups, signature_algorithms, supported_versions: RFC 8446, section 4.2.
    let all: [(u16, &[u8]); 4] =
        [(0, &names), (10, &[0, 2, 0, 29]), (13, &[0, 4, 4, 3, 8, 4]), (43, &[4, 3, 4, 3, 3])];
    for (kind, content) in all {
        extensions.extend(kind.to_be_bytes());
        put_u16_prefixed(&mut extensions, content);
    }
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    put_u16_prefixed(&mut hello, &[0x13, 0x01, 0xc0, 0x2f]);
    hello.extend([1, 0]);
    put_u16_prefixed(&mut hello, &extensions);
    let mut handshake = vec![1, 0];
    put_u16_prefixed(&mut handshake, &hello);
    let mut record = vec![22, 3, 1];
    put_u16_prefixed(&mut record, &handshake);
    record
}

fn put_u16_prefixed(buffer: &mut Vec<u8>, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    buffer.extend(length.to_be_bytes());
    buffer.extend(content);
}

/// What proxies lead to: answers the first octets with one octet, or with as many as were asked for.
pub struct Origin {
    address: SocketAddr,
    octets: Arc<AtomicU64>,
}

impl Origin {
    /// Starts it on a free port; it ends with the process.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let octets = Arc::new(AtomicU64::new(1));
        let this = Self { address: listener.local_addr()?, octets: Arc::clone(&octets) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let octets = octets.load(Ordering::Relaxed);
                // A client that goes away early ends its thread, and nothing else.
                std::thread::spawn(move || drop(answer(stream, octets)));
            }
        });
        Ok(this)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn answer(mut stream: TcpStream, octets: u64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 4096];
    if stream.read(&mut buffer)? == 0 {
        return Ok(());
    }
    let chunk = vec![b'x'; CHUNK_OCTETS];
    let mut left = octets;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(CHUNK_OCTETS).min(CHUNK_OCTETS);
        stream.write_all(&chunk[..part])?;
        left -= part as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Opens so many connections, so many at once; each is closed when the origin has answered through the proxy.
pub fn connect_many(proxy: SocketAddr, name: &str, connections: usize, at_once: usize) -> Result<()> {
    let hello = client_hello(name);
    let left = AtomicU64::new(connections as u64);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    let take = |left: u64| left.checked_sub(1);
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                        connect_one(proxy, &hello)?;
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })
}

fn connect_one(proxy: SocketAddr, hello: &[u8]) -> Result<()> {
    let mut stream = open(proxy, hello)?;
    let mut octet = [0];
    stream.read_exact(&mut octet).context("the origin did not answer through the proxy")?;
    Ok(())
}

fn open(proxy: SocketAddr, hello: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(hello)?;
    Ok(stream)
}

/// Reads so many octets from the origin through the proxy, and tells how long that took.
pub fn bulk(origin: &Origin, proxy: SocketAddr, name: &str, octets: u64) -> Result<Duration> {
    origin.octets.store(octets, Ordering::Relaxed);
    let start = Instant::now();
    let mut stream = open(proxy, &client_hello(name))?;
    let mut buffer = vec![0; CHUNK_OCTETS];
    let mut received = 0;
    while received < octets {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => received += count as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let took = start.elapsed();
    origin.octets.store(1, Ordering::Relaxed);
    ensure!(received == octets, "{received} of {octets} octets came");
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_in_the_hello_cover_all_of_it() {
        let hello = client_hello("service.xcc.test");
        assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
        assert_eq!(usize::from(u16::from_be_bytes([hello[7], hello[8]])), hello.len() - 9);
        assert!(hello.windows(16).any(|part| part == b"service.xcc.test"));
    }

    #[test]
    fn octets_come_from_the_origin() {
        let origin = Origin::start().unwrap();
        connect_many(origin.address(), "a.xcc.test", 20, 4).unwrap();
        bulk(&origin, origin.address(), "a.xcc.test", 3 * CHUNK_OCTETS as u64 + 1).unwrap();
    }
}
