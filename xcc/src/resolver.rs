//! Which snapshot a gateway is served: by what its Envoy can do, and by what its certificate allows.

use tonic::Status;
use xcc_envoy::MatcherForm;
use xcc_xds::{NodeInfo, NodeResolver, Peer, SnapshotStore};

use crate::publisher::Stores;
use crate::xds_listener::certificate_names;

/// Chooses by the node's advertised extensions. Over mutual TLS the client's certificate must name the node's cluster
/// or the node itself.
#[derive(Debug, Clone)]
pub(crate) struct GatewayResolver {
    stores: Stores,
}

impl GatewayResolver {
    pub(crate) fn new(stores: Stores) -> Self {
        Self { stores }
    }
}

impl NodeResolver for GatewayResolver {
    fn resolve(&self, node: &NodeInfo) -> Result<SnapshotStore, Status> {
        let peer = node.connection.get::<Peer>();
        if let Some(certificate) = peer.and_then(|peer| peer.certificate.as_deref())
            && !certificate_names(certificate, &node.cluster)
            && !certificate_names(certificate, &node.id)
        {
            return Err(Status::permission_denied(format!(
                "the client certificate names neither node cluster {:?} nor node id {:?}",
                node.cluster, node.id
            )));
        }
        let form = MatcherForm::for_extensions(node.extensions.iter().map(String::as_str));
        Ok(self.stores.want(form).clone())
    }
}
