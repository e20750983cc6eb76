//! Requests to one API server: every one has a timeout, every answer a limit, and what an answer says never reaches
//! the logs.
//!
//! An API server of a remote is not trusted: it may hang at any byte, answer without end, or answer nonsense. kube's
//! own request methods wait and read without bound and log an answer that they cannot parse, which may be a Secret;
//! so only its transport (TLS, authentication) is used here.

use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::api::excerpt;

/// How long the head of an answer may take. API servers end requests of their own after a minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer that is read as a whole may pause.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer that is read as a whole may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);
/// Largest answer that is read as a whole, in bytes: 500 Nodes with 32 KiB each.
const BODY_SIZE_MAX: usize = 16 * 1024 * 1024;
/// Largest error answer that is looked at, in bytes.
const ERROR_SIZE_MAX: usize = 64 * 1024;
/// Largest event of a watch, in bytes. API servers take no object over 3 MiB (etcd's limit is 1.5 MiB).
const LINE_SIZE_MAX: usize = 4 * 1024 * 1024;
/// Longest pause that an API server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection, or it broke.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// Nothing came.
    #[error("the API server did not answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// Another status than 2xx.
    #[error("the API server answered {code}: {message}")]
    Status {
        /// The HTTP status.
        code: u16,
        /// What the answer says, cut.
        message: String,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// More than fits.
    #[error("the API server's answer has more than {0} bytes")]
    TooLarge(usize),
    /// Not what was asked for.
    #[error("the API server's answer cannot be read: {0}")]
    Malformed(String),
}

impl Failure {
    /// The HTTP status, if there was an answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// One word, for a condition.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Unreachable",
            Self::TimedOut(_) => "TimedOut",
            Self::Status { code: 401, .. } => "Unauthorized",
            Self::Status { code: 403, .. } => "Forbidden",
            Self::Status { code: 404, .. } => "NotFound",
            Self::Status { code: 410, .. } => "Gone",
            Self::Status { code: 429, .. } => "TooManyRequests",
            Self::Status { .. } => "ServerError",
            Self::TooLarge(_) => "TooLarge",
            Self::Malformed(_) => "MalformedAnswer",
        }
    }

    /// What a person can do about it, for a request about `what` (a plural, as `HTTPProxies`).
    pub(crate) fn advice(&self, what: &str) -> String {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) => {
                "check the server of the kubeconfig, the network and the API server".to_owned()
            }
            Self::Status { code: 401, .. } => "renew the credentials of the kubeconfig".to_owned(),
            Self::Status { code: 403, .. } => {
                format!("grant the kubeconfig's user get, list and watch on {what}")
            }
            Self::Status { code: 404, .. } => {
                format!("the API server does not know {what}: install their CustomResourceDefinition")
            }
            _ => "look at the API server's own log".to_owned(),
        }
    }

    /// How long the API server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// One API server and who we are to it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection {
    client: kube::Client,
    /// Largest answer that is read as a whole, in bytes.
    body_size_max: usize,
}

impl Connection {
    /// Uses a client's transport.
    pub(crate) fn new(client: kube::Client) -> Self {
        Self { client, body_size_max: BODY_SIZE_MAX }
    }

    /// The client, for what needs no more than single requests.
    pub(crate) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// With another limit than the default.
    #[cfg(test)]
    pub(crate) fn with_body_size_max(self, body_size_max: usize) -> Self {
        Self { body_size_max, ..self }
    }

    /// Prepares a connection; the first request opens it.
    pub(crate) fn open(mut config: kube::Config) -> Result<Self, kube::Error> {
        // Whoever asks here retries, with a back-off of its own.
        config.default_retry = false;
        // Of the environment, say: nobody asked for a proxy.
        config.proxy_url = None;
        config.connect_timeout = Some(Duration::from_secs(10));
        Ok(Self::new(kube::Client::try_from(config)?))
    }

