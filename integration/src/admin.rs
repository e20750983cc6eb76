//! A plain HTTP/1.1 client for admin endpoints, Envoy's and xcc's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What an admin endpoint may take for an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// The status and the text of a page.
///
/// # Errors
/// When there is no answer.
pub async fn fetch(method: Method, server: SocketAddr, path: &str) -> Result<(StatusCode, String)> {
    timeout(LIMIT, exchange(method, server, path))
        .await
        .with_context(|| format!("no answer within {LIMIT:?}"))
        .flatten()
        .with_context(|| format!("http://{server}{path}"))
}

/// The text of a page that must be there.
///
/// # Errors
/// When there is no answer or a status other than 200.
pub async fn get(server: SocketAddr, path: &str) -> Result<String> {
    let (status, text) = fetch(Method::GET, server, path).await?;
    ensure!(status == StatusCode::OK, "http://{server}{path}: {status}: {text}");
    Ok(text)
}

/// A page that is JSON.
///
/// # Errors
/// As [`get`], and when it is not JSON.
pub async fn get_json(server: SocketAddr, path: &str) -> Result<serde_json::Value> {
    let text = get(server, path).await?;
    serde_json::from_str(&text).with_context(|| format!("http://{server}{path} is not JSON: {text}"))
}

async fn exchange(method: Method, server: SocketAddr, path: &str) -> Result<(StatusCode, String)> {
    let stream = TcpStream::connect(server).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, server.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    drop(sender);
    connection.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
