//! The program under test: `xcc serve` as a process, and its other commands as one-time runs.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::process::Process;
use crate::{admin, project, wait};

/// What is added to a service port for the port that the gateway binds: nobody has to be root.
pub const PORT_OFFSET: u16 = 10_000;

/// What `xcc serve` is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The remotes: names and directories of manifests.
    pub remotes: Vec<(String, PathBuf)>,
    /// The gateway's addresses in DNS.
    pub gateway_addresses: Vec<IpAddr>,
    /// The address that the gateway's listeners bind.
    pub gateway_bind: IpAddr,
    /// Where xDS is served.
    pub xds: SocketAddr,
    /// Where DNS is served.
    pub dns: SocketAddr,
    /// Where the admin endpoint is served.
    pub admin: SocketAddr,
    /// The TTL of DNS answers, in seconds.
    pub dns_ttl_seconds: u32,
    /// How long the gateway keeps a withdrawn name.
    pub withdraw_delay: Duration,
}

impl Settings {
    /// The command line.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["serve".into()];
        let mut flag = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        for (name, directory) in &self.remotes {
            let mut remote = OsString::from(format!("{name}=dir:"));
            remote.push(directory);
            flag("--remote", remote);
        }
        for address in &self.gateway_addresses {
            flag("--gateway-address", address.to_string().into());
        }
        flag("--gateway-bind", self.gateway_bind.to_string().into());
        flag("--gateway-port-offset", PORT_OFFSET.to_string().into());
        flag("--xds-listen", self.xds.to_string().into());
        flag("--dns-listen", self.dns.to_string().into());
        flag("--admin-listen", self.admin.to_string().into());
        flag("--dns-ttl", self.dns_ttl_seconds.to_string().into());
        flag("--withdraw-delay", self.withdraw_delay.as_secs_f64().to_string().into());
        flag("--log-format", "text".into());
        arguments
    }
}

/// A running `xcc serve`.
#[derive(Debug)]
pub struct Xcc {
    process: Process,
    settings: Settings,
    log: PathBuf,
}

impl Xcc {
    /// Starts it; its log goes into the folder.
    ///
    /// # Errors
    /// When it does not build or cannot be started.
    pub fn spawn(settings: Settings, folder: &Path) -> Result<Self> {
        let log = folder.join("xcc.log");
        let process = Process::spawn("xcc", project::xcc()?, settings.arguments(), &log)?;
        Ok(Self { process, settings, log })
    }

    /// Kills it with SIGKILL and starts another with the same settings.
    ///
    /// # Errors
    /// When it cannot be started again.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill()?;
        self.start_again()
    }

    /// Starts another one after this one has ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = Process::spawn("xcc", project::xcc()?, self.settings.arguments(), &self.log)?;
        Ok(())
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until the admin endpoint answers.
    ///
    /// # Errors
    /// When it ends or takes too long.
    pub async fn wait_live(&mut self) -> Result<()> {
        wait::until("xcc is live", async || {
            self.process.check_running()?;
            admin::get(self.settings.admin, "/livez").await.map(|_text| Some(()))
        })
        .await
    }

    /// Waits until it is ready: every remote has told its state and a gateway has taken it.
    ///
    /// # Errors
    /// When it ends or takes too long: what `/readyz` says is missing.
    pub async fn wait_ready(&mut self) -> Result<()> {
        wait::until("xcc is ready", async || {
            self.process.check_running()?;
            let (status, text) = self.readiness().await?;
            ensure!(status == StatusCode::OK, "{}", text.trim());
            Ok(Some(()))
        })
        .await
    }

    /// Status and text of `/readyz`.
    ///
    /// # Errors
    /// When the admin endpoint does not answer.
    pub async fn readiness(&self) -> Result<(StatusCode, String)> {
        admin::fetch(Method::GET, self.settings.admin, "/readyz").await
    }

    /// The page of metrics.
    ///
    /// # Errors
    /// When the admin endpoint does not answer.
    pub async fn metrics(&self) -> Result<String> {
        admin::get(self.settings.admin, "/metrics").await
    }

    /// One of the pages `/debug/{table,snapshot,clients,zone}`.
    ///
    /// # Errors
    /// When the admin endpoint does not answer with JSON.
    pub async fn debug(&self, page: &str) -> Result<Value> {
        admin::get_json(self.settings.admin, &format!("/debug/{page}")).await
    }

    /// The bootstrap that `xcc bootstrap` prints for a gateway of this control plane.
    ///
    /// # Errors
    /// When it prints none.
    pub fn bootstrap(&self, node_id: &str, admin: SocketAddr) -> Result<String> {
        let output = run([
            "bootstrap",
            "--node-id",
            node_id,
            "--node-cluster",
            "xcc-gateway",
            "--xds-address",
            &self.settings.xds.to_string(),
            "--admin-address",
            &admin.to_string(),
        ])?;
        ensure!(output.status.success(), "xcc bootstrap: {}", String::from_utf8_lossy(&output.stderr).trim());
        String::from_utf8(output.stdout).context("xcc bootstrap printed what is not text")
    }
}

/// Runs `xcc` to its end.
///
/// # Errors
/// When it does not build or cannot be started.
pub fn run(arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Result<Output> {
    let mut command = Command::new(project::xcc()?);
    command.args(arguments);
    for (name, _value) in
        std::env::vars_os().filter(|(name, _value)| name.as_encoded_bytes().starts_with(b"XCC_"))
    {
        command.env_remove(name);
    }
    command.output().context("cannot start xcc")
}
