//! A cluster's control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler in one namespace.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use http::StatusCode;
use kube::Client;

use crate::forward::Forward;
use crate::layout;
use crate::netns::Namespace;
use crate::pki::{self, Authority};
use crate::process::Daemon;
use crate::wait;

/// The services of every cluster: the same range in each.
pub const SERVICE_CIDRS: &str = "10.96.0.0/16,fd00:10:96::/112";
/// The address of the Service `kubernetes`: the range's first.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The address of the cluster's DNS Service, as kubeadm has it: the range's tenth.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

const API_PORT: u16 = 6443;

/// How long an API server may take to be ready on a loaded machine.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// An API server of its own beside a control plane; it ends when this is dropped.
pub struct Sibling {
    /// What it is called.
    pub name: String,
    /// A client with all rights.
    pub client: Client,
    /// A kubeconfig with all rights, to be used on nodes and in pods.
    pub kubeconfig: String,
    /// The same, to be used on the machine.
    pub forwarded_kubeconfig: String,
    _forward: Forward,
    _daemon: Daemon,
}

/// A running control plane.
pub struct ControlPlane {
    cluster: String,
    namespace: Namespace,
    address: Ipv4Addr,
    folder: PathBuf,
    authority: Authority,
    forward: Forward,
    api_server: Option<Daemon>,
    etcd: Daemon,
    controllers: Vec<Daemon>,
    client: Client,
}

impl ControlPlane {
    /// Starts all four in a namespace that has this address, and waits until the API server is ready.
    ///
    /// # Errors
    /// When one of them ends, or the API server is not ready in time.
    pub async fn start(cluster: &str, namespace: Namespace, address: Ipv4Addr) -> Result<Self> {
        let folder = layout::run().join(cluster);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let authority = Authority::new(&format!("{cluster} CA"))?;
        let forward = Forward::start(namespace.clone(), (address, API_PORT).into()).await?;
        write_keys(&authority, &folder, address)?;
        let admin = authority.client("kubernetes-admin", "system:masters")?;
        let server = format!("https://{}", forward.address());
        let kubeconfig = authority.kubeconfig(cluster, &server, "kubernetes-admin", &admin);
        write_private(&layout::kubeconfig(cluster), &kubeconfig)?;
        let client = client(&kubeconfig).await?;

        let etcd = start(cluster, &namespace, "etcd", etcd_flags(&folder))?;
        let mut control_plane = Self {
            cluster: cluster.to_owned(),
            namespace,
            address,
            folder,
            authority,
            forward,
            api_server: None,
            etcd,
            controllers: Vec::new(),
            client,
        };
        control_plane.start_api_server().await?;
        Ok(control_plane)
    }

    /// A client with all rights.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The cluster's certificate authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where the API server is, as seen from nodes and pods (of other clusters too).
    pub fn address(&self) -> SocketAddr {
        (self.address, API_PORT).into()
    }

    /// Where the API server is, as seen from the machine's own network.
    pub fn forwarded(&self) -> SocketAddr {
        self.forward.address()
    }

