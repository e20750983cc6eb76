//! `xcc serve`: the whole program on one screen. Watch -> model -> translate -> snapshot -> serve
//! (and: model -> zone -> answer).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xcc_dns::{DnsMetrics, DnsServer, Responder, ZoneConfig, Zones};
use xcc_envoy::GatewayConfig;
use xcc_kube::importing::ServiceAddresses;
use xcc_kube::session::HealthBoard;
use xcc_model::ImportPolicy;
use xcc_xds::{ServerConfig, XdsServer};

use crate::admin::{self, Admin};
use crate::cli::{GatewayArgs, ServeArgs};
use crate::gate::Gate;
use crate::health_metrics::HealthMetrics;
use crate::kubernetes::Kubernetes;
use crate::metrics::PipelineMetrics;
use crate::pipeline::{Connections, Pipeline, ReadyGuards, UPDATES_MAX};
use crate::publisher::{Publisher, Stores};
use crate::ready::Ready;
use crate::resolver::GatewayResolver;
use crate::sources;
use crate::state::{self, Recalled, StateDirectory};
use crate::state_metrics::StateMetrics;
use crate::telemetry;
use crate::vital::Vital;
use crate::xds_listener::{TlsSource, XdsListener};

/// How long open streams and queries may take to end after a signal to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Questions of the admin endpoint that wait for the pipeline.
const QUERIES_MAX: usize = 16;

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    telemetry::init(args.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let status = runtime.block_on(serve(args));
    // A directory that is being read is not waited for: nothing comes of it any more.
    runtime.shutdown_background();
    status
}

async fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let shutdown = stop_signal()?;
    let vital = Vital::new(shutdown.clone());
    let health = HealthBoard::default();
    // Everything that can be wrong with the configuration is found before anything is served.
    let kubernetes = match args.kubernetes {
        true => Some(Kubernetes::connect(&health).await?),
        false => None,
    };
    let state = args.state_dir.as_deref().map(StateDirectory::open).transpose()?;
    let recalled = recall(state.as_ref(), kubernetes.as_ref()).await;
    let mut known = state::remotes(&recalled.updates, |name| {
        sources::has_api_server(name, &args.remotes, args.kubernetes)
    });
    let sources = sources::open(&args.remotes, &health, &mut known, |name| recalled.has(name))?;
    let tls = tls_source(args, kubernetes.as_ref(), &vital);
    let xds_listener = XdsListener::bind(args, tls).await?;
    let admin_listener = admin::bind(args.admin_listen).await?;
    let responder = Responder::new();
    let mut registry = Registry::with_prefix("xcc");
    let dns_metrics = DnsMetrics::new();
    dns_metrics.register(&mut registry);
    let dns = DnsServer::bind(&args.dns.dns_listen, args.dns.config(), responder.clone(), dns_metrics)
        .context("--dns-listen")?;
    info!(
        xds = %xds_listener.local_addr()?, dns = ?dns.local_addrs(), admin = %admin_listener.local_addr()?,
        zones = ?args.gateway.zones, "listening"
    );

    let ready = Ready::default();
    let stores = Stores::default();
    let xds = XdsServer::new(GatewayResolver::new(stores.clone()), ServerConfig::default());
    xds.register(&mut registry);
    registry.register_collector(Box::new(HealthMetrics(health.clone())));
    let (updates_sender, updates) = mpsc::channel(UPDATES_MAX);
    let (queries_sender, queries) = mpsc::channel(QUERIES_MAX);
    let (status_sender, status) = watch::channel(Arc::default());
    let (changes_sender, changes) = watch::channel(0);
    let connections = Connections {
        updates,
        queries,
        gateway_addresses: gateway_addresses(args, kubernetes.as_ref(), &vital)?,
        listed: match &kubernetes {
            Some(kubernetes) => kubernetes.list_remotes(&vital),
            None => watch::channel(Some(BTreeSet::new())).1,
        },
        name_server_addresses: name_server_addresses(args, kubernetes.as_ref(), &vital)?,
        clients: xds.clients(),
        responder: responder.clone(),
        metrics: PipelineMetrics::register(&mut registry),
        status: kubernetes.is_some().then_some(status_sender),
        state,
        changes: changes_sender,
    };
    let guards = ReadyGuards {
        synced: ready.register("remotes", "the remotes to tell what they export"),
        gateway: ready.register(
            "gateway",
            "a gateway to connect and ACK its configuration (DNS answers SERVFAIL until then)",
        ),
    };
    warn!("no gateway has connected yet: DNS answers SERVFAIL until one carries the configuration");
    let remotes = sources.iter().map(|source| source.remote().clone()).collect();
    let mut pipeline = Pipeline::new(
        connections,
        remotes,
        import_policy(&args.gateway, &args.gateway_addresses),
        gate(args),
        Publisher::new(gateway_config(&args.gateway), stores.clone()),
        args.dns.extend(&zones(&args.gateway, &[])),
        guards,
    );
    // Before the sources have their work: what is known already is served at once.
    pipeline.recall(recalled);
    for source in sources {
        source.spawn(updates_sender.clone(), &vital);
    }
    if let Some(kubernetes) = kubernetes {
        let keeping = kubernetes.keep_state(args, queries_sender.clone(), changes, &vital);
        registry.register_collector(Box::new(StateMetrics(keeping)));
        kubernetes.run(args, updates_sender, status, known, &vital);
    }
    let admin = Admin { ready, registry, stores, responder, queries: queries_sender };
    let incoming = xds_listener.incoming(&vital);
    vital.spawn("pipeline", pipeline.run(shutdown.clone()));
    vital.spawn("admin endpoint", admin::serve(admin_listener, admin, shutdown.clone()));
    vital.spawn("xDS server", xds.serve(incoming, shutdown.clone()));
    // DNS goes last: who asks while the rest is stopping still gets the answer.
    let dns_vital = vital.with_shutdown(CancellationToken::new());
    dns_vital.spawn("DNS server", dns.run(dns_vital.shutdown()));

    tokio::select! {
        () = shutdown.cancelled() => info!("stopping"),
        () = vital.failed().cancelled() => shutdown.cancel(),
    }
    if timeout(GRACE, vital.ended()).await.is_err() {
        warn!("some streams did not end in time");
    }
    dns_vital.shutdown().cancel();
    if timeout(GRACE, dns_vital.ended()).await.is_err() {
        warn!("some DNS clients did not end in time");
    }
    ensure!(!vital.failed().is_cancelled(), "a vital part failed; see the log");
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// What is known from before: by this pod itself, else by the replicas before it.
async fn recall(state: Option<&StateDirectory>, kubernetes: Option<&Kubernetes>) -> Recalled {
    let updates = state.map(StateDirectory::load).unwrap_or_default();
    match kubernetes {
        Some(kubernetes) if updates.is_empty() => Recalled { updates: kubernetes.recall().await, own: false },
        _ => Recalled { updates, own: true },
    }
}

