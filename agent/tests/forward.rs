//! The forwarder between servers on loopback that misbehave on request, and processes that ask.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

#[path = "forward/caching.rs"]
mod caching;
#[path = "forward/connections.rs"]
mod connections;
#[path = "forward/loops.rs"]
mod loops;
#[path = "forward/news.rs"]
mod news;
#[path = "forward/server.rs"]
mod server;
#[path = "forward/sockets.rs"]
mod sockets;
#[path = "forward/transports.rs"]
mod transports;
#[path = "forward/upstreams.rs"]
mod upstreams;

use hickory_proto::rr::RecordType;
use nss_k8s_agent::forward::{
    Answer, Change, Forwarder, GroupSettings, Metrics, Question, Settings, Source, UpstreamSettings,
};
use prometheus_client::registry::Registry;
use server::{DEADLINE, name};
use std::{net::SocketAddr, time::Duration};
use tokio::{sync::mpsc, time::timeout};

/// A forwarder and all that can be seen of it.
struct Rig {
    forwarder: Forwarder,
    news: mpsc::Receiver<Change>,
    registry: Registry,
}

impl Rig {
    /// With one group for everything.
    fn new(upstreams: &[SocketAddr]) -> Self {
        Self::with(settings(upstreams))
    }

    fn with(settings: Settings) -> Self {
        let metrics = Metrics::new();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let (forwarder, news) = Forwarder::start(settings, metrics);
        Self {
            forwarder,
            news,
            registry,
        }
    }

    async fn ask(&self, text: &str) -> Answer {
        let question = question(text);
        let resolving = self.forwarder.resolve(None, &question);
        timeout(DEADLINE, resolving).await.expect("an answer")
    }

    /// The value of a line of /metrics; 0 where there is none.
    fn figure(&self, line: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let value = text
            .lines()
            .find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |it| it.parse().unwrap())
    }

    /// Waits until a look at the forwarder says yes. There is no event for what time does.
    async fn until(&self, what: &str, yes: impl Fn(&Self) -> bool) {
        let looking = async {
            while !yes(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, looking)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }
}

/// Sequential upstreams, no search for loops: the tests count queries.
fn settings(upstreams: &[SocketAddr]) -> Settings {
    Settings {
        groups: vec![group(&["."], upstreams)],
        loop_probe: false,
        ..Settings::default()
    }
}

fn group(zones: &[&str], upstreams: &[SocketAddr]) -> GroupSettings {
    GroupSettings {
        zones: zones.iter().map(|it| name(it)).collect(),
        upstreams: upstreams
            .iter()
            .copied()
            .map(UpstreamSettings::tcp)
            .collect(),
        policy: nss_k8s_agent::forward::Policy::Sequential,
        ..GroupSettings::default()
    }
}

fn question(text: &str) -> Question {
    Question::of(&name(text), RecordType::A).unwrap()
}

/// The first address of an answer, and its TTL.
fn first(answer: &Answer) -> Option<(String, u32)> {
    let message = answer.to_message().unwrap();
    let record = message.answers.first()?;
    Some((record.data.to_string(), record.ttl))
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[track_caller]
fn assert_answer(answer: &Answer, source: Source, address: &str) {
    let found = first(answer).map(|it| it.0);
    assert_eq!((answer.source, found.as_deref()), (source, Some(address)));
}
