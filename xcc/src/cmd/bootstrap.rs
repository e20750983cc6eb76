//! `xcc bootstrap`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use xcc_envoy::{BootstrapConfig, BootstrapTls, sds_files};

use crate::cli::BootstrapArgs;

/// The bootstrap's own name in an output directory.
const BOOTSTRAP_FILE: &str = "bootstrap.yaml";

/// Prints the bootstrap that makes an ordinary Envoy a gateway of xcc, or writes it into a directory.
pub(crate) fn run(args: &BootstrapArgs) -> anyhow::Result<ExitCode> {
    let config = config(args);
    let bootstrap = super::render(&xcc_envoy::yaml::to_value(&xcc_envoy::bootstrap(&config))?, args.output)?;
    let Some(directory) = &args.output_directory else {
        super::print(&bootstrap)?;
        return Ok(ExitCode::SUCCESS);
    };
    write(directory, BOOTSTRAP_FILE, &bootstrap)?;
    for file in sds_files(&config)? {
        write(directory, file.name, &file.content)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn config(args: &BootstrapArgs) -> BootstrapConfig {
    let mut config = BootstrapConfig::new(&args.node_id, args.xds_addresses.clone());
    config.node_cluster.clone_from(&args.node_cluster);
    config.admin_address = Some(args.admin_address);
    config.ready_address = args.ready_address;
    if let (Some(ca), Some(cert), Some(key)) = (&args.tls_ca, &args.tls_cert, &args.tls_key) {
        config.tls = Some(BootstrapTls {
            ca_file: ca.clone(),
            cert_file: cert.clone(),
            key_file: key.clone(),
            server_name: args.tls_server_name.clone(),
            sds_directory: args.output_directory.as_ref().map(|directory| directory.display().to_string()),
        });
    }
    config
}

fn write(directory: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    let path = directory.join(name);
    std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
}
