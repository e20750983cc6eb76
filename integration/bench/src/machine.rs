//! What the figures were measured on and with: for people, since only ratios mean something elsewhere.

use std::process::Command;

/// A paragraph for `benchmarks.md`.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            Some(line.strip_prefix("model name")?.trim_start_matches([' ', '\t', ':']).to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let release = read("/proc/sys/kernel/osrelease");
    let kernel: Vec<&str> = release.trim().split('.').take(2).collect();
    let versions = [
        ("rustc", &["--version"][..]),
        ("go", &["version"]),
        ("nsd", &["-v"]),
        ("knotd", &["--version"]),
        ("haproxy", &["-v"]),
        ("nginx", &["-v"]),
    ];
    let versions: Vec<_> =
        versions.iter().filter_map(|(program, arguments)| version(program, arguments)).collect();
    format!(
        "Machine: {processor}, {cores} cores, Linux {}. {}; go-control-plane 0.14, Envoy 1.36.4 and 1.40.0.\n",
        kernel.join("."),
        versions.join("; ")
    )
}

/// The first line of what a program says of itself; none if it is not there.
fn version(program: &str, arguments: &[&str]) -> Option<String> {
    let path = crate::peer::find(program, program).ok()?;
    let output = Command::new(path).args(arguments).output().ok()?;
    // Some say it on standard error.
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).lines().find(|line| !line.trim().is_empty())?.trim().to_owned())
}
