//! `xcc dns-config`.

use std::process::ExitCode;

use anyhow::ensure;
use xcc_kube::dns_config::{self, DnsConfigOptions, DnsConfigReport};
use xcc_kube::importing::ImportingCluster;

use crate::cli::{DnsConfigAction, DnsConfigArgs};

/// Puts the zones into the cluster's DNS configuration, takes them out, or looks whether they are there.
pub(crate) fn run(args: &DnsConfigArgs) -> anyhow::Result<ExitCode> {
    let options = options(args);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let client = ImportingCluster::connect(None).await?.client();
        match args.action {
            DnsConfigAction::Apply => report(&dns_config::apply(&client, &options).await?)?,
            DnsConfigAction::Remove => report(&dns_config::remove(&client, &options).await?)?,
            DnsConfigAction::Check => {
                let found = dns_config::check(&client, &options).await?;
                report(&found)?;
                ensure!(
                    found.is_up_to_date(),
                    "the cluster's DNS does not send the zones to xcc: run xcc dns-config apply"
                );
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn options(args: &DnsConfigArgs) -> DnsConfigOptions {
    let mut options = DnsConfigOptions::new(args.zones.clone());
    options.dns_service.clone_from(&args.dns_service);
    options.corefile.clone_from(&args.corefile);
    options
}

fn report(report: &DnsConfigReport) -> anyhow::Result<()> {
    for config_map in &report.config_maps {
        super::print(&format!("{config_map}\n"))?;
    }
    Ok(())
}
