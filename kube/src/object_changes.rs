//! When one named object of the API server changes, appears or goes. Owns how such a watch is kept alive; what the object
//! holds is read by those who need it, so that a missed or doubled hint does no harm.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use kube::api::{WatchEvent, WatchParams};
use kube::core::Status;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// After this the server ends a watch; it must be less than 295 (kube's own limit).
const WATCH_SECONDS: u32 = 240;
/// After this a watch that the server did not end is taken for dead.
const WATCH_SECONDS_MAX: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);
/// The pause before a watch is opened again, doubled for each that failed.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Notifies at each change, and each time that the watch is opened on an object that is there. Asks for that one object
/// by its name: permissions to watch may be narrowed to it. Never ends.
pub(crate) async fn notify_changes<K>(api: Api<K>, name: &str, changed: &Notify)
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut pause = PAUSE_MIN;
    loop {
        match timeout(WATCH_SECONDS_MAX, watch(&api, name, changed)).await {
            Ok(Err(error)) => {
                debug!(object = name, %error, "cannot watch");
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Ok(Ok(())) | Err(_) => pause = PAUSE_MIN,
        }
        sleep(pause).await;
    }
}

/// One watch, until it ends or fails.
async fn watch<K>(api: &Api<K>, name: &str, changed: &Notify) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
    // From version 0 the server starts with an event for what is there now: nothing is missed between two watches but
    // that an object has gone, which those who look from time to time see.
    let mut events = pin!(api.watch(&params, "0").await?);
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(_) | WatchEvent::Modified(_) | WatchEvent::Deleted(_) => changed.notify_one(),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => return Err(api_error(*status)),
        }
    }
    Ok(())
}

fn api_error(status: Status) -> kube::Error {
    kube::Error::Api(Box::new(status))
}