    /// A kubeconfig for a user (a certificate's common name) of a group, to be used on nodes and in pods.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn kubeconfig(&self, user: &str, group: &str) -> Result<String> {
        let credential = self.authority.client(user, group)?;
        Ok(self.authority.kubeconfig(
            &self.cluster,
            &format!("https://{}", self.address()),
            user,
            &credential,
        ))
    }

    /// Fails when one of the four has ended that was not stopped.
    ///
    /// # Errors
    /// Which one, with the end of its log.
    pub fn check_running(&mut self) -> Result<()> {
        self.etcd.check_running()?;
        self.api_server.iter_mut().chain(&mut self.controllers).try_for_each(Daemon::check_running)
    }

    /// Kills the API server (SIGKILL): every connection breaks, etcd and all data stay. The controllers and the
    /// scheduler end as well, as they do when they cannot renew their leases.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub async fn stop_api_server(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.api_server.take() {
            daemon.kill().await?;
        }
        for mut controller in std::mem::take(&mut self.controllers) {
            controller.kill().await?;
        }
        Ok(())
    }

    /// Starts the API server (again) and waits until it is ready; then the controllers and the scheduler.
    ///
    /// # Errors
    /// When it ends or is not ready in time.
    pub async fn start_api_server(&mut self) -> Result<()> {
        if self.api_server.is_some() {
            return Ok(());
        }
        let flags = api_server_flags(&self.folder, self.address);
        let mut daemon = start(&self.cluster, &self.namespace, "kube-apiserver", flags)?;
        await_ready(&self.cluster, &self.client, &mut daemon).await?;
        self.api_server = Some(daemon);
        self.start_controllers()
    }

    /// Starts one more API server beside this one: with the same keys and the same etcd, but with objects of its own, and
    /// nobody who looks after them. Numbers are from 1.
    ///
    /// # Errors
    /// When it ends or is not ready in time.
    pub async fn start_sibling(&self, number: u16) -> Result<Sibling> {
        let name = format!("{}-{number}", self.cluster);
        let address = SocketAddr::from((self.address, API_PORT + number));
        let mut flags = api_server_flags(&self.folder, self.address);
        // Of a flag that is given twice the last counts.
        flags.extend(self::flags(&[
            ("secure-port", &address.port().to_string()),
            ("etcd-prefix", &format!("/{name}")),
            ("endpoint-reconciler-type", "none"),
        ]));
        let forward = Forward::start(self.namespace.clone(), address).await?;
        let admin = self.authority.client("kubernetes-admin", "system:masters")?;
        let kubeconfig = |server: SocketAddr| {
            self.authority.kubeconfig(&name, &format!("https://{server}"), "kubernetes-admin", &admin)
        };
        let client = client(&kubeconfig(forward.address())).await?;
        let log = layout::logs().join(&self.cluster).join(format!("kube-apiserver-{number}.log"));
        let binary = layout::binary("kubernetes")?.display().to_string();
        let argv = [binary, "kube-apiserver".to_owned()].into_iter().chain(flags);
        let mut daemon = Daemon::start(&format!("kube-apiserver of {name}"), &self.namespace, argv, &log)?;
        await_ready(&name, &client, &mut daemon).await?;
        Ok(Sibling {
            kubeconfig: kubeconfig(address),
            forwarded_kubeconfig: kubeconfig(forward.address()),
            name: name.clone(),
            client,
            _forward: forward,
            _daemon: daemon,
        })
    }

    fn start_controllers(&mut self) -> Result<()> {
        // Both have all rights, as the API server's own tests let them have; the default roles are not our subject.
        for (user, name) in
            [("system:kube-controller-manager", "controllers"), ("system:kube-scheduler", "scheduler")]
        {
            let kubeconfig = self.kubeconfig(user, "system:masters")?;
            write_private(&self.folder.join(format!("{name}.kubeconfig")), &kubeconfig)?;
        }
        let (cluster, namespace) = (&self.cluster, &self.namespace);
        let controllers = controller_manager_flags(&self.folder);
        self.controllers.push(start(cluster, namespace, "kube-controller-manager", controllers)?);
        self.controllers.push(start(cluster, namespace, "kube-scheduler", scheduler_flags(&self.folder))?);
        Ok(())
    }
}

fn start(cluster: &str, namespace: &Namespace, name: &str, flags: Vec<String>) -> Result<Daemon> {
    let log = layout::logs().join(cluster).join(format!("{name}.log"));
    let binary = layout::binary("kubernetes")?;
    let argv = [binary.display().to_string(), name.to_owned()].into_iter().chain(flags);
    Daemon::start(&format!("{name} of {cluster}"), namespace, argv, &log)
}

async fn await_ready(name: &str, client: &Client, daemon: &mut Daemon) -> Result<()> {
    wait::until(&format!("the API server of {name} is ready"), READY_LIMIT, async || {
        if let Err(ended) = daemon.check_running() {
            return Ok(Some(Err(ended)));
        }
        let request = http::Request::get("/readyz").body(Vec::new())?;
        let response = client.send(request.map(kube::client::Body::from)).await?;
        Ok((response.status() == StatusCode::OK).then_some(Ok(())))
    })
    .await?
}

