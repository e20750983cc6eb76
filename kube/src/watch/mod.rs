//! List and watch: the objects of one kind as their API server has them, for ever.
//!
//! Owns the protocol (Kubernetes API concepts: "Retrieving large results sets in chunks", "Efficient detection of
//! changes") and its failures. Must not know what the objects mean. Everything that it is sent is bounded and has a
//! timeout ([`crate::connection`]); nothing that it is sent ends it.

mod backoff;
mod index;
mod mask;

use std::convert::Infallible;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

pub(crate) use backoff::Backoff;
pub(crate) use index::{Delta, Index, Kind, Progress, Read};
pub(crate) use mask::Mask;
use mask::{Notice, Page};

use crate::connection::{Connection, Failure, Line, Lines, request};

/// Objects of one page of a list, as many as client-go asks for.
const PAGE_SIZE: usize = 500;
/// Most pages of one list: an API server that never comes to an end is none.
const PAGES_MAX: usize = 10_000;
/// How long a watch lasts before it is asked for anew, and so how long a connection that hangs goes unnoticed.
const WATCH_SECONDS: u32 = 60;
/// How much longer the API server may take to end a watch.
const WATCH_MARGIN: Duration = Duration::from_secs(10);
/// A watch that ends sooner counts as a failure for the back-off, or it would be asked for without a pause.
const WATCH_LIFE_MIN: Duration = Duration::from_secs(1);

/// What is watched.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The collection, as in `/apis/projectcontour.io/v1/httpproxies`.
    pub(crate) path: String,
    /// `labelSelector`, if any.
    pub(crate) label_selector: Option<&'static str>,
    /// `fieldSelector`, if any.
    pub(crate) field_selector: Option<String>,
    /// What is kept of an object.
    pub(crate) mask: &'static Mask,
    /// What messages call them, as `HTTPProxies`.
    pub(crate) what: &'static str,
}

/// What happens to the watched objects. Between `Init` and `InitDone` nothing is known to be gone.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// A list begins; an earlier one that did not end is void.
    Init,
    /// An object of the list.
    InitApply(Value),
    /// The list is complete.
    InitDone,
    /// An object was added or changed.
    Apply(Value),
    /// An object is gone, or is no longer selected.
    Delete(Value),
    /// The API server confirmed that nothing else happened.
    Alive,
    /// An event could not be read and was skipped.
    Skipped(String),
    /// The API server cannot be followed; how often it failed in a row. It is tried again.
    Failed(Failure, u32),
}

/// Who is told does not listen any more.
struct Unheard;

/// A panic in one of these tasks is one of whoever waits here: nobody goes on with what a watch told before it was gone.
/// Never comes back.
pub(crate) async fn share_panics(tasks: &mut JoinSet<()>) -> Infallible {
    while let Some(ended) = tasks.join_next().await {
        share_panic(ended);
    }
    // There may be new ones at the next call.
    std::future::pending().await
}

/// The same for a task that has ended.
pub(crate) fn share_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Follows a collection until nobody listens any more. Each event is sent with the tag.
pub(crate) async fn follow<T: Copy + Send + Sync>(
    connection: Connection,
    target: Target,
    tag: T,
    events: mpsc::Sender<(T, Event)>,
) {
    let mut follower = Follower {
        connection,
        target,
        tag,
        events,
        version: None,
        backoff: Backoff::default(),
        page_size: PAGE_SIZE,
    };
    while follower.step().await.is_ok() {}
}

/// Lists a collection once: all objects, masked.
pub(crate) async fn list_once(connection: &Connection, target: &Target) -> Result<Vec<Value>, Failure> {
    let mut objects = Vec::new();
    let mut next = None;
    for _ in 0..PAGES_MAX {
        let page = target.page(connection, PAGE_SIZE, next.as_deref()).await?;
        objects.extend(page.items);
        next = page.next;
        if next.is_none() {
            return Ok(objects);
        }
    }
    Err(endless())
}

struct Follower<T> {
    connection: Connection,
    target: Target,
    tag: T,
    events: mpsc::Sender<(T, Event)>,
    /// Up to where everything is known; none: a list is needed.
    version: Option<String>,
    backoff: Backoff,
    page_size: usize,
}

enum Ended {
    /// By the API server, right after the start.
    TooSoon,
    Failure(Failure),
    Unheard,
}

