//! Mutual TLS between a gateway and the control plane: the gateway's side of it, in the bootstrap.

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    ApiVersion, ConfigSource, DataSource, PathConfigSource, TransportSocket, WatchedDirectory, data_source,
    transport_socket,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, Secret, SubjectAltNameMatcher,
    TlsCertificate, TlsParameters, UpstreamTlsContext, secret,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

use crate::bootstrap::{BootstrapConfig, XdsAddress};
use crate::names;
use crate::wire::build;
use crate::yaml::{self, YamlError};

/// The files that the gateway proves itself and verifies the control plane with, as paths where Envoy runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapTls {
    /// PEM: what the control plane's certificate must chain up to.
    pub ca_file: String,
    /// PEM: the gateway's certificate.
    pub cert_file: String,
    /// PEM: its key.
    pub key_file: String,
    /// The name that the control plane's certificate must have, and the SNI that is sent. Without one: the hosts of the
    /// xDS addresses.
    pub server_name: Option<String>,
    /// The directory where Envoy will find the files of [`sds_files`]. With them it re-reads certificates, key and CA
    /// whenever they are replaced; without them (Envoy watches files in no other place) only at its start.
    pub sds_directory: Option<String>,
}

/// A file that has to lie beside the bootstrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdsFile {
    /// Its name in [`BootstrapTls::sds_directory`].
    pub name: &'static str,
    /// YAML that Envoy reads as an SDS response. It holds paths, no secret.
    pub content: String,
}

const CERTIFICATE_FILE: &str = "xds-client-certificate.yaml";
const CA_FILE: &str = "xds-server-ca.yaml";

/// The files that the bootstrap refers to; none without TLS or without a directory for them.
pub fn sds_files(config: &BootstrapConfig) -> Result<Vec<SdsFile>, YamlError> {
    let Some(tls) = config.tls.as_ref().filter(|tls| tls.sds_directory.is_some()) else {
        return Ok(Vec::new());
    };
    let file = |name, secret_name: &str, secret| -> Result<SdsFile, YamlError> {
        let secret = Secret { name: secret_name.to_owned(), r#type: Some(secret) };
        Ok(SdsFile { name, content: yaml::value_to_yaml(&yaml::resources([&secret])?)? })
    };
    let certificate = secret::Type::TlsCertificate(certificate(tls));
    let validation = secret::Type::ValidationContext(validation(tls, &config.xds_addresses));
    Ok(vec![
        file(CERTIFICATE_FILE, names::XDS_CLIENT_CERTIFICATE, certificate)?,
        file(CA_FILE, names::XDS_SERVER_CA, validation)?,
    ])
}

/// TLS towards the control plane.
pub(crate) fn transport_socket(tls: &BootstrapTls, addresses: &[XdsAddress]) -> TransportSocket {
    // Envoy as a client offers TLS 1.2 at most unless told otherwise, and that shows the gateway's certificate to
    // whoever listens. The control plane is ours and speaks TLS 1.3.
    let version = TlsProtocol::TlSv13.into();
    let mut common = CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: version,
            tls_maximum_protocol_version: version,
            ..TlsParameters::default()
        }),
        alpn_protocols: vec!["h2".to_owned()],
        ..CommonTlsContext::default()
    };
    if let Some(directory) = &tls.sds_directory {
        common.tls_certificate_sds_secret_configs =
            vec![sds(names::XDS_CLIENT_CERTIFICATE, directory, CERTIFICATE_FILE)];
        common.validation_context_type = Some(ValidationContextType::ValidationContextSdsSecretConfig(sds(
            names::XDS_SERVER_CA,
            directory,
            CA_FILE,
        )));
    } else {
        common.tls_certificates = vec![certificate(tls)];
        common.validation_context_type =
            Some(ValidationContextType::ValidationContext(validation(tls, addresses)));
    }
    let context = UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: server_name_indication(tls, addresses),
        ..UpstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(build::any(&context))),
    }
}

fn certificate(tls: &BootstrapTls) -> TlsCertificate {
    TlsCertificate {
        certificate_chain: Some(file(&tls.cert_file)),
        private_key: Some(file(&tls.key_file)),
        watched_directory: watched_directory(tls, &tls.cert_file),
        ..TlsCertificate::default()
    }
}

/// Without names to check, whoever holds any certificate of the CA, another gateway for one, could pose as the control
/// plane.
fn validation(tls: &BootstrapTls, addresses: &[XdsAddress]) -> CertificateValidationContext {
    let hosts = match &tls.server_name {
        Some(name) => vec![name.as_str()],
        None => addresses.iter().map(|address| address.host()).collect(),
    };
    CertificateValidationContext {
        trusted_ca: Some(file(&tls.ca_file)),
        watched_directory: watched_directory(tls, &tls.ca_file),
        match_typed_subject_alt_names: hosts.into_iter().map(san).collect(),
        ..CertificateValidationContext::default()
    }
}

fn san(host: &str) -> SubjectAltNameMatcher {
    let san_type = if host.parse::<std::net::IpAddr>().is_ok() { SanType::IpAddress } else { SanType::Dns };
    let matcher =
        StringMatcher { match_pattern: Some(MatchPattern::Exact(host.to_owned())), ignore_case: false };
    SubjectAltNameMatcher {
        san_type: san_type.into(),
        matcher: Some(matcher),
        ..SubjectAltNameMatcher::default()
    }
}

/// The SNI must be a name; an address is not sent (RFC 6066, section 3).
fn server_name_indication(tls: &BootstrapTls, addresses: &[XdsAddress]) -> String {
    let given = tls.server_name.as_deref();
    let host = given.or_else(|| addresses.iter().map(XdsAddress::host).next()).unwrap_or_default();
    if host.parse::<std::net::IpAddr>().is_ok() { String::new() } else { host.to_owned() }
}

/// Kubernetes replaces a mounted Secret by swapping a link in the directory that the files lie in. Envoy takes the field
/// in SDS responses only.
fn watched_directory(tls: &BootstrapTls, path: &str) -> Option<WatchedDirectory> {
    tls.sds_directory.as_ref()?;
    let directory = match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((directory, _)) => directory,
        None => ".",
    };
    Some(WatchedDirectory { path: directory.to_owned(), ..WatchedDirectory::default() })
}

fn file(path: &str) -> DataSource {
    DataSource { specifier: Some(data_source::Specifier::Filename(path.to_owned())), ..DataSource::default() }
}

fn sds(secret: &str, directory: &str, file: &str) -> SdsSecretConfig {
    let path = format!("{}/{file}", directory.trim_end_matches('/'));
    let source = PathConfigSource { path, ..PathConfigSource::default() };
    SdsSecretConfig {
        name: secret.to_owned(),
        sds_config: Some(ConfigSource {
            resource_api_version: ApiVersion::V3.into(),
            config_source_specifier: Some(ConfigSourceSpecifier::PathConfigSource(source)),
            ..ConfigSource::default()
        }),
    }
}
