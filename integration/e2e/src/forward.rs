//! A way from the machine's own network into a namespace: a TCP listener on loopback whose connections end inside.
//!
//! The root namespace has no address on the clusters' link. This is how `kubectl` on the machine, and the kubelets
//! in this program, reach the API servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::netns::Namespace;

/// How long a connection into the namespace may take: one hop on one machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Connections at a time. Each kubelet holds a few for its watches; a person's `kubectl` one or two.
const CONNECTIONS_MAX: usize = 512;

/// A forwarder; it ends when this is dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// Listens on a free loopback port and connects to the target from inside the namespace.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(namespace: Namespace, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on loopback")?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, namespace, target));
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, namespace: Namespace, target: SocketAddr) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((stream, _peer)) = listener.accept().await else { continue };
        let namespace = namespace.clone();
        tokio::spawn(async move {
            // With nobody there (the API server was stopped) the client sees its connection close.
            if let Err(error) = carry(stream, &namespace, target).await {
                tracing::debug!(%target, error = format!("{error:#}"), "a forwarded connection ended");
            }
            drop(place);
        });
    }
}

async fn carry(mut client: TcpStream, namespace: &Namespace, target: SocketAddr) -> Result<()> {
    let mut server = namespace.connect(target, CONNECT_LIMIT).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
