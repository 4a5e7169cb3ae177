//! What both sides of the fan-out say of themselves.

use crate::telemetry::Telemetry;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Unit,
};

/// Registers the figures of both sides; for who compares them with their description.
pub fn register_figures(telemetry: &Telemetry) {
    let _ = Published::register(telemetry);
    let _ = Followed::register(telemetry);
}

/// Of a publisher.
#[derive(Default)]
pub(super) struct Published {
    pub(super) leading: Gauge,
    pub(super) records: Counter,
    pub(super) conflicts: Counter,
    pub(super) failures: Counter,
    pub(super) keys: Gauge,
    pub(super) outstanding: Gauge,
}

impl Published {
    pub(super) fn register(telemetry: &Telemetry) -> Self {
        let this = Self::default();
        telemetry.extend(|registry| {
            let help = "1: this replica leads, and writes the bucket";
            registry.register("fanout_leading", help, this.leading.clone());
            let help = "Records written into the bucket";
            registry.register("fanout_published", help, this.records.clone());
            let help = "Records that were to replace something else than was there";
            registry.register("fanout_conflicts", help, this.conflicts.clone());
            let help = "Terms that ended with an error";
            registry.register("fanout_publish_failures", help, this.failures.clone());
            let help = "Keys of the bucket, those that say that something is gone among them";
            registry.register("fanout_keys", help, this.keys.clone());
            let help = "Keys whose last state is not in the bucket yet";
            registry.register("fanout_outstanding", help, this.outstanding.clone());
        });
        this
    }
}

/// Of an agent.
#[derive(Clone, Default)]
pub(super) struct Followed {
    feed: Family<[(&'static str, &'static str); 1], Gauge>,
    pub(super) beat: Gauge,
    pub(super) records: Counter,
    pub(super) corrupt: Counter,
    starts: Family<[(&'static str, &'static str); 1], Counter>,
    pub(super) fallbacks: Counter,
}

/// Where objects come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// From nowhere at present.
    None,
    /// The bucket.
    Bucket,
    /// The API server.
    Api,
}

impl Followed {
    pub(super) fn register(telemetry: &Telemetry) -> Self {
        let this = Self::default();
        this.feed(Feed::None);
        telemetry.extend(|registry| {
            let help = "1: where objects come from, the bucket or the API server";
            registry.register("fanout_feed", help, this.feed.clone());
            let help = "When the publisher was heard last, Unix time";
            let (name, unit) = ("fanout_beat_timestamp", Unit::Seconds);
            registry.register_with_unit(name, help, unit, this.beat.clone());
            let help = "Records received from the bucket";
            registry.register("fanout_records", help, this.records.clone());
            let help = "Records that could not be read; what was known of their objects stays";
            registry.register("fanout_corrupt_records", help, this.corrupt.clone());
            let help =
                "How the bucket was begun with: replay reads all of it, resume what was missed";
            registry.register("fanout_starts", help, this.starts.clone());
            let help = "Times that the API server was watched because the bucket was not whole";
            registry.register("fanout_fallbacks", help, this.fallbacks.clone());
        });
        this
    }

    pub(super) fn feed(&self, feed: Feed) {
        for (one, word) in [(Feed::Bucket, "bucket"), (Feed::Api, "api")] {
            let gauge = self.feed.get_or_create(&[("feed", word)]);
            gauge.set(i64::from(one == feed));
        }
    }

    pub(super) fn start(&self, way: &'static str) {
        self.starts.get_or_create(&[("way", way)]).inc();
    }
}
