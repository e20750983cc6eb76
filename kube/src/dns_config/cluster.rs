//! Reads and writes the configuration of a cluster's DNS. Owns the requests; what is written is [`super::target`]'s.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::target::{self, Wish};
use super::{
    ConfigMapReport, DnsConfigError, DnsConfigOptions, DnsConfigReport, Flavour, ObjectName, Outcome,
    corefile,
};

/// How often a Service without a ClusterIP is looked at.
const SERVICE_POLL: Duration = Duration::from_millis(500);
/// How often a ConfigMap that others write at the same time is tried.
const WRITES_MAX: usize = 5;

/// Makes the cluster's DNS send queries for the zones to xcc. Writes nothing if it does already.
pub async fn apply(client: &Client, options: &DnsConfigOptions) -> Result<DnsConfigReport, DnsConfigError> {
    let servers = servers(client, options).await?;
    forward(client, options, servers, Write::Yes).await
}

/// What [`apply`] would do. Writes nothing.
pub async fn check(client: &Client, options: &DnsConfigOptions) -> Result<DnsConfigReport, DnsConfigError> {
    let servers = servers(client, options).await?;
    forward(client, options, servers, Write::No).await
}

/// Takes out whatever [`apply`] put in, and only that.
pub async fn remove(client: &Client, options: &DnsConfigOptions) -> Result<DnsConfigReport, DnsConfigError> {
    let mut config_maps = Vec::new();
    for (name, flavour) in places(options) {
        if find(client, name, flavour).await?.is_some() {
            config_maps.push(edit(client, name, flavour, Wish::Nothing, Write::Yes).await?);
        }
    }
    Ok(DnsConfigReport { servers: Vec::new(), config_maps })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Yes,
    No,
}

async fn forward(
    client: &Client,
    options: &DnsConfigOptions,
    servers: Vec<IpAddr>,
    write: Write,
) -> Result<DnsConfigReport, DnsConfigError> {
    let wish = Wish::Forward(&options.zones, &servers);
    let mut config_maps: Vec<ConfigMapReport> = Vec::new();
    for (name, flavour) in places(options) {
        // What is left of a kube-dns that CoreDNS has replaced is nobody's configuration.
        let replaced =
            flavour == Flavour::KubeDns && config_maps.iter().any(|done| done.flavour == Flavour::CoreDns);
        if !replaced && find(client, name, flavour).await?.is_some() {
            config_maps.push(edit(client, name, flavour, wish, write).await?);
        }
    }
    if config_maps.iter().all(|done| done.flavour == Flavour::NodeLocalDns) {
        return Err(DnsConfigError::UnknownDns(by_hand(options, &servers)));
    }
    Ok(DnsConfigReport { servers, config_maps })
}

/// Where each flavour has its configuration.
fn places(options: &DnsConfigOptions) -> [(&ObjectName, Flavour); 3] {
    [
        (&options.corefile, Flavour::CoreDns),
        (&options.node_local_corefile, Flavour::NodeLocalDns),
        (&options.kube_dns, Flavour::KubeDns),
    ]
}

async fn find(
    client: &Client,
    name: &ObjectName,
    flavour: Flavour,
) -> Result<Option<ConfigMap>, DnsConfigError> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), &name.namespace);
    let found = match config_maps.get_opt(&name.name).await {
        Ok(found) => found,
        // Few clusters have a node-local cache: who may not look for one most likely has none.
        Err(kube::Error::Api(status)) if flavour == Flavour::NodeLocalDns && status.is_forbidden() => {
            debug!(config_map = %name, "not allowed to look for a node-local DNS cache");
            None
        }
        Err(error) => return Err(api_error("read ConfigMap", name)(error)),
    };
    Ok(found.filter(|config_map| target::is_configuration(config_map, flavour)))
}

async fn edit(
    client: &Client,
    name: &ObjectName,
    flavour: Flavour,
    wish: Wish<'_>,
    write: Write,
) -> Result<ConfigMapReport, DnsConfigError> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), &name.namespace);
    for _ in 0..WRITES_MAX {
        let mut config_map = config_maps.get(&name.name).await.map_err(api_error("read ConfigMap", name))?;
        let outcome = target::edit(&mut config_map, name, flavour, wish)?;
        let done = ConfigMapReport { config_map: name.clone(), flavour, outcome };
        if outcome == Outcome::UpToDate || write == Write::No {
            return Ok(done);
        }
        // The object carries its resourceVersion: what another has written in the meantime is not overwritten.
        match config_maps.replace(&name.name, &PostParams::default(), &config_map).await {
            Ok(_) => return Ok(done),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return Err(api_error("write ConfigMap", name)(error)),
        }
    }
    Err(DnsConfigError::Conflict(name.clone()))
}

/// The Service's first ClusterIP. Its family is the cluster's first: every pod can reach it, those of the DNS included.
async fn servers(client: &Client, options: &DnsConfigOptions) -> Result<Vec<IpAddr>, DnsConfigError> {
    let name = &options.dns_service;
    let services = Api::<Service>::namespaced(client.clone(), &name.namespace);
    let deadline = Instant::now() + options.service_wait;
    loop {
        let service = services.get_opt(&name.name).await.map_err(api_error("read Service", name))?;
        let address = service.and_then(|service| service.spec).and_then(|spec| spec.cluster_ip);
        // A headless Service has the word None there.
        if let Some(address) = address.and_then(|address| address.parse().ok()) {
            return Ok(vec![address]);
        }
        if Instant::now() >= deadline {
            return Err(DnsConfigError::NoClusterIp { service: name.clone(), waited: options.service_wait });
        }
        sleep(SERVICE_POLL).await;
    }
}

fn api_error(action: &str, name: &ObjectName) -> impl FnOnce(kube::Error) -> DnsConfigError {
    let action = format!("{action} {name}");
    move |source| DnsConfigError::Api { action, source: Box::new(source) }
}

/// What a person can do in a cluster whose DNS is not known.
fn by_hand(options: &DnsConfigOptions, servers: &[IpAddr]) -> String {
    let block = match corefile::apply("", &options.zones, servers) {
        Ok(super::Edit::Added(block)) => block,
        _ => String::new(),
    };
    format!(
        "neither ConfigMap {} with a Corefile nor ConfigMap {} is there; if CoreDNS has its Corefile in another one, name \
         it (RKE2: kube-system/rke2-coredns-rke2-coredns, Helm: kube-system/<release>-coredns); if others manage the file \
         and would overwrite it, put this block where they take additions (AKS and k3s: ConfigMap \
         kube-system/coredns-custom, key xcc.server; RKE2: a HelmChartConfig; OpenShift: spec.servers of \
         dns.operator/default):\n{block}",
        options.corefile, options.kube_dns
    )
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
