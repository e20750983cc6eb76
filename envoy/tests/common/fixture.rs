//! A service table as a small YAML file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use xcc_envoy::GatewayConfig;
use xcc_model::{Backend, Hostname, RemoteName, RemoteSet, Route, ServiceImport, ServicePort, ServiceTable};

/// The content of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Case {
    gateway: Gateway,
    #[serde(default)]
    remotes: BTreeMap<String, Remote>,
    /// Name -> service port -> remotes.
    #[serde(default)]
    names: BTreeMap<String, BTreeMap<u16, Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Gateway {
    bind: IpAddr,
    port_offset: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remote {
    #[serde(default)]
    priority: u32,
    endpoints: BTreeSet<SocketAddr>,
}

impl Case {
    /// Reads a file.
    pub fn parse(text: &str) -> Self {
        serde_saphyr::from_str(text).unwrap()
    }

    pub fn config(&self) -> GatewayConfig {
        GatewayConfig::new(self.gateway.bind, self.gateway.port_offset)
    }

    pub fn table(&self) -> ServiceTable {
        let names = self.names.iter().map(|(name, routes)| {
            let routes = routes.iter().map(|(port, remotes)| (*port, remotes.clone()));
            (name.clone(), routes.collect())
        });
        let backends = self.remotes.iter().map(|(name, remote)| {
            (name.clone(), Backend { priority: remote.priority, endpoints: remote.endpoints.clone() })
        });
        table(names, backends)
    }
}

/// Builds a table.
pub fn table(
    names: impl IntoIterator<Item = (String, Vec<(u16, Vec<String>)>)>,
    backends: impl IntoIterator<Item = (String, Backend)>,
) -> ServiceTable {
    let route = |(port, remotes): (u16, Vec<String>)| Route {
        port: ServicePort::new(port).unwrap(),
        remotes: RemoteSet::new(remotes.iter().map(|name| RemoteName::parse(name).unwrap())).unwrap(),
    };
    let import = |(name, routes): (String, Vec<(u16, Vec<String>)>)| {
        let routes = routes.into_iter().map(route).collect();
        (Hostname::parse(&name).unwrap(), ServiceImport { routes, origins: Vec::new() })
    };
    ServiceTable {
        imports: names.into_iter().map(import).collect(),
        backends: backends
            .into_iter()
            .map(|(name, backend)| (RemoteName::parse(&name).unwrap(), backend))
            .collect(),
    }
}

/// A table of many names over ten remotes, one in ten of them a wildcard.
pub fn many_names(count: usize) -> ServiceTable {
    let names = (0..count).map(|number| {
        let wildcard = if number % 10 == 9 { "*." } else { "" };
        let mut remotes = vec![format!("remote-{}", number % 10)];
        if number % 7 == 0 {
            remotes.push(format!("remote-{}", (number + 3) % 10));
        }
        (format!("{wildcard}service-{number}.team-{}.xcc.test", number % 100), vec![(443, remotes)])
    });
    let backends = (0..10_u8).map(|remote| {
        let endpoints = (1..=5_u8).map(|node| SocketAddr::from(([10, remote, 0, node], 443))).collect();
        (format!("remote-{remote}"), Backend { priority: u32::from(remote / 5), endpoints })
    });
    table(names, backends)
}

/// A folder below the crate's.
pub fn folder(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
