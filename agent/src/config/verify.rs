//! The sampled verifier: names of the zone, compared with what the cluster DNS says.

use super::text::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Whether, how much and against whom the zone is verified.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// Verify or not; absent: while a class is in shadow
    pub enabled: Option<bool>,
    /// How often names are chosen
    pub interval: Period,
    /// Names for each interval, asked for evenly over it
    #[schemars(range(min = 1, max = 1000))]
    pub sample: usize,
    /// How long after a difference it is looked at again: caches before the cluster DNS must have
    /// forgotten what was there before
    pub settle: Period,
    /// How long the cluster DNS may take to answer
    pub timeout: Period,
    /// Servers to compare with, over TCP; none: the cluster DNS, or `forward.upstream_service`
    pub servers: Vec<SocketAddr>,
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            enabled: None,
            interval: Period::secs(60),
            sample: 30,
            settle: Period::secs(35),
            timeout: Period::secs(2),
            servers: Vec::new(),
        }
    }
}
