//! What the files hold, in figures.

use nss_k8s_zone::HeldStatistics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// A class of pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: String,
}

/// A class, and which part or reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPart {
    class: String,
    of: &'static str,
}

/// Figures of all files; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    names: Family<OfClass, Gauge>,
    bytes: Family<OfPart, Gauge>,
    evicted: Family<OfClass, Gauge>,
    changes: Family<OfClass, Counter>,
    refused: Family<OfPart, Counter>,
}

impl Metrics {
    /// Adds them to an exposition.
    pub fn register(&self, registry: &mut Registry) {
        let help = "External names whose answers lie in shared memory";
        registry.register("external_names", help, self.names.clone());
        let help = "The file of external answers, by use";
        registry.register_with_unit("external_size", help, Unit::Bytes, self.bytes.clone());
        let help = "External names that had to go before they expired, since the file was opened";
        registry.register("external_evicted", help, self.evicted.clone());
        let help = "External answers published or taken back";
        registry.register("external_changes", help, self.changes.clone());
        let help = "External answers that are not published: answer, file, hosts, name, space";
        registry.register("external_refused", help, self.refused.clone());
    }

    /// One file as it is now.
    pub(super) fn file(&self, class: &str, statistics: &HeldStatistics) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let of = |of| OfPart {
            class: class.to_owned(),
            of,
        };
        let class = OfClass {
            class: class.to_owned(),
        };
        self.names
            .get_or_create(&class)
            .set(gauge(statistics.names));
        self.evicted
            .get_or_create(&class)
            .set(gauge(statistics.evicted));
        let bytes = |part, value| {
            self.bytes.get_or_create(&of(part)).set(gauge(value));
        };
        bytes("file", statistics.bytes);
        bytes("used", statistics.used_bytes);
    }

    /// An answer was published or taken back.
    pub(super) fn changed(&self, class: &str) {
        let class = class.to_owned();
        self.changes.get_or_create(&OfClass { class }).inc();
    }

    /// Something could not be published.
    pub(super) fn refused(&self, class: &str, of: &'static str) {
        let class = class.to_owned();
        self.refused.get_or_create(&OfPart { class, of }).inc();
    }
}
