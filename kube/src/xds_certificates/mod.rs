//! The certificates of mutual TLS between gateways and xcc, in Secrets of xcc's own namespace.
//!
//! What has to be made or renewed is decided by a pure function of the Secrets and the time ([`plan`]); [`ensure`] and
//! [`keep`] do it on a cluster. Any replica may: writes are guarded by resourceVersion, and who loses a race reads again.
//! A Secret without our label was made by somebody else, cert-manager say, and is used as it is.
//!
//! Keys never leave this module but in [`XdsCertificates`], whose `Debug` does not show them.

mod issue;
mod pem;
mod plan;
mod secrets;

use std::fmt;

pub use secrets::{ensure, keep};

/// The authority that xcc makes: its certificate, its key, and its successor when there is one.
pub const CA_SECRET: &str = "xcc-xds-ca";
/// What xcc proves itself to gateways with, and what it verifies them with.
pub const SERVER_SECRET: &str = "xcc-xds-server";
/// The same for gateways, which mount it.
pub const GATEWAY_SECRET: &str = "xcc-xds-gateway";
/// The Service under whose names gateways connect.
pub const SERVER_SERVICE: &str = "xcc-xds";
/// The name in gateways' certificates: their node cluster.
pub const GATEWAY_NAME: &str = "xcc-gateway";

/// What the xDS server needs for mutual TLS, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct XdsCertificates {
    /// The server's certificate chain.
    pub cert: String,
    /// Its private key, in PKCS #8 if xcc has made it.
    pub key: String,
    /// The authorities that gateways' certificates may come from; two while one follows the other.
    pub client_ca: String,
}

impl fmt::Debug for XdsCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdsCertificates")
            .field("cert", &self.cert)
            .field("key", &"(not shown)")
            .field("client_ca", &self.client_ca)
            .finish()
    }
}

/// Why there are no certificates, or none that are newer.
#[derive(Debug, thiserror::Error)]
pub enum XdsCertificatesError {
    /// The API server did not do what it was asked.
    #[error("cannot {action}")]
    Api {
        /// As in "read Secret xcc-xds-ca".
        action: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// A Secret that somebody else has made cannot be used.
    #[error("Secret {secret}: {problem}; put that right, or delete the Secret and xcc makes one")]
    Unusable {
        /// Its name.
        secret: &'static str,
        /// What is wrong, without contents.
        problem: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Issue(#[from] rcgen::Error),
    /// The clock shows a time that certificates cannot express.
    #[error("the time {0} does not fit into a certificate; is the clock right?")]
    Time(i64),
    /// Others kept writing.
    #[error("the Secrets in namespace {0} changed each time they were about to be written")]
    Contended(String),
}
