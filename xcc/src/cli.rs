//! The command line: names, defaults and meaning of every flag. Nothing is done here.

mod dns;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use xcc_envoy::{GatewayConfig, MatcherForm, XdsAddress};
use xcc_kube::dns_config::{DnsConfigOptions, ObjectName};
use xcc_model::{RemoteName, ZoneName};

use self::dns::DnsArgs;
use crate::{EXIT_CONFIG, telemetry};

/// Cross-cluster Connectivity: an Envoy xDS control plane.
///
/// Labelled HTTPProxies of other clusters become reachable by name through one Envoy gateway: xcc serves the
/// gateway's configuration over xDS and answers the services' host names with its address.
#[derive(Debug, Parser)]
#[command(name = "xcc", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the control plane: watch remotes, serve xDS, DNS and the admin endpoint.
    Serve(Box<ServeArgs>),
    /// Show what serve would make of manifests: Envoy configuration, zone and diagnostics.
    ///
    /// Exit status: 0 clean, 1 with diagnostics, 2 on error.
    Translate(TranslateArgs),
    /// Print the Envoy bootstrap of a gateway.
    Bootstrap(BootstrapArgs),
    /// Print the CustomResourceDefinitions.
    Crd(CrdArgs),
    /// Put the zones into the cluster's DNS configuration, take them out again, or look whether they are there.
    ///
    /// Works on CoreDNS' Corefile or kube-dns' stubDomains, in the cluster of KUBECONFIG or of the pod it runs in.
    DnsConfig(DnsConfigArgs),
    /// Print version, commit, and the versions of Envoy and Kubernetes that are supported.
    Version,
}

/// The command that the process was started with; otherwise the exit status, after help or what is wrong was printed.
pub(crate) fn parse() -> Result<Command, ExitCode> {
    Cli::try_parse().map(|cli| cli.command).map_err(|error| {
        if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            telemetry::print_error(&anyhow::anyhow!(one_line(&error.to_string())));
            return ExitCode::from(EXIT_CONFIG);
        }
        // Help and version; a reader that went away is no failure.
        let _gone = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_CONFIG))
    })
}

/// What clap says of a wrong flag over several paragraphs, without the usage, which `--help` shows.
fn one_line(text: &str) -> String {
    let said = text.split("\n\n").take_while(|paragraph| !paragraph.starts_with("Usage:"));
    let said = said.filter(|paragraph| !paragraph.starts_with("For more information"));
    let lines: Vec<String> =
        said.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let line = lines.join("; ");
    format!("{} (see --help)", line.strip_prefix("error: ").unwrap_or(&line))
}

