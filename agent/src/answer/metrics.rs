//! How many messages came in and what was said to them. Plain atomics in arrays: they are counted for
//! every message.

use super::Way;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Who gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Giver {
    /// The zone in shared memory.
    Zone = 0,
    /// Fixed addresses.
    Hosts = 1,
    /// A rule that blocks.
    Rules = 2,
    /// An upstream, now or earlier.
    Upstream = 3,
    /// Nobody: the query is refused.
    Nobody = 4,
}

/// Their labels, in order.
const GIVERS: [&str; 5] = ["zone", "hosts", "rules", "upstream", "none"];
/// Ways, in order.
const WAYS: [&str; 3] = ["udp", "tcp", "process"];
/// Response codes that are told apart, in order; every other is the last.
const CODES: [&str; 7] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other",
];

/// Labels of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    proto: &'static str,
}

/// Labels of a response.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Response {
    rcode: &'static str,
    from: &'static str,
}

/// The figures; CoreDNS's are `coredns_dns_requests_total` and `coredns_dns_responses_total`.
pub struct Metrics {
    requests: Family<Request, Counter>,
    responses: Family<Response, Counter>,
    /// The same counters, by [`WAYS`].
    by_way: [Counter; WAYS.len()],
    /// The same counters, by [`CODES`] and [`GIVERS`].
    by_code: [[Counter; GIVERS.len()]; CODES.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::<Request, Counter>::default();
        let responses = Family::<Response, Counter>::default();
        let by_way = WAYS.map(|proto| requests.get_or_create(&Request { proto }).clone());
        let by_code = CODES.map(|rcode| {
            GIVERS.map(|from| responses.get_or_create(&Response { rcode, from }).clone())
        });
        Self {
            requests,
            responses,
            by_way,
            by_code,
        }
    }
}

impl Metrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = "DNS messages received, by way";
        registry.register("dns_requests", help, self.requests.clone());
        let help = "DNS messages sent, by response code and by who answered";
        registry.register("dns_responses", help, self.responses.clone());
    }

    /// A message came.
    pub(super) fn heard(&self, way: Way<'_>) {
        let [udp, tcp, process] = &self.by_way;
        match way {
            Way::Udp => udp,
            Way::Tcp(_) => tcp,
            Way::Process(_) => process,
        }
        .inc();
    }

    /// It is answered.
    pub(super) fn said(&self, code: u8, giver: Giver) {
        let last = CODES.len() - 1;
        let code = usize::from(code).min(last);
        if let Some(counter) = self.by_code.get(code).and_then(|of| of.get(giver as usize)) {
            counter.inc();
        }
    }
}
