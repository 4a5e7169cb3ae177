//! How an upstream is asked over TLS: whom to trust, and which name its certificate must hold.

use super::{
    lock,
    settings::{Transport, UpstreamSettings},
};
use arc_swap::ArcSwapOption;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex},
};

/// What is trusted at present: a file of authorities is read again when it has changed. While it
/// is no good, the authorities that were read last count.
#[derive(Default)]
pub(super) struct Trusted {
    trust: ArcSwapOption<Trust>,
    /// The file that was read last, good or not.
    read: Mutex<Option<Stamp>>,
}

/// Which content a file has, without reading it: device, inode, time of its last change.
type Stamp = (u64, u64, i64, i64);

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

impl Trusted {
    /// Of an upstream; nothing is trusted where TLS is not spoken.
    pub(super) fn new(upstream: &UpstreamSettings) -> Self {
        let this = Self::default();
        if upstream.transport == Transport::Tls {
            this.read(upstream);
        }
        this
    }

    /// What to trust; `None`: TLS cannot be used.
    pub(super) fn load(&self) -> Option<Arc<Trust>> {
        self.trust.load_full()
    }

    /// Reads the file of authorities again if it is another one than last time; whether something
    /// else is trusted now.
    pub(super) fn refresh(&self, upstream: &UpstreamSettings) -> bool {
        let Some(path) = upstream.tls_ca.as_deref() else {
            return false;
        };
        upstream.transport == Transport::Tls
            && stamp(path) != *lock(&self.read)
            && self.read(upstream)
    }

    fn read(&self, upstream: &UpstreamSettings) -> bool {
        // Before it is read: what changes meanwhile is read once more.
        *lock(&self.read) = upstream.tls_ca.as_deref().and_then(stamp);
        match Trust::new(upstream) {
            Ok(trust) => {
                self.trust.store(Some(Arc::new(trust)));
                true
            }
            Err(error) => {
                let kept = self.trust.load().is_some();
                tracing::error!(upstream = %upstream.address, %error, kept, "no TLS authorities");
                false
            }
        }
    }
}

/// Which content a file has; `None` while it is not there.
fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec()))
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