/// What decides how names are imported and how gateways carry them; the same offline and in service.
#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// A DNS domain to answer for; repeatable.
    #[arg(long = "zone", env = "XCC_ZONE", value_name = "DOMAIN", default_value = "xcc.test", value_delimiter = ',', value_parser = zone)]
    pub(crate) zones: Vec<ZoneName>,

    /// The address that Envoy's listeners bind.
    #[arg(long, env = "XCC_GATEWAY_BIND", value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) gateway_bind: IpAddr,

    /// Added to a service's port for the port that Envoy binds: 10000 makes 443 the port 10443.
    #[arg(long, env = "XCC_GATEWAY_PORT_OFFSET", value_name = "NUMBER", default_value_t = 0)]
    pub(crate) gateway_port_offset: u16,

    /// How much Envoy buffers for each direction of a connection before it stops reading: less memory where many clients
    /// stall, more processor time for bulk data below 128 KiB.
    #[arg(long, env = "XCC_GATEWAY_BUFFER_LIMIT", value_name = "BYTES", default_value_t = GatewayConfig::BUFFER_LIMIT_BYTES, value_parser = clap::value_parser!(u32).range(4_096..=67_108_864))]
    pub(crate) gateway_buffer_limit: u32,

    /// How long resolvers may keep an answer.
    #[arg(long = "dns-ttl", env = "XCC_DNS_TTL", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) dns_ttl_seconds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A remote to import from; repeatable. NAME=dir:PATH is a directory of manifests, watched for changes;
    /// NAME=kubeconfig:PATH[#CONTEXT] is a cluster, watched through its API server.
    #[arg(
        long = "remote",
        env = "XCC_REMOTE",
        value_name = "NAME=SOURCE",
        value_delimiter = ',',
        required_unless_present = "kubernetes"
    )]
    pub(crate) remotes: Vec<RemoteArg>,

    /// Run inside the importing cluster: remotes come from RemoteCluster objects, the gateway's address from its
    /// Service, and status is written back.
    #[arg(long, env = "XCC_KUBERNETES")]
    pub(crate) kubernetes: bool,

    /// An address of the gateway, which DNS answers with; repeatable [default with --kubernetes: those of its Service].
    #[arg(
        long = "gateway-address",
        env = "XCC_GATEWAY_ADDRESS",
        value_name = "ADDRESS",
        value_delimiter = ',', value_parser = unicast,
        required_unless_present = "kubernetes"
    )]
    pub(crate) gateway_addresses: Vec<IpAddr>,

    /// The gateway's Service.
    #[arg(
        long,
        env = "XCC_GATEWAY_SERVICE",
        value_name = "NAMESPACE/NAME",
        default_value = "cross-cluster-connectivity/xcc-gateway"
    )]
    pub(crate) gateway_service: ObjectName,

    /// Keep the zones' forward block in the cluster's DNS configuration.
    #[arg(long, env = "XCC_MANAGE_CLUSTER_DNS", requires = "kubernetes")]
    pub(crate) manage_cluster_dns: bool,

    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,

    /// Where gateways connect for xDS (gRPC).
    #[arg(long, env = "XCC_XDS_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:18000")]
    pub(crate) xds_listen: SocketAddr,

    /// Serve xDS without TLS on an address that is not loopback: whoever reaches it may read the configuration.
    #[arg(long, env = "XCC_XDS_INSECURE")]
    pub(crate) xds_insecure: bool,

    /// PEM file with the certificate chain of the xDS server; read again when it changes.
    #[arg(long, env = "XCC_XDS_TLS_CERT", value_name = "FILE", requires_all = ["xds_tls_key", "xds_client_ca"])]
    pub(crate) xds_tls_cert: Option<PathBuf>,

    /// PEM file with the private key of the xDS server.
    #[arg(long, env = "XCC_XDS_TLS_KEY", value_name = "FILE", requires = "xds_tls_cert")]
    pub(crate) xds_tls_key: Option<PathBuf>,

    /// PEM file with the authorities that gateways' certificates must come from. A gateway's certificate must
    /// name its node cluster or its node id.
    #[arg(long, env = "XCC_XDS_CLIENT_CA", value_name = "FILE", requires = "xds_tls_cert")]
    pub(crate) xds_client_ca: Option<PathBuf>,

    /// Where /livez, /readyz, /metrics and /debug are served.
    #[arg(long, env = "XCC_ADMIN_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9080")]
    pub(crate) admin_listen: SocketAddr,

    /// How long gateways keep a withdrawn name after DNS stopped answering it, in seconds [default: the TTL].
    #[arg(long, env = "XCC_WITHDRAW_DELAY", value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true)]
    pub(crate) withdraw_delay: Option<Duration>,

    /// Where the last known state is kept, so that a restart with every remote unreachable still serves it. With
    /// --kubernetes, a start without any reads what the elected replica keeps in ConfigMaps.
    #[arg(long, env = "XCC_STATE_DIR", value_name = "DIRECTORY")]
    pub(crate) state_dir: Option<PathBuf>,

    /// The form of log lines [default: text on a terminal, else json]. RUST_LOG sets the level.
    #[arg(long, env = "XCC_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    #[command(flatten)]
    pub(crate) dns: DnsArgs,
}

