//! The journey: from a service that nobody outside knows to one that is reachable by name, and back.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use http::{StatusCode, Version};
use xcc_integration::client::Refusal;
use xcc_integration::manifests::HttpProxy;
use xcc_integration::resolver::Resolution;
use xcc_integration::wait;
use xcc_integration::world::World;

use crate::example::{self, FQDN};
use crate::terminal::Terminal;

/// A name that only `west` exports.
const WEST: &str = "west.xcc.test";

/// The manifest of `west`'s share of the name that both export.
const WEST_NGINX_FILE: &str = "nginx.yaml";

pub(crate) struct Journey<'a> {
    pub(crate) terminal: &'a Terminal,
    pub(crate) world: &'a mut World,
}

impl Journey<'_> {
    pub(crate) async fn walk(&mut self, envoy: &str) -> Result<()> {
        let terminal = self.terminal;
        example::deploy(self.world)?;
        terminal
            .step(&format!("an Envoy {envoy} with the bootstrap of `xcc bootstrap` is the gateway"), async {
                self.world.start_gateway().await
            })
            .await?;
        self.before_the_label().await?;
        self.with_the_label().await?;
        self.both_remotes().await?;
        self.what_stays_closed().await?;
        self.without_the_label().await
    }

    async fn before_the_label(&self) -> Result<()> {
        self.terminal
            .heading(&format!("Before the label: {FQDN} runs in the remote east, and nobody here knows"));
        self.terminal.step(&format!("{FQDN} does not exist (NXDOMAIN)"), self.world.wait_gone(FQDN)).await
    }

    async fn with_the_label(&self) -> Result<()> {
        let Self { terminal, world } = self;
        terminal.heading("The label connectivity.tanzu.vmware.com/export is set on the HTTPProxy in east");
        example::export(world)?;
        terminal.step(&format!("{FQDN} resolves to the gateway"), world.wait_resolvable(FQDN)).await?;
        terminal
            .step("HTTP/2 200 end to end, verified with nginx' own certificate, x-cluster: east", async {
                self.answered_by(FQDN, "east").await
            })
            .await?;
        terminal
            .step("AAAA of the name is an empty answer (NODATA), not a lie", async {
                let answer = world.resolver.resolve_type(FQDN, RecordType::AAAA).await?;
                ensure!(answer == Resolution::NoData, "{answer:?}");
                Ok(())
            })
            .await
    }

    async fn both_remotes(&self) -> Result<()> {
        let Self { terminal, world } = self;
        terminal.heading("The remote west exports, too: a name of its own, then the same name as east");
        world.west.apply("west.yaml", &HttpProxy::exported("west", WEST).manifest())?;
        terminal
            .step(&format!("{WEST} answers HTTP/2 200, x-cluster: west"), async {
                world.wait_resolvable(WEST).await?;
                self.answered_by(WEST, "west").await
            })
            .await?;
        world.west.apply(WEST_NGINX_FILE, &HttpProxy::exported("nginx", FQDN).manifest())?;
        terminal
            .step(&format!("{FQDN} is answered by east and by west"), async {
                let mut clusters = BTreeSet::new();
                wait::until("both remotes have answered", async || {
                    clusters.insert(world.client.get(FQDN, "/").await?.cluster);
                    Ok(wait::holds(clusters.len() == 2))
                })
                .await
            })
            .await
    }

    async fn what_stays_closed(&self) -> Result<()> {
        let Self { terminal, world } = self;
        let gateway = world.gateway_https();
        terminal.heading("What was not exported is closed");
        terminal
            .step("a name that nobody exported: the connection is closed", async {
                closed(world.client.probe_sni(gateway, "secret.xcc.test").await?)
            })
            .await?;
        terminal
            .step("TLS without a server name: closed", async {
                closed(world.client.probe_without_sni(gateway).await?)
            })
            .await?;
        terminal
            .step("plaintext: closed", async { closed(world.client.probe_plaintext(gateway, FQDN).await?) })
            .await?;
        terminal
            .step("a name outside the zone is refused by DNS", async {
                let answer = world.resolver.resolve("example.com").await?;
                ensure!(answer == Resolution::Failure(ResponseCode::Refused), "{answer:?}");
                Ok(())
            })
            .await
    }

    async fn without_the_label(&self) -> Result<()> {
        let Self { terminal, world } = self;
        terminal.heading("The labels are removed");
        world.west.delete(WEST_NGINX_FILE)?;
        example::withdraw(world)?;
        terminal.step(&format!("{FQDN} does not exist (NXDOMAIN)"), world.wait_gone(FQDN)).await?;
        terminal
            .step("after the grace of --withdraw-delay the gateway closes it, too", async {
                wait::until("the gateway closes the name", async || {
                    closed(world.client.probe_sni(world.gateway_https(), FQDN).await?).map(Some)
                })
                .await
            })
            .await?;
        terminal
            .step(&format!("{WEST} has not noticed"), async { self.answered_by(WEST, "west").await })
            .await?;
        terminal
            .step("Envoy was never sent anything that it had to reject or waited for in vain", async {
                world.gateway()?.check_clean().await
            })
            .await
    }

    /// One request by name, as it must go at once: the name was answered, so the gateway carries it.
    async fn answered_by(&self, host: &str, remote: &str) -> Result<()> {
        let answer = self.world.client.get(host, "/hello").await?;
        ensure!(answer.version == Version::HTTP_2 && answer.status == StatusCode::OK, "{answer:?}");
        ensure!(answer.cluster == remote, "answered by {}", answer.cluster);
        ensure!(answer.body == format!("{remote} {host} /hello\n"), "{answer:?}");
        Ok(())
    }
}

fn closed(refusal: Refusal) -> Result<()> {
    ensure!(refusal == Refusal::Closed, "{refusal:?}");
    Ok(())
}
