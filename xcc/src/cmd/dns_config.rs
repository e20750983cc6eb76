//! `xcc dns-config`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use xcc_kube::dns_config::{self, DnsConfigOptions, DnsConfigReport};
use xcc_kube::importing::ImportingCluster;

use crate::cli::{DnsConfigAction, DnsConfigArgs};
use crate::soa::{self, Found, RESOLV_CONF};

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
                look_up(&options).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Asks the cluster's DNS itself, where that is possible: in one of its pods.
async fn look_up(options: &DnsConfigOptions) -> anyhow::Result<()> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return super::print("the zones were not looked up: only pods of the cluster use its DNS\n");
    }
    let mut wrong = Vec::new();
    for zone in &options.zones {
        let found = soa::look_up(Path::new(RESOLV_CONF), zone)
            .await
            .with_context(|| format!("zone {zone} cannot be looked up"))?;
        match found {
            Found::Ours => super::print(&format!("zone {zone} is {found}\n"))?,
            other => wrong.push(format!("zone {zone}: {other}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
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
