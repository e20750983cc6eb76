//! A Pod's volumes on disk: made before its first container, and kept as the API has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, PodSpec, ServiceAccount, Volume};
use kube::Api;
use kube::api::PostParams;

use super::atomic::{self, Payload};
use super::environment::Facts;
use super::plan::Namespaced;
use super::pod::PodShared;
use super::sandbox;
use super::volumes::{TokenWanted, Tokens, payload, tokens_wanted};

/// How often tokens are looked at for their age.
const LOOK_AFTER: Duration = Duration::from_secs(30);

/// A token is replaced when this part of its life (in hundredths) is over, as with the kubelet.
const TOKEN_LIFE_PERCENT: i64 = 80;

/// The volumes of one Pod.
#[derive(Debug)]
pub struct Volumes {
    volumes: Vec<Volume>,
    group: Option<u32>,
    written: BTreeMap<String, Payload>,
    generation: u64,
    tokens: Tokens,
    /// When each token is to be replaced.
    renewals: BTreeMap<TokenWanted, Timestamp>,
}

impl Volumes {
    /// The volumes of a Pod, none of them made.
    pub fn new(spec: &PodSpec) -> Self {
        let group = spec.security_context.as_ref().and_then(|context| context.fs_group);
        Self {
            volumes: spec.volumes.clone().unwrap_or_default(),
            group: group.and_then(|group| u32::try_from(group).ok()),
            written: BTreeMap::new(),
            generation: 0,
            tokens: Tokens::new(),
            renewals: BTreeMap::new(),
        }
    }

    /// Makes what is not there and writes what has changed.
    ///
    /// # Errors
    /// When something is missing in the API, or of a kind that is not supported.
    pub async fn write(&mut self, shared: &PodShared) -> Result<()> {
        let pod = shared.pod();
        self.renew_tokens(shared, &pod).await?;
        let (namespace, _name, _uid) = sandbox::identity(&pod);
        let sandbox = shared.sandbox()?;
        let host_ips = shared.context.network.addresses().both();
        let facts = Facts { pod: &pod, pod_ips: sandbox.pod_ips(), host_ips: &host_ips };
        let lookup = Namespaced { mirror: &shared.context.mirror, namespace };
        for volume in &self.volumes {
            let failed = || format!("MountVolume.SetUp failed for volume \"{}\"", volume.name);
            let files = payload(volume, facts, &lookup, &self.tokens).with_context(failed)?;
            let known = self.written.get(&volume.name);
            if known.is_some() && (files.is_none() || files.as_ref() == known) {
                continue;
            }
            let folder = sandbox.make_volume(&shared.context, volume, self.group).with_context(failed)?;
            if let Some(files) = &files {
                self.generation += 1;
                atomic::write(&folder, &self.generation.to_string(), files, self.group)
                    .with_context(failed)?;
            }
            self.written.insert(volume.name.clone(), files.unwrap_or_default());
        }
        Ok(())
    }

    /// Writes what changes, for as long as it is polled.
    pub async fn follow(mut self, shared: Arc<PodShared>) {
        let mut objects = shared.context.mirror.changes();
        let mut pod = shared.watch();
        loop {
            tokio::select! {
                changed = objects.changed() => if changed.is_err() { return },
                changed = pod.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_AFTER) => {}
            }
            // What has been deleted stays as it was, as with the kubelet.
            if let Err(error) = self.write(&shared).await {
                tracing::debug!(error = format!("{error:#}"), "a volume is not refreshed");
            }
        }
    }

    async fn renew_tokens(&mut self, shared: &PodShared, pod: &Pod) -> Result<()> {
        let now = Timestamp::now();
        for wanted in tokens_wanted(&self.volumes) {
            if self.renewals.get(&wanted).is_some_and(|at| now < *at) {
                continue;
            }
            let token = request_token(shared, pod, &wanted).await?;
            let life = jiff::SignedDuration::from_secs(wanted.expiration_seconds * TOKEN_LIFE_PERCENT / 100);
            self.renewals.insert(wanted.clone(), now + life);
            self.tokens.insert(wanted, token);
        }
        Ok(())
    }
}

async fn request_token(shared: &PodShared, pod: &Pod, wanted: &TokenWanted) -> Result<String> {
    let (namespace, name, uid) = sandbox::identity(pod);
    let spec = pod.spec.as_ref();
    let account = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: wanted.audience.clone().into_iter().collect(),
            expiration_seconds: Some(wanted.expiration_seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(name.to_owned()),
                uid: Some(uid.to_owned()),
            }),
        },
        ..TokenRequest::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(shared.context.client.clone(), namespace);
    let answer = api.create_token_request(account, &PostParams::default(), &request).await;
    let answer = answer.with_context(|| format!("cannot get a token of {account}"))?;
    Ok(answer.status.context("a token request has a status")?.token)
}
