//! Serves resources from a folder of JSON files over xDS: `serve-dir --listen 127.0.0.1:18000 --dir DIR`.
//!
//! For a client whose `node.id` is `gw-1` the file is `DIR/gw-1.json`, or `DIR/_default.json` if there is none; without
//! either, its requests are held. A file says, by type URL, what is served:
//!
//! ```json
//! {"resources": {
//!   "type.googleapis.com/envoy.config.cluster.v3.Cluster": {
//!     "version": "optional label of the type",
//!     "items": [{"name": "web", "version": "optional label", "resource": {
//!       "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "web", "connect_timeout": "2s"}}]}}}
//! ```
//!
//! Resources are protobuf's JSON. Without labels, versions are hashes of content; a label must change with the content.
//! Files are to be replaced by rename. One that cannot be read or understood leaves what was served as it was, and the
//! reason goes to stderr. All discovery services are served over plaintext gRPC, aggregated and for each type, delta and
//! state of the world.

mod directory;
mod file;
mod resources;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::MissedTickBehavior,
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use xcc_xds::{NodeInfo, ServerConfig, XdsServer};

use directory::Directory;

/// How often the folder is looked at. Asking is cheap, works on every file system and finds every kind of replacement.
const SCAN_INTERVAL: Duration = Duration::from_millis(25);

/// Serves resources from a folder of JSON files over xDS.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address to listen on, plaintext gRPC. Port 0 takes a free one, which the first line on stderr names.
    #[arg(long)]
    listen: SocketAddr,
    /// The folder with `<node-id>.json` and `_default.json`.
    #[arg(long)]
    dir: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    let mut directory = Directory::new(arguments.dir);
    directory.scan()?;
    let directory = Arc::new(Mutex::new(directory));

    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    tracing::info!("listening on {}", listener.local_addr()?);

    let shared = Arc::clone(&directory);
    let resolver = move |node: &NodeInfo| {
        let mut directory = shared.lock().unwrap_or_else(PoisonError::into_inner);
        directory.store(&node.id).ok_or_else(|| Status::resource_exhausted("too many node ids"))
    };
    let shutdown = CancellationToken::new();
    let server = XdsServer::new(resolver, ServerConfig::default());
    let serving = tokio::spawn(server.serve(TcpListenerStream::new(listener), shutdown.clone()));
    tokio::select! {
        () = follow(directory) => {}
        signalled = signalled() => signalled?,
    }
    shutdown.cancel();
    Ok(serving.await??)
}

/// Looks at the folder for ever. Parsing is kept off the threads that serve.
async fn follow(directory: Arc<Mutex<Directory>>) {
    let mut interval = tokio::time::interval(SCAN_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let directory = Arc::clone(&directory);
        let scanned = tokio::task::spawn_blocking(move || {
            directory.lock().unwrap_or_else(PoisonError::into_inner).scan()
        });
        if let Ok(Err(error)) = scanned.await {
            // Said once in a while, as the next look may be the same.
            tracing::error!("{error:#}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn signalled() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminate.recv() => Ok(()),
    }
}