async fn client(kubeconfig: &str) -> Result<Client> {
    let kubeconfig: kube::config::Kubeconfig = serde_json::from_str(kubeconfig)?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    // Watches are long; everything else is one hop away.
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).context("cannot make a client")
}

/// Writes a file that holds a key: for its owner only.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn write_keys(authority: &Authority, folder: &Path, address: Ipv4Addr) -> Result<()> {
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let mut names: Vec<String> = names.map(str::to_owned).to_vec();
    names.extend([
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        API_SERVICE.to_string(),
        address.to_string(),
    ]);
    let server = authority.server("kube-apiserver", names)?;
    let tokens = pki::signing_key()?;
    let files = [
        ("ca.crt", authority.certificate()),
        ("ca.key", authority.key()),
        ("apiserver.crt", &server.certificate),
        ("apiserver.key", &server.key),
        ("sa.key", &tokens.private),
        ("sa.pub", &tokens.public),
    ];
    files.into_iter().try_for_each(|(name, text)| write_private(&folder.join(name), text))
}

fn etcd_flags(folder: &Path) -> Vec<String> {
    let data = folder.join("etcd");
    flags(&[
        ("name", "e2e"),
        ("data-dir", &data.display().to_string()),
        ("listen-client-urls", "http://127.0.0.1:2379"),
        ("advertise-client-urls", "http://127.0.0.1:2379"),
        ("listen-peer-urls", "http://127.0.0.1:2380"),
        ("initial-advertise-peer-urls", "http://127.0.0.1:2380"),
        ("initial-cluster", "e2e=http://127.0.0.1:2380"),
        // The data is of one run, and a crash of the machine ends the run.
        ("unsafe-no-fsync", "true"),
        ("log-level", "warn"),
    ])
}

fn api_server_flags(folder: &Path, address: Ipv4Addr) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    flags(&[
        ("etcd-servers", "http://127.0.0.1:2379"),
        ("advertise-address", &address.to_string()),
        ("bind-address", "0.0.0.0"),
        ("secure-port", &API_PORT.to_string()),
        ("tls-cert-file", &file("apiserver.crt")),
        ("tls-private-key-file", &file("apiserver.key")),
        ("client-ca-file", &file("ca.crt")),
        ("service-cluster-ip-range", SERVICE_CIDRS),
        ("authorization-mode", "Node,RBAC"),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        ("service-account-key-file", &file("sa.pub")),
        ("service-account-signing-key-file", &file("sa.key")),
        ("allow-privileged", "true"),
        ("profiling", "false"),
    ])
}

fn controller_manager_flags(folder: &Path) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    flags(&[
        ("kubeconfig", &file("controllers.kubeconfig")),
        ("bind-address", "127.0.0.1"),
        ("leader-elect", "false"),
        ("use-service-account-credentials", "false"),
        ("service-account-private-key-file", &file("sa.key")),
        ("root-ca-file", &file("ca.crt")),
        ("cluster-signing-cert-file", &file("ca.crt")),
        ("cluster-signing-key-file", &file("ca.key")),
        // The nodes come with their ranges.
        ("allocate-node-cidrs", "false"),
        // A silent node is noticed after 20 s rather than 40, so that tests of it need not take a minute.
        ("node-monitor-period", "1s"),
        ("node-monitor-grace-period", "20s"),
        ("kube-api-qps", "200"),
        ("kube-api-burst", "400"),
    ])
}

fn scheduler_flags(folder: &Path) -> Vec<String> {
    flags(&[
        ("kubeconfig", &folder.join("scheduler.kubeconfig").display().to_string()),
        ("bind-address", "127.0.0.1"),
        ("leader-elect", "false"),
        ("kube-api-qps", "200"),
        ("kube-api-burst", "400"),
    ])
}

/// Command line flags, each as one argument.
pub fn flags(flags: &[(&str, &str)]) -> Vec<String> {
    flags.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}
