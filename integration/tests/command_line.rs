//! What a person sees who gets something wrong: one clear line and exit status 2, never a panic.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests, too")]

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use xcc_integration::loopback::Loopback;
use xcc_integration::process::{Process, tail};
use xcc_integration::scratch::Scratch;
use xcc_integration::xcc::Settings;
use xcc_integration::{manifests, project, wait, xcc};

/// Wrong flags and configuration.
const EXIT_CONFIG: i32 = 2;

struct Bench {
    scratch: Scratch,
    settings: Settings,
    _loopback: Loopback,
}

/// Settings that would work.
fn bench() -> Bench {
    let (scratch, loopback) = (Scratch::new("command-line").unwrap(), Loopback::reserve().unwrap());
    let directory = scratch.folder("east").unwrap();
    let settings = Settings {
        remotes: vec![("east".to_owned(), directory)],
        gateway_addresses: vec![loopback.address(100).into()],
        gateway_bind: loopback.address(100).into(),
        xds: loopback.socket(101, 18000).unwrap(),
        dns: loopback.socket(101, 8053).unwrap(),
        admin: loopback.socket(101, 9080).unwrap(),
        dns_ttl_seconds: 30,
        withdraw_delay: std::time::Duration::ZERO,
    };
    Bench { scratch, settings, _loopback: loopback }
}

