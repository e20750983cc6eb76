//! Real sockets: gateways get in whatever strangers do.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;

use super::handshakes::HANDSHAKES_MAX;
use super::*;

/// Certificates of the server, and what a gateway connects with.
fn certificates_of_both() -> (XdsCertificates, TlsConnector) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let [server, gateway] = ["xcc", "xcc-gateway"].map(|name| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    });
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![gateway.0.der().clone()],
            PrivateKeyDer::from_pem_slice(gateway.1.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let pem = XdsCertificates { cert: server.0.pem(), key: server.1.serialize_pem(), client_ca: ca.pem() };
    (pem, Arc::new(config).into())
}

async fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn strangers_that_never_finish_a_handshake_keep_no_gateway_out() {
    let (pem, gateway) = certificates_of_both();
    let (_sender, secrets) = watch::channel(Some(Arc::new(pem)));
    let tls = Some(Tls::load(TlsSource::Secrets(secrets)).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let vital = Vital::new(CancellationToken::new());
    let mut incoming = Box::pin(XdsListener { listener, tls }.incoming(&vital));

    // They say nothing; some of them are behind the gateway in the queue.
    let mut strangers = Vec::new();
    for number in 0..4 * HANDSHAKES_MAX {
        strangers.push(connect_from(&format!("127.0.1.{}", 1 + number % 2), address).await);
    }
    let name = ServerName::try_from("xcc").unwrap();
    let stream = connect_from("127.0.2.1", address).await;
    for _ in 0..HANDSHAKES_MAX {
        strangers.push(connect_from("127.0.1.1", address).await);
    }
    let handshake = async { tokio::join!(gateway.connect(name, stream), incoming.next()) };
    // Before the first stranger's time is over, by which a place would come free by itself.
    let limit = HANDSHAKE_TIMEOUT - Duration::from_secs(1);
    let (client, server) = timeout(limit, handshake).await.unwrap();
    let client = client.unwrap();
    let peer = server.unwrap().unwrap().connect_info();
    assert_eq!(peer.address.unwrap().ip().to_string(), "127.0.2.1");
    assert!(certificate_names(&peer.certificate.unwrap(), "xcc-gateway"));
    drop((client, strangers));
}