    /// Sends a request; an error for every status but 2xx.
    pub(crate) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Body>, Failure> {
        let answer = timeout(HEAD_TIMEOUT, self.client.send(request.map(Body::from)))
            .await
            .map_err(|_| Failure::TimedOut(HEAD_TIMEOUT))?
            .map_err(|error| unreachable(&error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn bytes(&self, request: Request<Vec<u8>>) -> Result<Vec<u8>, Failure> {
        let answer = self.send(request).await?;
        timeout(BODY_TIMEOUT, collect(answer.into_body(), self.body_size_max))
            .await
            .map_err(|_| Failure::TimedOut(BODY_TIMEOUT))?
    }

    /// Sends a request and reads the answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: Request<Vec<u8>>) -> Result<T, Failure> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|error| malformed(&error))
    }
}

/// A request with a JSON body, if any.
pub(crate) fn request(
    method: http::Method,
    path_and_query: &str,
    content_type: &str,
    body: Option<&Value>,
) -> Request<Vec<u8>> {
    let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // Paths are made here, of names that were checked and of encoded queries.
    *request.uri_mut() = path_and_query.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json"));
    if let Ok(value) = content_type.parse() {
        headers.insert(http::header::CONTENT_TYPE, value);
    }
    request
}

/// Where the JSON is wrong, without a word of what it says.
pub(crate) fn malformed(error: &serde_json::Error) -> Failure {
    let what = match error.classify() {
        serde_json::error::Category::Syntax => "no JSON",
        serde_json::error::Category::Eof => "it ends too early",
        _ => "not of the expected shape",
    };
    Failure::Malformed(format!("{what} at line {}, column {}", error.line(), error.column()))
}

/// The chain of causes in one line. The transport's errors tell of sockets and certificates, not of contents.
fn unreachable(error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    Failure::Unreachable(excerpt(&text).into_owned())
}

async fn collect(mut body: Body, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    loop {
        let frame = timeout(PAUSE_TIMEOUT, body.frame()).await;
        match frame.map_err(|_| Failure::TimedOut(PAUSE_TIMEOUT))? {
            None => return Ok(bytes),
            Some(Err(error)) => return Err(unreachable(&error)),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if bytes.len() + data.len() > limit {
                    return Err(Failure::TooLarge(limit));
                }
                bytes.extend_from_slice(&data);
            }
        }
    }
}

async fn refusal(answer: Response<Body>) -> Failure {
    let code = answer.status().as_u16();
    let retry_after = retry_after(answer.headers());
    let said = match timeout(PAUSE_TIMEOUT, collect(answer.into_body(), ERROR_SIZE_MAX)).await {
        Ok(Ok(bytes)) => serde_json::from_slice::<Value>(&bytes).ok(),
        _ => None,
    };
    let message = said
        .as_ref()
        .and_then(|status| status["message"].as_str())
        .or_else(|| StatusCode::from_u16(code).ok()?.canonical_reason())
        .unwrap_or("no reason given");
    Failure::Status { code, message: excerpt(message).into_owned(), retry_after }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// One line of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// Longer than fits; it was skipped.
    TooLong,
}

/// The lines of an answer that has no end, as of a watch.
pub(crate) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// How much of the buffer is known to have no line end.
    scanned: usize,
    skipping: bool,
}

impl Lines {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), scanned: 0, skipping: false }
    }

    /// The next line; none when the answer has ended. A last line without an end was cut off and is dropped.
    pub(crate) async fn next(&mut self, pause_max: Duration) -> Result<Option<Line>, Failure> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            let frame = timeout(pause_max, self.body.frame()).await;
            match frame.map_err(|_| Failure::TimedOut(pause_max))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(unreachable(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn take(&mut self) -> Option<Line> {
        let end = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n');
        match end.map(|position| self.scanned + position) {
            Some(end) => {
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.scanned = 0;
                line.pop();
                let skipped = std::mem::take(&mut self.skipping) || line.len() > LINE_SIZE_MAX;
                Some(if skipped { Line::TooLong } else { Line::Whole(line) })
            }
            None => {
                self.scanned = self.buffer.len();
                if self.buffer.len() > LINE_SIZE_MAX {
                    self.skipping = true;
                    self.buffer = Vec::new();
                    self.scanned = 0;
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_over_the_limit_is_skipped_and_the_next_is_read() {
        let mut lines = Lines::new(Body::empty());
        let mut seen = Vec::new();
        let mut feed = |bytes: &[u8], seen: &mut Vec<Line>| {
            lines.buffer.extend_from_slice(bytes);
            while let Some(line) = lines.take() {
                seen.push(line);
            }
        };
        feed(b"{\"a\"", &mut seen);
        feed(b":1}\n{}\n", &mut seen);
        for _ in 0..6 {
            feed(&vec![b'x'; 1024 * 1024], &mut seen);
        }
        feed(b"tail\nnext\n", &mut seen);
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(seen, [whole("{\"a\":1}"), whole("{}"), Line::TooLong, whole("next")]);
    }

    #[test]
    fn an_answer_that_cannot_be_parsed_is_not_quoted() {
        let error = serde_json::from_str::<Vec<u8>>(r#"{"token": "s3cret"}"#).unwrap_err();
        let Failure::Malformed(message) = malformed(&error) else { panic!() };
        assert!(!message.contains("s3cret") && message.contains("line 1"), "{message}");
    }
}
