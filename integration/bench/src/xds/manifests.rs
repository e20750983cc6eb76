//! The benchmark's services and nodes as manifests, one folder for each remote: the input of `xcc serve`.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::world::{NODES, PORT, REMOTES, address, changed_address, hostname, remote};

/// Services of one file.
const SERVICES_PER_FILE: usize = 1000;

/// Writes so many services and all nodes below the folder.
pub fn write(folder: &Path, services: usize) -> Result<()> {
    for number in 0..REMOTES {
        std::fs::create_dir_all(folder.join(remote(number)))?;
        write_nodes(folder, number, 0)?;
    }
    let mut files = vec![(String::new(), 0_usize); REMOTES];
    for service in 0..services {
        let (text, count) = &mut files[service % REMOTES];
        text.push_str(&proxy(service)?);
        *count += 1;
        if *count % SERVICES_PER_FILE == 0 {
            let file = format!("services-{:03}.yaml", *count / SERVICES_PER_FILE);
            std::fs::write(folder.join(remote(service % REMOTES)).join(file), std::mem::take(text))?;
        }
    }
    for (number, (text, _)) in files.into_iter().enumerate().filter(|(_, (text, _))| !text.is_empty()) {
        std::fs::write(folder.join(remote(number)).join("services-last.yaml"), text)?;
    }
    Ok(())
}

/// Adds a service in a file of its own.
pub fn add(folder: &Path, service: usize) -> Result<()> {
    replace(&folder.join(remote(service % REMOTES)), &format!("added-{service}.yaml"), &proxy(service)?)
}

/// Writes the nodes of a remote; its first one has another address after each change.
pub fn write_nodes(folder: &Path, number: usize, changes: u32) -> Result<()> {
    let mut text = String::new();
    for node in 0..NODES {
        let address = match changes {
            1.. if node == 0 => changed_address(number, changes),
            _ => address(number, node),
        };
        write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: node-{node}}}\nstatus:\n  addresses: [{{type: InternalIP, \
             address: \"{address}\"}}]\n  conditions: [{{type: Ready, status: \"True\"}}]\n"
        )?;
    }
    replace(&folder.join(remote(number)), "nodes.yaml", &text)
}

fn proxy(service: usize) -> Result<String> {
    let name = hostname(service);
    let mut text = String::new();
    write!(
        text,
        "---\napiVersion: projectcontour.io/v1\nkind: HTTPProxy\nmetadata:\n  name: service-{service:06}\n  namespace: bench\n  \
         labels: {{connectivity.tanzu.vmware.com/export: \"\"}}\nspec:\n  virtualhost:\n    fqdn: {name}\n    tls: \
         {{secretName: x}}\n  routes: [{{services: [{{name: x, port: {PORT}}}]}}]\n"
    )?;
    Ok(text)
}

fn replace(folder: &Path, name: &str, text: &str) -> Result<()> {
    let temporary = folder.join(format!(".{name}.tmp"));
    std::fs::write(&temporary, text)?;
    Ok(std::fs::rename(temporary, folder.join(name))?)
}