/// Where mutual TLS for xDS comes from: files, or with `--kubernetes` Secrets that xcc keeps itself.
fn tls_source(args: &ServeArgs, kubernetes: Option<&Kubernetes>, vital: &Vital) -> Option<TlsSource> {
    match (&args.xds_tls_cert, &args.xds_tls_key, &args.xds_client_ca, kubernetes) {
        (Some(cert), Some(key), Some(client_ca), _) => {
            Some(TlsSource::Files { cert: cert.clone(), key: key.clone(), client_ca: client_ca.clone() })
        }
        (_, _, _, Some(kubernetes)) if !args.xds_insecure => {
            Some(TlsSource::Secrets(kubernetes.xds_certificates(vital)))
        }
        _ => None,
    }
}

/// Where the gateway is reached: as the flags say, else as its Service says.
fn gateway_addresses(
    args: &ServeArgs,
    kubernetes: Option<&Kubernetes>,
    vital: &Vital,
) -> anyhow::Result<ServiceAddresses> {
    match kubernetes {
        Some(kubernetes) if args.gateway_addresses.is_empty() => {
            kubernetes.service_addresses(&args.gateway_service, vital)
        }
        _ => Ok(watch::channel(Some(args.gateway_addresses.clone())).1),
    }
}

/// Where resolvers reach DNS: as the flags say, else as its Service says.
fn name_server_addresses(
    args: &ServeArgs,
    kubernetes: Option<&Kubernetes>,
    vital: &Vital,
) -> anyhow::Result<ServiceAddresses> {
    match kubernetes {
        Some(kubernetes) if args.dns.dns_name_server.is_empty() => {
            kubernetes.service_addresses(&args.dns.dns_service, vital)
        }
        _ => Ok(watch::channel(Some(args.dns.name_server())).1),
    }
}

/// In Kubernetes each gateway has its stream to one of several replicas.
fn gate(args: &ServeArgs) -> Gate {
    let gate = Gate::new(args.withdraw_delay());
    if args.kubernetes { gate.replicated() } else { gate }
}

/// What names may be imported.
pub(crate) fn import_policy(gateway: &GatewayArgs, addresses: &[IpAddr]) -> ImportPolicy {
    ImportPolicy { zones: gateway.zones.clone(), gateway_addresses: addresses.iter().copied().collect() }
}

/// How gateways carry them.
pub(crate) fn gateway_config(gateway: &GatewayArgs) -> GatewayConfig {
    GatewayConfig {
        buffer_limit_bytes: gateway.gateway_buffer_limit,
        ..GatewayConfig::new(gateway.gateway_bind, gateway.gateway_port_offset)
    }
}

/// The zones without any names, whose name server's addresses are not known yet.
pub(crate) fn zones(gateway: &GatewayArgs, addresses: &[IpAddr]) -> Zones {
    let config = ZoneConfig {
        apexes: gateway.zones.clone(),
        ttl_seconds: gateway.dns_ttl_seconds,
        name_server_addresses: vec![],
    };
    Zones::new(&config).with_addresses(addresses)
}

/// A token that is cancelled by SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(token)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use xcc_model::{RemoteName, RemoteSet};

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_buffer_limit_of_the_flag_reaches_the_clusters() {
        let limit_of = |flags: &[&str]| {
            let arguments = ["xcc", "translate", "-f", "-"].iter().chain(flags);
            let Command::Translate(args) = Cli::try_parse_from(arguments).unwrap().command else { panic!() };
            let remotes = RemoteSet::new([RemoteName::parse("east").unwrap()]).unwrap();
            let upstream = xcc_envoy::Upstream { remotes, port: 443.try_into().unwrap() };
            let cluster = xcc_envoy::cluster(&upstream, &gateway_config(&args.gateway));
            cluster.per_connection_buffer_limit_bytes.unwrap().value
        };
        assert_eq!(limit_of(&[]), GatewayConfig::BUFFER_LIMIT_BYTES);
        assert_eq!(limit_of(&["--gateway-buffer-limit", "32768"]), 32_768);
    }
}
