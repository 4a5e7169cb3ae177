//! The fan-out over NATS: where the bucket is, for who writes it and for who follows it.

use super::text::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A bucket of NATS JetStream between one publisher and all agents; a change counts from the next start
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fanout {
    /// NATS servers, such as nats://nats.nats:4222; empty: agents watch the API server
    pub servers: Vec<String>,
    /// The key-value bucket
    pub bucket: String,
    /// A .creds file, an nkey seed, or a user and a password on a line each; read for each connection
    pub credentials: Option<PathBuf>,
    /// Certificates (PEM) that vouch for the servers; TLS is required then
    pub ca: Option<PathBuf>,
    /// How often the publisher says at least that it is there
    pub beat: Period,
    /// An agent watches the API server itself when the bucket was not whole for so long; at its start
    /// after half of it
    pub patience: Period,
    /// Agents change over after a random part of this, so that not all of them do at once
    pub spread: Period,
}

impl Default for Fanout {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            bucket: "nss-k8s".to_owned(),
            credentials: None,
            ca: None,
            beat: Period::secs(10),
            patience: Period::secs(60),
            spread: Period::secs(60),
        }
    }
}
