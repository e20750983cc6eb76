//! How to try the running demo by hand, as commands that work as they are printed.

use std::path::PathBuf;

use xcc_integration::world::World;

use crate::example::{FILE, FQDN};
use crate::terminal::Terminal;

/// Where the certificate of the services' authority is put, for curl.
pub(crate) fn ca_file(world: &World) -> PathBuf {
    world.scratch.path().join("ca.pem")
}

pub(crate) fn explain(terminal: &Terminal, world: &World) {
    let settings = world.xcc.settings();
    let dns = settings.dns;
    let gateway = world.gateway_https();
    let dig = format!("dig +norec @{} -p {} {FQDN}", dns.ip(), dns.port());
    let manifest = world.east.directory().join(FILE);

    terminal.heading("Try it by hand");
    terminal.command("the name, as xcc answers it", &dig);
    terminal.command(
        "the service, through the gateway that DNS names",
        &format!(
            "curl -i --cacert {} --connect-to {FQDN}:443:$({dig} +short):{} https://{FQDN}/hello",
            ca_file(world).display(),
            gateway.port(),
        ),
    );
    terminal.command(
        "take the export label away, or change anything else, and ask again",
        &format!("${{EDITOR:-vi}} {}", manifest.display()),
    );
    terminal.command("what xcc knows and does", &format!("curl -s http://{}/debug/table", settings.admin));
    terminal.command("", &format!("curl -s http://{}/debug/clients", settings.admin));
    terminal.command("", &format!("curl -s http://{}/metrics", settings.admin));
    if let Ok(gateway) = world.gateway() {
        terminal.command("what Envoy was given", &format!("curl -s http://{}/config_dump", gateway.admin()));
        terminal.command("", &format!("curl -s http://{}/clusters", gateway.admin()));
    }
    terminal.command("the logs", &format!("tail -f {}/*.log", world.logs().display()));
    terminal.line("\nCtrl-C stops everything.");
}
