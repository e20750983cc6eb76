//! Requests that a node makes to its Pods for probes and hooks: HTTP and HTTPS GET, a TCP connection, gRPC health.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::netns::Namespace;

/// How much of an answer is read: it is only looked at for its end.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where a request comes from and goes to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The node's namespace: probes come from the node.
    pub from: &'a Namespace,
    /// The Pod's address.
    pub ip: IpAddr,
    /// The container, whose ports can be named.
    pub container: &'a Container,
}

impl Target<'_> {
    fn address(&self, port: &IntOrString, host: Option<&str>) -> Result<SocketAddr> {
        let ip = host.map_or(Ok(self.ip), str::parse).context("a probe's host is an address here")?;
        Ok(SocketAddr::new(ip, port_number(port, self.container)?))
    }
}

/// The number of a port that may be named.
fn port_number(port: &IntOrString, container: &Container) -> Result<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_ref() == Some(name));
            named.with_context(|| format!("the container has no port {name}"))?.container_port
        }
    };
    u16::try_from(number).with_context(|| format!("{number} is no port"))
}

/// Opens and closes a TCP connection.
///
/// # Errors
/// When nobody answers.
pub async fn tcp(target: Target<'_>, port: &IntOrString, host: Option<&str>, limit: Duration) -> Result<()> {
    target.from.connect(target.address(port, host)?, limit).await.map(drop)
}

/// Sends a GET; anything from 200 to 399 is success.
///
/// # Errors
/// When nobody answers, or with another status.
pub async fn http_get(target: Target<'_>, action: &HTTPGetAction, limit: Duration) -> Result<()> {
    let address = target.address(&action.port, action.host.as_deref())?;
    let path = action.path.as_deref().unwrap_or("/");
    let mut request = Request::get(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
        .header("host", address.to_string())
        .header("user-agent", "kube-probe/1.37");
    for header in action.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Full::new(Bytes::new()))?;
    let stream = target.from.connect(address, limit).await?;
    let status = if action.scheme.as_deref() == Some("HTTPS") {
        let name = ServerName::IpAddress(address.ip().into());
        let stream = TlsConnector::from(unverified()?).connect(name, stream).await?;
        send_http1(stream, request).await?
    } else {
        send_http1(stream, request).await?
    };
    ensure!((200..400).contains(&status.as_u16()), "HTTP probe failed with statuscode: {}", status.as_u16());
    Ok(())
}

async fn send_http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await;
    let status = match response {
        Ok(response) => {
            let status = response.status();
            // The answer is read to its end: a server that is cut off says so in its log.
            let _ended = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(status)
        }
        Err(error) => Err(error),
    };
    connection.abort();
    status.context("no answer")
}

/// Asks a gRPC server for its health (`grpc.health.v1.Health/Check`).
///
/// # Errors
/// When it does not answer that it is serving.
pub async fn grpc(target: Target<'_>, port: i32, service: &str, limit: Duration) -> Result<()> {
    let address = target.address(&IntOrString::Int(port), None)?;
    let stream = target.from.connect(address, limit).await?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(health_request(service)?))?;
    let answer = async {
        let response = sender.send_request(request).await.context("no answer")?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok::<_, anyhow::Error>(body.map_err(|error| anyhow::anyhow!("no answer: {error}"))?.to_bytes())
    };
    let answer = answer.await;
    connection.abort();
    // A frame of one message whose field 1 is SERVING (1).
    match answer?.get(5..7) {
        Some([0x08, 0x01]) => Ok(()),
        _other => bail!("the gRPC server does not say that it is serving"),
    }
}

/// One gRPC frame with a `HealthCheckRequest`: field 1 is the service.
fn health_request(service: &str) -> Result<Bytes> {
    let length = u8::try_from(service.len()).ok().filter(|length| *length < 120);
    let length = length.context("the service's name is too long for a probe")?;
    let mut frame = vec![0, 0, 0, 0];
    if length == 0 {
        frame.push(0);
    } else {
        frame.extend([length + 2, 0x0a, length]);
        frame.extend(service.as_bytes());
    }
    Ok(frame.into())
}

/// As the kubelet's probes, these do not look at certificates.
fn unverified() -> Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_can_be_named() {
        let container: Container = serde_json::from_value(serde_json::json!({
            "name": "c", "ports": [{"name": "metrics", "containerPort": 9080}],
        }))
        .unwrap();
        let named = |name: &str| port_number(&IntOrString::String(name.to_owned()), &container);
        assert_eq!(named("metrics").unwrap(), 9080);
        assert!(named("other").is_err());
        assert!(port_number(&IntOrString::Int(70_000), &container).is_err());
    }

    #[test]
    fn health_requests_are_framed() {
        assert_eq!(health_request("").unwrap().as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(health_request("ab").unwrap().as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
    }
}