impl From<Unheard> for Ended {
    fn from(_: Unheard) -> Self {
        Self::Unheard
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl<T: Copy + Send + Sync> Follower<T> {
    async fn step(&mut self) -> Result<(), Unheard> {
        let ended = match self.version.take() {
            None => self.list().await,
            Some(version) => self.watch(version).await,
        };
        match ended {
            Ok(()) => Ok(()),
            Err(Ended::Unheard) => Err(Unheard),
            Err(Ended::TooSoon) => {
                self.pause(None).await;
                Ok(())
            }
            Err(Ended::Failure(failure)) => {
                let gone = failure.code() == Some(410);
                if gone {
                    // Too old to be continued: only a list tells what happened since.
                    self.version = None;
                } else {
                    self.tell(Event::Failed(failure.clone(), self.backoff.attempts() + 1)).await?;
                }
                self.pause(failure.retry_after()).await;
                Ok(())
            }
        }
    }

    async fn tell(&self, event: Event) -> Result<(), Unheard> {
        self.events.send((self.tag, event)).await.map_err(|_| Unheard)
    }

    async fn pause(&mut self, asked: Option<Duration>) {
        let wait = self.backoff.next(asked);
        tokio::select! {
            () = sleep(wait) => {}
            () = self.events.closed() => {}
        }
    }

    async fn list(&mut self) -> Result<(), Ended> {
        self.tell(Event::Init).await?;
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let page = match self.target.page(&self.connection, self.page_size, next.as_deref()).await {
                Err(Failure::TooLarge(_)) if self.page_size > 1 => {
                    self.page_size = (self.page_size / 5).max(1);
                    continue;
                }
                page => page?,
            };
            for object in page.items {
                self.tell(Event::InitApply(object)).await?;
            }
            next = page.next;
            if next.is_none() {
                self.tell(Event::InitDone).await?;
                self.version = Some(page.version);
                return Ok(());
            }
        }
        Err(endless().into())
    }

    async fn watch(&mut self, mut version: String) -> Result<(), Ended> {
        let started = Instant::now();
        let seconds = WATCH_SECONDS - (backoff::jitter() * f64::from(WATCH_SECONDS) / 5.0) as u32;
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", &version),
            ("timeoutSeconds", &seconds.to_string()),
        ];
        let answer = self.connection.send(self.target.request(&query)).await;
        // Whatever happens to the connection, the next one continues here.
        self.version = Some(version.clone());
        let mut lines = Lines::new(answer?.into_body());
        self.tell(Event::Alive).await?;
        let patience = Duration::from_secs(seconds.into()) + WATCH_MARGIN;
        loop {
            let line = lines.next(patience).await?;
            if started.elapsed() >= WATCH_LIFE_MIN {
                self.backoff.reset();
            }
            let Some(line) = line else { break };
            self.take(line, &mut version).await?;
            self.version = Some(version.clone());
        }
        if started.elapsed() >= WATCH_LIFE_MIN { Ok(()) } else { Err(Ended::TooSoon) }
    }

    async fn take(&self, line: Line, version: &mut String) -> Result<(), Ended> {
        let notice = match line {
            Line::TooLong => {
                return Ok(self.tell(Event::Skipped("an object is too large".to_owned())).await?);
            }
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => return Ok(()),
            Line::Whole(line) => match Notice::parse(&line, self.target.mask) {
                Ok(notice) => notice,
                Err(error) => {
                    let failure = crate::connection::malformed(&error);
                    return Ok(self.tell(Event::Skipped(failure.to_string())).await?);
                }
            },
        };
        if notice.kind == "ERROR" {
            return Err(status(&notice.object).into());
        }
        if let Some(newer) = notice.object["metadata"]["resourceVersion"].as_str()
            && !newer.is_empty()
        {
            newer.clone_into(version);
        }
        let event = match notice.kind.as_str() {
            "ADDED" | "MODIFIED" => Event::Apply(notice.object),
            "DELETED" => Event::Delete(notice.object),
            "BOOKMARK" => Event::Alive,
            _ => Event::Skipped("an event of an unknown type".to_owned()),
        };
        Ok(self.tell(event).await?)
    }
}

impl Target {
    async fn page(&self, connection: &Connection, limit: usize, next: Option<&str>) -> Result<Page, Failure> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(next.map(|next| ("continue", next)));
        let bytes = connection.bytes(self.request(&query)).await?;
        Page::parse(&bytes, self.mask).map_err(|error| crate::connection::malformed(&error))
    }

    fn request(&self, query: &[(&str, &str)]) -> http::Request<Vec<u8>> {
        let selectors =
            [("labelSelector", self.label_selector), ("fieldSelector", self.field_selector.as_deref())];
        let selectors = selectors.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let query: Vec<String> = query
            .iter()
            .copied()
            .chain(selectors)
            .map(|(name, value)| format!("{name}={}", percent_encode(value)))
            .collect();
        request(http::Method::GET, &format!("{}?{}", self.path, query.join("&")), "application/json", None)
    }
}

/// RFC 3986, section 2.1: everything but the unreserved characters.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The `Status` that ends a watch.
fn status(object: &Value) -> Failure {
    let code = object["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    let message = object["message"].as_str().unwrap_or("no reason given");
    Failure::Status { code, message: crate::api::excerpt(message).into_owned(), retry_after: None }
}

fn endless() -> Failure {
    Failure::Malformed(format!("the list has more than {PAGES_MAX} pages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_panic_of_a_watch_is_one_of_who_waits_for_it() {
        let waiting = tokio::spawn(async {
            let mut watches = JoinSet::new();
            watches.spawn(std::future::pending()).abort();
            watches.spawn(async {});
            watches.spawn(async { panic!("a test's panic") });
            share_panics(&mut watches).await
        });
        assert!(waiting.await.unwrap_err().is_panic());
    }
}