impl ServeArgs {
    /// How long gateways keep a withdrawn name: as long as resolvers may keep the answer, unless told otherwise.
    pub(crate) fn withdraw_delay(&self) -> Duration {
        self.withdraw_delay.unwrap_or_else(|| Duration::from_secs(self.gateway.dns_ttl_seconds.into()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct TranslateArgs {
    /// A file or directory of manifests, or - for standard input; repeatable. NAME=PATH puts it under the remote NAME.
    #[arg(short = 'f', long = "filename", value_name = "[NAME=]PATH", required = true)]
    pub(crate) files: Vec<FileArg>,

    /// How to print the result.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub(crate) output: OutputFormat,

    /// An address of the gateway, which DNS answers with; repeatable [default: 192.0.2.1, reserved for documentation].
    #[arg(
        long = "gateway-address",
        env = "XCC_GATEWAY_ADDRESS",
        value_name = "ADDRESS",
        value_delimiter = ',', value_parser = unicast
    )]
    pub(crate) gateway_addresses: Vec<IpAddr>,

    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,

    /// How names are matched: serve chooses by what a gateway's Envoy can do.
    #[arg(long, value_name = "FORM", default_value = "server-names")]
    pub(crate) matcher_form: MatcherFormArg,
}

#[derive(Debug, Args)]
pub(crate) struct CrdArgs {
    /// Write a file for each into this directory instead of printing them.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) output_directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DnsConfigArgs {
    /// What to do.
    pub(crate) action: DnsConfigAction,

    /// A DNS domain that xcc answers for; repeatable.
    #[arg(long = "zone", env = "XCC_ZONE", value_name = "DOMAIN", default_value = "xcc.test", value_delimiter = ',', value_parser = zone)]
    pub(crate) zones: Vec<ZoneName>,

    /// The Service at which xcc takes DNS queries.
    #[arg(long, env = "XCC_DNS_SERVICE", value_name = "NAMESPACE/NAME", default_value = DnsConfigOptions::DNS_SERVICE)]
    pub(crate) dns_service: ObjectName,

    /// CoreDNS' ConfigMap.
    #[arg(long, env = "XCC_COREFILE", value_name = "NAMESPACE/NAME", default_value = DnsConfigOptions::COREFILE)]
    pub(crate) corefile: ObjectName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DnsConfigAction {
    /// Add the zones, or put them right.
    Apply,
    /// Take them out again; the rest stays byte for byte.
    Remove,
    /// Change nothing; exit status 2 if they are not there or not right.
    Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Yaml,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatcherFormArg {
    /// Envoy's ServerNameMatcher, the smallest and fastest.
    ServerNames,
    /// An exact-match map with suffix matches for wildcards, for Envoys without it.
    ExactMap,
}

impl From<MatcherFormArg> for MatcherForm {
    fn from(form: MatcherFormArg) -> Self {
        match form {
            MatcherFormArg::ServerNames => Self::ServerNames,
            MatcherFormArg::ExactMap => Self::ExactMap,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct BootstrapArgs {
    /// The gateway's own id, its pod name say; unique among gateways.
    #[arg(long, env = "XCC_NODE_ID", value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) node_id: String,

    /// The group of gateways that it belongs to.
    #[arg(long, env = "XCC_NODE_CLUSTER", value_name = "NAME", default_value = "xcc-gateway")]
    pub(crate) node_cluster: String,

    /// Where xcc serves xDS, an IP address or a DNS name; repeatable.
    #[arg(
        long = "xds-address",
        env = "XCC_XDS_ADDRESS",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:18000",
        value_delimiter = ','
    )]
    pub(crate) xds_addresses: Vec<XdsAddress>,

    /// Where Envoy's own admin pages are served.
    #[arg(long, env = "XCC_ADMIN_ADDRESS", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9901")]
    pub(crate) admin_address: SocketAddr,

    /// Where /ready of the admin pages can be asked from other hosts, for probes.
    #[arg(long, env = "XCC_READY_ADDRESS", value_name = "ADDRESS:PORT")]
    pub(crate) ready_address: Option<SocketAddr>,

    /// PEM file with the authority of xcc's certificate; with the two below, xDS goes over mutual TLS.
    #[arg(long, env = "XCC_TLS_CA", value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    pub(crate) tls_ca: Option<String>,

    /// PEM file with the gateway's certificate chain; Envoy reads it again when it is replaced.
    #[arg(long, env = "XCC_TLS_CERT", value_name = "FILE", requires = "tls_ca")]
    pub(crate) tls_cert: Option<String>,

    /// PEM file with the gateway's private key.
    #[arg(long, env = "XCC_TLS_KEY", value_name = "FILE", requires = "tls_ca")]
    pub(crate) tls_key: Option<String>,

    /// The name that xcc's certificate must have [default: the hosts of --xds-address].
    #[arg(long, env = "XCC_TLS_SERVER_NAME", value_name = "NAME", requires = "tls_ca")]
    pub(crate) tls_server_name: Option<String>,

    /// Write the bootstrap and what it refers to into this directory instead of printing it. Envoy has to find it
    /// there: then it reads its certificates again when they are replaced.
    #[arg(long, env = "XCC_OUTPUT_DIRECTORY", value_name = "DIRECTORY")]
    pub(crate) output_directory: Option<PathBuf>,

    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub(crate) output: OutputFormat,
}

/// `NAME=dir:PATH` or `NAME=kubeconfig:PATH[#CONTEXT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteArg {
    pub(crate) name: RemoteName,
    pub(crate) source: RemoteSource,
}

/// Where a remote's objects come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RemoteSource {
    Directory(PathBuf),
    Kubeconfig { path: PathBuf, context: Option<String> },
}

impl FromStr for RemoteArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "want NAME=dir:PATH or NAME=kubeconfig:PATH[#CONTEXT]";
        let (name, source) = text.split_once('=').ok_or(form)?;
        let name = RemoteName::parse(name).map_err(|error| error.to_string())?;
        let (kind, path) = source.split_once(':').ok_or(form)?;
        let (path, context) = match (kind, path.rsplit_once('#')) {
            ("kubeconfig", Some((path, context))) if !context.is_empty() => (path, Some(context.to_owned())),
            _ => (path, None),
        };
        if path.is_empty() {
            return Err(format!("the path after {kind}: is empty"));
        }
        let source = match kind {
            "dir" => RemoteSource::Directory(path.into()),
            "kubeconfig" => RemoteSource::Kubeconfig { path: path.into(), context },
            _ => return Err(format!("unknown source {kind:?}: {form}")),
        };
        Ok(Self { name, source })
    }
}

/// `PATH` or `NAME=PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileArg {
    pub(crate) remote: RemoteName,
    pub(crate) path: PathBuf,
}

