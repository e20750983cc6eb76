//! A gateway that is no Envoy: it takes what it is sent and refuses what it is told to, with Envoy's words. No Envoy
//! can be brought to refuse the clusters and endpoints that xcc makes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc::Status;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

pub(crate) const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub(crate) const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
pub(crate) const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// What is refused, and with which words: by type and name. Without words it is left unanswered.
type Refused = Arc<Mutex<BTreeMap<(String, String), Option<String>>>>;

/// A connected gateway, until it is dropped.
pub(crate) struct Gateway {
    refused: Refused,
    running: JoinHandle<Result<()>>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Gateway {
    /// Connects, and subscribes to everything as an Envoy with ADS does.
    pub(crate) async fn connect(xds: SocketAddr) -> Result<Self> {
        let channel = Channel::from_shared(format!("http://{xds}"))?.connect().await?;
        let (requests, receiver) = mpsc::channel(64);
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        for type_url in [CLUSTER, LISTENER] {
            let node = Some(Node { id: "by-hand".to_owned(), ..Node::default() });
            let request = DeltaDiscoveryRequest { node, type_url: type_url.to_owned(), ..Default::default() };
            requests.send(request).await?;
        }
        let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await?.into_inner();
        let refusals = Refused::default();
        let running = tokio::spawn(run(requests, responses, refusals.clone()));
        Ok(Self { refused: refusals, running })
    }

    /// Refuses the next versions of a resource.
    pub(crate) fn refuse(&self, type_url: &str, name: &str, words: &str) {
        self.note(type_url, name, Some(words.to_owned()));
    }

    /// Answers no response that has the next versions of a resource.
    pub(crate) fn leave_unanswered(&self, type_url: &str, name: &str) {
        self.note(type_url, name, None);
    }

    fn note(&self, type_url: &str, name: &str, words: Option<String>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert((type_url.to_owned(), name.to_owned()), words);
    }

    /// Refuses nothing from now on.
    pub(crate) fn take_all(&self) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn run(
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    mut responses: Streaming<DeltaDiscoveryResponse>,
    refused: Refused,
) -> Result<()> {
    loop {
        let response = responses.message().await?.context("the stream has ended")?;
        let type_url = response.type_url.clone();
        let names: Vec<String> = response.resources.into_iter().map(|resource| resource.name).collect();
        let words = {
            let refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
            names.iter().find_map(|name| refused.get(&(type_url.clone(), name.clone())).cloned())
        };
        if type_url == CLUSTER && !names.is_empty() {
            requests
                .send(DeltaDiscoveryRequest {
                    type_url: ENDPOINTS.to_owned(),
                    resource_names_subscribe: names,
                    ..Default::default()
                })
                .await?;
        }
        let words = match words {
            Some(None) => continue,
            words => words.flatten(),
        };
        requests
            .send(DeltaDiscoveryRequest {
                type_url,
                response_nonce: response.nonce,
                error_detail: words.map(|message| Status { code: 13, message, ..Default::default() }),
                ..Default::default()
            })
            .await?;
    }
}
