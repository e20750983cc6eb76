//! The connected clients and where each stands, for status pages and for whoever waits for ACKs.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Serialize, Serializer};
use tokio::{sync::watch, time::Instant};

use crate::{
    node::NodeInfo, response::Variant, status::TypeStatus, type_url::TypeUrl, version::ResourceVersion,
};

/// One connected client: one stream. An Envoy with ADS has one; with per-type services it has one for each type.
#[derive(Clone, Debug, Serialize)]
pub struct ClientStatus {
    /// Number of the stream, unique while the server lives.
    pub id: u64,
    /// `node.id` of the client.
    pub node_id: String,
    /// `node.cluster` of the client.
    pub node_cluster: String,
    /// `node.user_agent_name` of the client.
    pub user_agent_name: String,
    /// `node.user_agent_version` of the client.
    pub user_agent_version: String,
    /// The address of the client.
    pub peer: Option<SocketAddr>,
    /// `delta` or `sotw`.
    pub variant: &'static str,
    /// How long it has been connected; seconds when serialised.
    #[serde(serialize_with = "seconds")]
    pub connected_for: Duration,
    /// Where it stands with each type that it asked for.
    pub types: BTreeMap<TypeUrl, TypeStatus>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// A version of a resource that connected clients refuse, see [`Clients::refusals`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    /// The type of the resource.
    pub type_url: TypeUrl,
    /// Its name.
    pub name: Arc<str>,
    /// The version that is refused.
    pub version: ResourceVersion,
    /// The error text of one of the clients.
    pub message: Arc<str>,
    /// How many clients refuse it.
    pub clients: usize,
}

/// The connected clients; clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    connected: Mutex<BTreeMap<u64, Arc<Connected>>>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Connected {
    since: Instant,
    status: Mutex<ClientStatus>,
}

impl Clients {
    /// All connected clients, oldest first.
    pub fn list(&self) -> Vec<ClientStatus> {
        let connected: Vec<_> = lock(&self.inner.connected).values().cloned().collect();
        connected
            .iter()
            .map(|client| {
                let connected_for = client.since.elapsed();
                ClientStatus { connected_for, ..lock(&client.status).clone() }
            })
            .collect()
    }

    /// Which resources are refused by clients that are connected, at versions that are still current, in the order of types
    /// and names.
    ///
    /// The server finds out by itself which of several resources a client refuses, and serves the others. Where one
    /// resource stands for many things (a Listener with thousands of names), this tells the caller to look further: publish
    /// a snapshot whose resource lacks half of what changed, and see whether that one is ACKed or refused. A resource is
    /// listed as soon as it alone is known to be refused, and no longer once no connected client is at that version.
    /// [`changed`](Self::changed) tells when to look again.
    pub fn refusals(&self) -> Vec<Refusal> {
        let connected: Vec<_> = lock(&self.inner.connected).values().cloned().collect();
        let mut refusals: BTreeMap<_, Refusal> = BTreeMap::new();
        for client in connected {
            for (type_url, status) in &lock(&client.status).types {
                for (name, parked) in &status.parked {
                    let key = (type_url.clone(), Arc::clone(name), parked.version.clone());
                    let refusal = refusals.entry(key).or_insert_with(|| Refusal {
                        type_url: type_url.clone(),
                        name: Arc::clone(name),
                        version: parked.version.clone(),
                        message: Arc::clone(&parked.message),
                        clients: 0,
                    });
                    refusal.clients += 1;
                }
            }
        }
        refusals.into_values().collect()
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        lock(&self.inner.connected).len()
    }

