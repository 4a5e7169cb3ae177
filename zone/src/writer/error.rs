//! Why a zone could not be opened or written.

use std::{error::Error, fmt, io, path::PathBuf};

/// Why [`Writer::open`](super::Writer::open) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A path could not be created, opened, sized or mapped: permissions, a full file system.
    File {
        /// What was attempted: a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another writer holds this directory.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as the lock file tells.
        holder: Option<u32>,
    },
    /// The directory is not on a tmpfs, which readers require.
    NotTmpfs {
        /// The directory.
        path: PathBuf,
    },
    /// The apex is not a domain name.
    Apex {
        /// As given.
        apex: String,
    },
    /// The zone would not fit in the options' maximum.
    Full(WriteError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                action,
                path,
                source,
            } => {
                write!(formatter, "cannot {action} {}: {source}", path.display())
            }
            Self::Locked {
                path,
                holder: Some(pid),
            } => {
                write!(formatter, "{} is locked by process {pid}", path.display())
            }
            Self::Locked { path, holder: None } => {
                write!(formatter, "{} is locked by another process", path.display())
            }
            Self::NotTmpfs { path } => {
                write!(formatter, "{} is not on a tmpfs", path.display())
            }
            Self::Apex { apex } => write!(formatter, "{apex:?} is not a domain name"),
            Self::Full(error) => error.fmt(formatter),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Full(error) => Some(error),
            _ => None,
        }
    }
}

/// Why one change was refused. What was published before stays published.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// Not a label: empty, longer than 63 bytes, or with bytes that no host name has.
    Label {
        /// As given.
        label: String,
    },
    /// Not a domain name of at most 253 bytes.
    Target {
        /// As given.
        target: String,
    },
    /// More of something than a record can count.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many came.
        count: usize,
        /// How many fit.
        limit: usize,
    },
    /// An endpoint's address is not of its slice's family.
    MixedFamilies,
    /// The file cannot grow: at its maximum, or the file system is full.
    NoSpace {
        /// Bytes asked for.
        wanted: u64,
        /// What the system said, unless the maximum was reached.
        source: Option<io::Error>,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { label } => {
                let shown: String = label.chars().take(80).collect();
                let length = label.len();
                write!(formatter, "{shown:?} ({length} bytes) is not a DNS label")
            }
            Self::Target { target } => {
                let shown: String = target.chars().take(80).collect();
                write!(
                    formatter,
                    "{shown:?} ({} bytes) is not a domain name",
                    target.len()
                )
            }
            Self::TooMany { what, count, limit } => {
                write!(formatter, "{count} {what}, of which a record holds {limit}")
            }
            Self::MixedFamilies => {
                formatter.write_str("an endpoint's address is not of its slice's family")
            }
            Self::NoSpace {
                wanted,
                source: Some(source),
            } => {
                write!(
                    formatter,
                    "the zone cannot grow to {wanted} bytes: {source}"
                )
            }
            Self::NoSpace {
                wanted,
                source: None,
            } => {
                write!(
                    formatter,
                    "the zone would need {wanted} bytes, more than its maximum"
                )
            }
        }
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoSpace {
                source: Some(source),
                ..
            } => Some(source),
            _ => None,
        }
    }
}
