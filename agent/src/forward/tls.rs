//! How an upstream is asked over TLS: whom to trust, and which name its certificate must hold.

use super::settings::UpstreamSettings;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{path::Path, sync::Arc};

/// What a TLS connection to one upstream needs. Sessions are resumed through the configuration.
#[derive(Clone)]
pub(super) struct Trust {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum TrustError {
    /// The name is none.
    #[error("{0}: no name of a certificate")]
    Name(String),
    /// The file cannot be read.
    #[error("cannot read certificates from {path}: {reason}")]
    File { path: String, reason: String },
    /// There is no certificate of an authority.
    #[error("no certificates of authorities in {0}")]
    Nothing(String),
    /// rustls does not support what we ask of it.
    #[error(transparent)]
    Protocol(#[from] rustls::Error),
}

impl Trust {
    /// Of an upstream's settings: its own file of authorities, else the machine's.
    pub(super) fn new(upstream: &UpstreamSettings) -> Result<Self, TrustError> {
        let name = match &upstream.tls_name {
            Some(name) => {
                ServerName::try_from(name.clone()).map_err(|_| TrustError::Name(name.clone()))?
            }
            None => ServerName::IpAddress(upstream.address.ip().into()),
        };
        let mut roots = RootCertStore::empty();
        let origin = match &upstream.tls_ca {
            Some(path) => {
                roots.add_parsable_certificates(read(path)?);
                path.display().to_string()
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                "the machine's store".to_owned()
            }
        };
        if roots.is_empty() {
            return Err(TrustError::Nothing(origin));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        Ok(Self { config, name })
    }
}

/// The certificates of a PEM file.
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let failed = |reason: rustls::pki_types::pem::Error| TrustError::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(failed)?;
    certificates.collect::<Result<_, _>>().map_err(failed)
}
