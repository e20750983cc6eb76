//! The harness itself: what the other tests stand on must be able to fail.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests, too")]

use std::net::IpAddr;

use xcc_integration::certificates::Authority;
use xcc_integration::client::{Client, Refusal};
use xcc_integration::loopback::Loopback;
use xcc_integration::remote::{Remote, RemoteAddresses};
use xcc_integration::resolver::Resolver;
use xcc_integration::scratch::Scratch;

async fn remote(loopback: &Loopback, authority: &Authority, scratch: &Scratch) -> Remote {
    let addresses = RemoteAddresses {
        nodes: vec![IpAddr::V4(loopback.address(1)), IpAddr::V4(loopback.address(2))],
        spare_nodes: Vec::new(),
        ingress_port: loopback.socket(1, 8443).unwrap().port(),
        services: loopback.address(3),
        ingress_admin: loopback.socket(1, 9901).unwrap(),
    };
    let mut remote =
        Remote::start("east", addresses, &["nginx.xcc.test", "*.team.xcc.test"], authority, scratch)
            .await
            .unwrap();
    remote.wait_live().await.unwrap();
    remote
}

fn client(loopback: &Loopback, authority: &Authority) -> Client {
    let nobody = Resolver::new(loopback.socket(4, 8053).unwrap());
    Client::new(nobody.into(), authority, 0).unwrap()
}

#[tokio::test]
async fn a_remote_answers_on_every_node_over_http2() {
    let (loopback, authority, scratch) =
        (Loopback::reserve().unwrap(), Authority::new().unwrap(), Scratch::new("harness").unwrap());
    let remote = remote(&loopback, &authority, &scratch).await;
    let client = client(&loopback, &authority);
    for node in &remote.addresses().nodes {
        let ingress = (*node, remote.addresses().ingress_port).into();
        for name in ["nginx.xcc.test", "a.team.xcc.test"] {
            let answer = client.get_at(ingress, name, "/path").await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.cluster.as_str()), (200, "east"));
            assert_eq!(answer.version, http::Version::HTTP_2);
            assert_eq!(answer.body, format!("east {name} /path\n"));
        }
    }
}

#[tokio::test]
async fn the_client_tells_served_from_closed_from_absent() {
    let (loopback, authority, scratch) =
        (Loopback::reserve().unwrap(), Authority::new().unwrap(), Scratch::new("harness").unwrap());
    let remote = remote(&loopback, &authority, &scratch).await;
    let client = client(&loopback, &authority);
    let port = remote.addresses().ingress_port;
    let ingress = (remote.addresses().nodes[0], port).into();
    assert_eq!(client.probe_sni(ingress, "nginx.xcc.test").await.unwrap(), Refusal::Served);
    assert_eq!(client.probe_sni(ingress, "other.xcc.test").await.unwrap(), Refusal::Closed);
    assert_eq!(client.probe_without_sni(ingress).await.unwrap(), Refusal::Closed);
    assert_eq!(client.probe_plaintext(ingress, "nginx.xcc.test").await.unwrap(), Refusal::Closed);
    let nobody = (loopback.address(9), port).into();
    assert_eq!(client.probe_sni(nobody, "nginx.xcc.test").await.unwrap(), Refusal::NotListening);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_believed() {
    let (loopback, authority, scratch) =
        (Loopback::reserve().unwrap(), Authority::new().unwrap(), Scratch::new("harness").unwrap());
    let remote = remote(&loopback, &authority, &scratch).await;
    let stranger = client(&loopback, &Authority::new().unwrap());
    let ingress = (remote.addresses().nodes[0], remote.addresses().ingress_port).into();
    let error = stranger.get_at(ingress, "nginx.xcc.test", "/").await.unwrap_err();
    assert!(format!("{error:#}").contains("invalid peer certificate"), "{error:#}");
}

#[tokio::test]
async fn a_cut_long_connection_is_noticed() {
    let (loopback, authority, scratch) =
        (Loopback::reserve().unwrap(), Authority::new().unwrap(), Scratch::new("harness").unwrap());
    let mut remote = remote(&loopback, &authority, &scratch).await;
    let client = client(&loopback, &authority);
    let ingress = (remote.addresses().nodes[0], remote.addresses().ingress_port).into();
    let mut stream = client.connect_to(ingress, "nginx.xcc.test").await.unwrap().stream().await.unwrap();
    stream.check_alive().await.unwrap();
    stream.check_alive().await.unwrap();
    remote.ingress().process().kill().unwrap();
    stream.check_alive().await.unwrap_err();
}
