//! A real Envoy: the process and its admin endpoint.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use http::{Method, StatusCode};

use crate::process::Process;
use crate::{admin, project, wait};

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
}

impl Envoy {
    /// Starts an Envoy of the version with the bootstrap (YAML or JSON), which must name the admin address.
    /// Bootstrap and log go into the folder.
    ///
    /// # Errors
    /// When the version cannot be installed, or the program not be started.
    pub fn spawn(
        version: &str,
        name: &str,
        bootstrap: &str,
        admin: SocketAddr,
        folder: &Path,
    ) -> Result<Self> {
        let config = folder.join(format!("{name}.bootstrap.yaml"));
        std::fs::write(&config, bootstrap).with_context(|| format!("cannot write {}", config.display()))?;
        let arguments = [
            "--config-path".as_ref(),
            config.as_os_str(),
            // Several Envoys on one machine would else share memory by their base id.
            "--disable-hot-restart".as_ref(),
            "--concurrency".as_ref(),
            "2".as_ref(),
            // What is drained is cut within the run, and not ten minutes after it.
            "--drain-time-s".as_ref(),
            "1".as_ref(),
            "--drain-strategy".as_ref(),
            "immediate".as_ref(),
            "--log-level".as_ref(),
            "info".as_ref(),
        ];
        let log = folder.join(format!("{name}.log"));
        let process = Process::spawn(name, &project::envoy(version)?, arguments, &log)?;
        Ok(Self { process, admin })
    }

    /// The admin endpoint.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until it is `LIVE`: configured, with its listeners open.
    ///
    /// # Errors
    /// When it ends or takes too long.
    pub async fn wait_live(&mut self) -> Result<()> {
        wait::until("Envoy is live", async || {
            self.process.check_running()?;
            let (status, text) = admin::fetch(Method::GET, self.admin, "/ready").await?;
            ensure!(status == StatusCode::OK, "{}", text.trim());
            Ok(Some(()))
        })
        .await
    }

    /// Whether it calls itself ready.
    ///
    /// # Errors
    /// When its admin endpoint does not answer.
    pub async fn is_live(&self) -> Result<bool> {
        Ok(admin::fetch(Method::GET, self.admin, "/ready").await?.0 == StatusCode::OK)
    }

    /// A counter or gauge; 0 when Envoy has not made it yet.
    ///
    /// # Errors
    /// When the admin endpoint does not answer with statistics.
    pub async fn stat(&self, name: &str) -> Result<u64> {
        let statistics = self.stats(&format!("^{}$", name.replace('.', "\\."))).await?;
        Ok(statistics.first().map_or(0, |(_name, value)| *value))
    }

    /// The counters and gauges whose names match a regular expression.
    ///
    /// # Errors
    /// When the admin endpoint does not answer with statistics.
    pub async fn stats(&self, filter: &str) -> Result<Vec<(String, u64)>> {
        // Of what stands in the expressions used, only these need escaping in a query.
        let filter = filter.replace('\\', "%5C").replace('^', "%5E").replace('|', "%7C").replace('+', "%2B");
        let text = admin::get(self.admin, &format!("/stats?filter={filter}")).await?;
        Ok(text
            .lines()
            .filter_map(|line| line.rsplit_once(": "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    /// The addresses of the endpoints of a cluster.
    ///
    /// # Errors
    /// When the admin endpoint does not answer with JSON.
    pub async fn endpoints(&self, cluster: &str) -> Result<BTreeSet<SocketAddr>> {
        let page = admin::get_json(self.admin, "/clusters?format=json").await?;
        let clusters = page["cluster_statuses"].as_array().into_iter().flatten();
        let hosts = clusters
            .filter(|status| status["name"] == cluster)
            .flat_map(|status| status["host_statuses"].as_array().into_iter().flatten());
        Ok(hosts.filter_map(|host| socket(&host["address"]["socket_address"])).collect())
    }

    /// A part of `/config_dump`, by resource: `dynamic_listeners`, `dynamic_active_clusters`, ...
    ///
    /// # Errors
    /// When the admin endpoint does not answer with JSON.
    pub async fn config_dump(&self, resource: &str) -> Result<serde_json::Value> {
        admin::get_json(self.admin, &format!("/config_dump?resource={resource}")).await
    }

    /// Fails if this Envoy, over its whole life, was sent something that it could not use, or waited in vain for
    /// something that was not sent.
    ///
    /// # Errors
    /// Names the counters that are not 0.
    pub async fn check_clean(&self) -> Result<()> {
        let statistics = self.stats("update_rejected|init_fetch_timeout|listener_create_failure").await?;
        for name in ["cluster_manager.cds.update_rejected", "listener_manager.lds.update_rejected"] {
            ensure!(statistics.iter().any(|(is, _value)| is == name), "envoy does not count {name}");
        }
        let bad: Vec<_> = statistics.into_iter().filter(|(_name, value)| *value != 0).collect();
        ensure!(bad.is_empty(), "envoy was sent what it could not use: {bad:?}");
        Ok(())
    }
}

/// Envoy's JSON of a socket address.
fn socket(address: &serde_json::Value) -> Option<SocketAddr> {
    let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
    Some(SocketAddr::new(address["address"].as_str()?.parse().ok()?, port))
}

/// Has an Envoy look at a configuration without running it (`--mode validate`).
///
/// # Errors
/// When it refuses the file: its last words.
pub fn validate(version: &str, file: &Path) -> Result<()> {
    let output = Command::new(project::envoy(version)?)
        .args(["--mode", "validate", "--disable-hot-restart", "--log-level", "error", "--config-path"])
        .arg(file)
        .output()
        .context("cannot start envoy")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "envoy {version} refuses {}: {}", file.display(), words.trim());
    Ok(())
}