/// The remote that files belong to when `-f` names none.
const DEFAULT_REMOTE: &str = "remote";

impl FromStr for FileArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = match text.split_once('=') {
            // A path may have an equals sign of its own: what stands before a remote's name cannot have a slash.
            Some((name, path)) if !name.contains('/') => (name, path),
            _ => (DEFAULT_REMOTE, text),
        };
        let path = match path {
            "" => return Err("the path is empty".to_owned()),
            "-" => "/dev/stdin",
            path => path,
        };
        let remote = RemoteName::parse(name).map_err(|error| error.to_string())?;
        Ok(Self { remote, path: path.into() })
    }
}

fn zone(text: &str) -> Result<ZoneName, String> {
    ZoneName::parse(text).map_err(|error| error.to_string())
}

fn unicast(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "want an IPv4 or IPv6 address")?;
    if address.is_unspecified() || address.is_multicast() {
        return Err("nobody can connect to that address".to_owned());
    }
    Ok(address)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 =
        text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| "want seconds, as in 30 or 0.5")?;
    if (0.0..=86_400.0).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err("want between 0 seconds and a day".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_wrong_with_a_flag_is_said_in_one_line() {
        for (arguments, line) in [
            (
                vec!["serve", "--dns-ttl"],
                "a value is required for '--dns-ttl <SECONDS>' but none was supplied (see --help)",
            ),
            (
                vec!["bootstrap"],
                "the following required arguments were not provided: --node-id <ID> (see --help)",
            ),
            (
                vec!["serve", "--dns-tll", "1"],
                "unexpected argument '--dns-tll' found; tip: a similar argument exists: '--dns-ttl' (see --help)",
            ),
        ] {
            let error = Cli::try_parse_from(["xcc"].iter().chain(&arguments)).unwrap_err();
            assert_eq!(one_line(&error.to_string()), line);
        }
    }

    #[test]
    fn remotes_are_named_sources() {
        let kubeconfig = |path: &str, context: Option<&str>| RemoteSource::Kubeconfig {
            path: path.into(),
            context: context.map(str::to_owned),
        };
        for (text, source) in [
            ("east=dir:a/b=c#d", RemoteSource::Directory("a/b=c#d".into())),
            ("east=kubeconfig:a/b", kubeconfig("a/b", None)),
            ("east=kubeconfig:a/b#c", kubeconfig("a/b", Some("c"))),
        ] {
            let name = RemoteName::parse("east").unwrap();
            assert_eq!(text.parse(), Ok(RemoteArg { name, source }), "{text}");
        }
        for text in [
            "",
            "east",
            "east=",
            "east=dir:",
            "east=kubeconfig:",
            "east=ftp:x",
            "East=dir:x",
            "=dir:x",
            "a+b=dir:x",
        ] {
            assert!(text.parse::<RemoteArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn files_may_name_their_remote() {
        for (text, remote, path) in [
            ("a.yaml", "remote", "a.yaml"),
            ("east=a.yaml", "east", "a.yaml"),
            ("./a=b.yaml", "remote", "./a=b.yaml"),
            ("-", "remote", "/dev/stdin"),
        ] {
            let file: FileArg = text.parse().unwrap();
            assert_eq!((file.remote.as_str(), file.path), (remote, path.into()), "{text}");
        }
    }

    #[test]
    fn delays_are_seconds() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["-1", "x", "", "1e300", "86401", "NaN"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
