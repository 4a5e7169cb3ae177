//! What becomes of an object that was read: an event of the model, a figure, a line in the log.

use crate::{
    model::{Event, Source},
    parse::{Parsed, Verdict},
    telemetry::Telemetry,
};

/// The event of an object that exists; counts and logs what is not served.
pub(crate) fn judge(telemetry: &Telemetry, source: Source, parsed: Parsed) -> Option<Event> {
    let kind = match source {
        Source::Namespaces => "Namespace",
        Source::Services => "Service",
        Source::Slices | Source::OtherSlices | Source::ProxySlices => "EndpointSlice",
    };
    for complaint in &parsed.complaints {
        telemetry.skipped(kind, "part");
        let object = parsed.key().map_or_else(String::new, |key| key.to_string());
        tracing::warn!(object, "left out: {complaint}");
    }
    match parsed.verdict {
        Verdict::Sound(object) => Some(Event::Apply(object)),
        Verdict::NotServed(key, why) => {
            telemetry.skipped(kind, "not-served");
            tracing::info!(object = %key, "not served: {why}");
            Some(Event::Delete(key))
        }
        Verdict::Malformed(Some(key), why) => {
            telemetry.skipped(kind, "malformed");
            tracing::warn!(object = %key, "skipped: {why}");
            Some(Event::Unreadable(key))
        }
        Verdict::Malformed(None, why) => {
            telemetry.skipped(kind, "malformed");
            tracing::warn!("skipped: {why}");
            None
        }
    }
}