/// Starts `xcc serve` and expects it to end by itself with one line that has all the words.
async fn refused(bench: &Bench, arguments: Vec<std::ffi::OsString>, words: &[&str]) {
    let log = bench.scratch.path().join("xcc.log");
    let mut process = Process::spawn("xcc", project::xcc().unwrap(), arguments, &log).unwrap();
    let status = process.wait(wait::PATIENCE).await.unwrap();
    let text = tail(&log);
    assert_eq!(status.code(), Some(EXIT_CONFIG), "{text}");
    let errors: Vec<&str> = text.lines().filter(|line| line.contains("error")).collect();
    assert_eq!(errors.len(), 1, "not one line with an error:\n{text}");
    for word in words {
        assert!(errors[0].contains(word), "{word:?} is not in: {}", errors[0]);
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let mut bench = bench();
    let missing = bench.scratch.path().join("nowhere");
    bench.settings.remotes = vec![("east".to_owned(), missing.clone())];
    refused(&bench, bench.settings.arguments(), &["east", missing.to_str().unwrap()]).await;
}

#[tokio::test]
async fn a_file_is_no_directory() {
    let mut bench = bench();
    let file = bench.scratch.path().join("file.yaml");
    std::fs::write(&file, "").unwrap();
    bench.settings.remotes = vec![("east".to_owned(), file.clone())];
    refused(&bench, bench.settings.arguments(), &[file.to_str().unwrap(), "directory"]).await;
}

#[tokio::test]
async fn a_taken_xds_port_is_named() {
    let bench = bench();
    let _taken = TcpListener::bind(bench.settings.xds).unwrap();
    refused(&bench, bench.settings.arguments(), &[&bench.settings.xds.to_string(), "in use"]).await;
}

#[tokio::test]
async fn a_taken_dns_udp_port_is_named() {
    let bench = bench();
    let _taken = UdpSocket::bind(bench.settings.dns).unwrap();
    refused(&bench, bench.settings.arguments(), &[&bench.settings.dns.to_string(), "in use"]).await;
}

#[tokio::test]
async fn a_taken_dns_tcp_port_is_named() {
    let bench = bench();
    let _taken = TcpListener::bind(bench.settings.dns).unwrap();
    refused(&bench, bench.settings.arguments(), &[&bench.settings.dns.to_string(), "in use"]).await;
}

#[tokio::test]
async fn a_taken_admin_port_is_named() {
    let bench = bench();
    let _taken = TcpListener::bind(bench.settings.admin).unwrap();
    refused(&bench, bench.settings.arguments(), &[&bench.settings.admin.to_string(), "in use"]).await;
}

#[tokio::test]
async fn two_remotes_of_one_name_are_refused() {
    let mut bench = bench();
    bench.settings.remotes.push(bench.settings.remotes[0].clone());
    refused(&bench, bench.settings.arguments(), &["east"]).await;
}

#[tokio::test]
async fn xds_in_the_open_wants_tls_or_a_word() {
    let mut bench = bench();
    bench.settings.xds = "0.0.0.0:0".parse().unwrap();
    refused(&bench, bench.settings.arguments(), &["--xds-insecure"]).await;
}

#[tokio::test]
async fn wrong_flags_are_refused_with_the_flag_named() {
    let bench = bench();
    for (index, (flag, value)) in [
        ("--remote", "east"),
        ("--remote", "east=ftp:x"),
        ("--remote", "UPPER=dir:."),
        ("--zone", "a..b"),
        ("--gateway-address", "gateway.example"),
        ("--gateway-port-offset", "65536"),
        ("--gateway-buffer-limit", "100"),
        ("--xds-listen", "18000"),
        ("--dns-ttl", "-1"),
        ("--withdraw-delay", "soon"),
        ("--log-format", "xml"),
        ("--no-such-flag", "x"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut arguments = bench.settings.arguments();
        arguments.push(format!("{flag}={value}").into());
        let log = bench.scratch.path().join(format!("{index}.log"));
        let mut process = Process::spawn("xcc", project::xcc().unwrap(), arguments, &log).unwrap();
        let status = process.wait(wait::PATIENCE).await.unwrap();
        let text = tail(&log);
        assert_eq!(status.code(), Some(EXIT_CONFIG), "{flag} {value}: {text}");
        assert!(text.contains(flag) && text.lines().count() == 1, "{flag} {value}: {text}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_none_is_named() {
    let bench = bench();
    let file = bench.scratch.path().join("not-a-certificate.pem");
    std::fs::write(&file, "hello\n").unwrap();
    let mut arguments = bench.settings.arguments();
    for flag in ["--xds-tls-cert", "--xds-tls-key", "--xds-client-ca"] {
        arguments.extend([flag.into(), file.clone().into()]);
    }
    refused(&bench, arguments, &["not-a-certificate.pem"]).await;
}

#[tokio::test]
async fn an_unreadable_file_in_service_is_a_diagnostic() {
    let bench = bench();
    let directory = &bench.settings.remotes[0].1;
    std::fs::write(
        directory.join("good.yaml"),
        manifests::HttpProxy::exported("good", "good.xcc.test").manifest(),
    )
    .unwrap();
    // Root may read a file whatever its mode is; what is no text nobody can.
    std::fs::write(directory.join("bad.yaml"), [0xff, 0xfe, 0x00, 0x80]).unwrap();
    let mut xcc = xcc::Xcc::spawn(bench.settings.clone(), bench.scratch.path()).unwrap();
    xcc.wait_live().await.unwrap();
    wait::until("the file is a diagnostic and the good name is in the table", async || {
        let table = xcc.debug("table").await?.to_string();
        anyhow::ensure!(table.contains("bad.yaml") && table.contains("good.xcc.test"), "{table}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    let status = xcc.process().terminate(wait::PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn translate_of_nothing_there_is_an_error() {
    let output = xcc::run(["translate", "-f", "no/such/file.yaml"]).unwrap();
    assert_eq!(output.status.code(), Some(EXIT_CONFIG));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("no/such/file.yaml") && text.lines().count() == 1, "{text}");
}

#[test]
fn translate_of_the_example_is_clean() {
    let example = project::root().join("manifests/example");
    let nodes = Scratch::new("example").unwrap();
    let file = nodes.path().join("nodes.yaml");
    std::fs::write(&file, manifests::node("node-0", std::net::IpAddr::from([10, 1, 0, 1]), true)).unwrap();
    let argument = |path: &Path| format!("east={}", path.display());
    let output = xcc::run(["translate", "-f", &argument(&example), "-f", &argument(&file)]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("nginx.xcc.test"), "{text}");
}

#[test]
fn version_and_help_are_there() {
    for arguments in [vec!["version"], vec!["--version"], vec!["--help"], vec!["serve", "--help"]] {
        let output = xcc::run(&arguments).unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
}