    /// Whether none is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes whenever a client connects or disconnects, or what it holds does: after each response, ACK and NACK.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    fn tick(&self) {
        self.inner.changed.send_modify(|ticks| *ticks = ticks.wrapping_add(1));
    }

    /// Lists a client until the handle is dropped.
    pub(crate) fn connect(&self, id: u64, variant: Variant, node: &NodeInfo) -> ClientHandle {
        let status = ClientStatus {
            id,
            node_id: node.id.clone(),
            node_cluster: node.cluster.clone(),
            user_agent_name: node.user_agent_name.clone(),
            user_agent_version: node.user_agent_version.clone(),
            peer: node.peer_addr,
            variant: variant.as_str(),
            connected_for: Duration::ZERO,
            types: BTreeMap::new(),
        };
        let connected = Arc::new(Connected { since: Instant::now(), status: Mutex::new(status) });
        lock(&self.inner.connected).insert(id, Arc::clone(&connected));
        self.tick();
        ClientHandle { clients: self.clone(), id, connected }
    }
}

/// A client's entry in the list; dropping it removes the client.
#[derive(Debug)]
pub(crate) struct ClientHandle {
    clients: Clients,
    id: u64,
    connected: Arc<Connected>,
}

impl ClientHandle {
    /// Replaces the status of the given types.
    pub(crate) fn update<'a>(&self, statuses: impl Iterator<Item = (&'a TypeUrl, TypeStatus)>) {
        let mut statuses = statuses.peekable();
        if statuses.peek().is_none() {
            return;
        }
        {
            let mut status = lock(&self.connected.status);
            for (type_url, new) in statuses {
                match status.types.get_mut(type_url) {
                    Some(old) => *old = new,
                    None => drop(status.types.insert(type_url.clone(), new)),
                }
            }
        }
        self.clients.tick();
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        lock(&self.clients.inner.connected).remove(&self.id);
        self.clients.tick();
    }
}

/// All values behind these locks are replaced whole, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Parked;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_listed_while_its_handle_lives() {
        let clients = Clients::default();
        let mut changed = clients.changed();
        let node = NodeInfo { id: "gateway".to_owned(), ..Default::default() };
        let handle = clients.connect(7, Variant::Delta, &node);
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        tokio::time::advance(Duration::from_secs(3)).await;
        handle.update([(&TypeUrl::Cluster, TypeStatus { wildcard: true, ..Default::default() })].into_iter());
        assert!(changed.has_changed().unwrap());
        let list = clients.list();
        assert_eq!((list[0].id, list[0].node_id.as_str()), (7, "gateway"));
        assert_eq!(list[0].connected_for, Duration::from_secs(3));
        assert!(list[0].types[&TypeUrl::Cluster].wildcard);
        let json = serde_json::to_value(&list).unwrap();
        assert_eq!(json[0]["types"][TypeUrl::Cluster.as_str()]["wildcard"], true);

        changed.mark_unchanged();
        handle.update(std::iter::empty());
        assert!(!changed.has_changed().unwrap(), "nothing changed");
        drop(handle);
        assert!(changed.has_changed().unwrap());
        assert!(clients.is_empty());
    }

    #[tokio::test]
    async fn refusals_are_counted_over_clients() {
        let clients = Clients::default();
        let parked = |names: &[(&str, &str)]| TypeStatus {
            parked: names
                .iter()
                .map(|(name, version)| {
                    let version = ResourceVersion::from(*version);
                    (Arc::from(*name), Parked { version, message: format!("{name} is bad").into() })
                })
                .collect(),
            ..Default::default()
        };
        let connect = |id, names: &[(&str, &str)]| {
            let handle = clients.connect(id, Variant::Delta, &NodeInfo::default());
            handle.update([(&TypeUrl::Listener, parked(names))].into_iter());
            handle
        };
        let one = connect(1, &[("l", "1"), ("m", "1")]);
        let _other = connect(2, &[("l", "1")]);
        let _older = connect(3, &[("l", "0")]);
        let brief = || -> Vec<String> {
            let refusals = clients.refusals();
            refusals.iter().map(|r| format!("{}@{} {} {}", r.name, r.version, r.clients, r.message)).collect()
        };
        assert_eq!(brief(), ["l@0 1 l is bad", "l@1 2 l is bad", "m@1 1 m is bad"]);
        drop(one);
        assert_eq!(brief(), ["l@0 1 l is bad", "l@1 1 l is bad"]);
    }
}
