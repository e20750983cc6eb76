//! A cluster's certificate authority, and the kubeconfigs of those it lets in.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

/// The certificate authority of one cluster.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key: String,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS #8).
    pub key: String,
}

impl Authority {
    /// Makes a key and a self-signed certificate.
    ///
    /// # Errors
    /// When the machine has no randomness to give.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, key: key_pem })
    }

    /// The authority's certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The authority's private key as PEM: the controller manager signs with it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Makes a server's certificate for DNS names and addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn server(&self, name: &str, subject_names: Vec<String>) -> Result<Credential> {
        let mut params = CertificateParams::new(subject_names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign(params)
    }

    /// Makes a client's certificate: Kubernetes takes the common name as the user, the organization as a group.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn client(&self, user: &str, group: &str) -> Result<Credential> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Credential> {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign a certificate")?.pem();
        Ok(Credential { certificate, key: key.serialize_pem() })
    }

    /// A kubeconfig that holds everything: no paths, so that it can be moved or put into a Secret.
    pub fn kubeconfig(&self, cluster: &str, server: &str, user: &str, credential: &Credential) -> String {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": cluster,
                "cluster": {"server": server, "certificate-authority-data": base64(self.certificate.as_bytes())},
            }],
            "users": [{
                "name": user,
                "user": {
                    "client-certificate-data": base64(credential.certificate.as_bytes()),
                    "client-key-data": base64(credential.key.as_bytes()),
                },
            }],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
            "current-context": cluster,
        });
        // JSON is YAML.
        format!("{config:#}\n")
    }
}

/// A key that signs, and the one that others check with, as PEM.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// The private key (PKCS #8).
    pub private: String,
    /// The public key.
    pub public: String,
}

/// Makes the key that a cluster signs its ServiceAccount tokens with.
///
/// # Errors
/// When the machine has no randomness to give.
pub fn signing_key() -> Result<SigningKey> {
    let key = KeyPair::generate()?;
    Ok(SigningKey { private: key.serialize_pem(), public: key.public_key_pem() })
}

/// Base64 as RFC 4648 section 4 has it: Kubernetes' `[]byte` in JSON.
pub fn base64(bytes: &[u8]) -> String {
    // The API's own type for bytes writes itself so.
    match serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_is_one_that_kube_reads() {
        let authority = Authority::new("test").unwrap();
        let credential = authority.client("admin", "system:masters").unwrap();
        let text = authority.kubeconfig("here", "https://127.0.0.1:6443", "admin", &credential);
        let config: kube::config::Kubeconfig = serde_json::from_str(&text).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("here"));
        assert_eq!(
            config.clusters[0].cluster.as_ref().unwrap().server.as_deref(),
            Some("https://127.0.0.1:6443")
        );
    }

    #[test]
    fn rfc4648_padding() {
        assert_eq!(base64(b"foob"), "Zm9vYg==");
    }
}
