//! A simulated agent with watches of its own: the requests of `agent/src/watch`, in the same order and after the same
//! pauses, each watch over a connection of its own. What comes is read to the end of each line and not decoded.

use crate::{
    Shared,
    audience::KINDS,
    plane::{Plane, client},
};
use anyhow::Result;
use core::pin::pin;
use futures::AsyncBufReadExt;
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::Request,
};
use nss_k8s_tests::choices::Choices;
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::sleep};

/// What an agent with all slices watches; whether metadata is enough.
const SOURCES: [(&str, bool); KINDS] = [
    ("/api/v1/namespaces", true),
    ("/api/v1/services", false),
    ("/apis/discovery.k8s.io/v1/endpointslices", false),
];
/// The longest pause while nobody is there.
const CHEAP: Duration = Duration::from_secs(5);
/// The longest pause while the server refuses.
const DEAR: Duration = Duration::from_secs(30);
/// A watch that lived for so long counts as healthy.
const STEADY: Duration = Duration::from_secs(10);

/// Adds an agent.
pub(crate) async fn spawn(
    tasks: &mut JoinSet<()>,
    plane: &Plane,
    audience: &Shared,
    jitter: Duration,
    number: usize,
) -> Result<()> {
    let client = client(&plane.keys().join("agent.kubeconfig")).await?;
    for (at, (path, only_metadata)) in SOURCES.iter().enumerate() {
        let watch = Watch {
            client: client.clone(),
            path,
            only_metadata: *only_metadata,
            audience: Shared::clone(audience),
            version: None,
            listed: false,
            newest: 0,
        };
        let choices = Choices::seeded(1 + (number * SOURCES.len() + at) as u64)?;
        tasks.spawn(watch.run(jitter, choices));
    }
    Ok(())
}

/// One watch.
struct Watch {
    client: Client,
    path: &'static str,
    only_metadata: bool,
    audience: Shared,
    /// The last that was seen.
    version: Option<String>,
    /// What follows is a change after it.
    listed: bool,
    /// The newest marker that was seen.
    newest: usize,
}

/// Why a request ended.
enum Ended {
    /// Nobody there, or nobody any longer.
    Away,
    /// Refused.
    Refused,
    /// The version is too old: list.
    Gone,
}

impl Watch {
    async fn run(mut self, jitter: Duration, mut choices: Choices) {
        sleep(part_of(&mut choices, jitter)).await;
        let mut failures = 0;
        let mut was_dear = false;
        loop {
            let began = Instant::now();
            let due = 240 + choices.below(60) as u32;
            let ended = match self.listed {
                // Nearly every watch that ends here was broken off.
                true if failures > 0 => match self.ask().await {
                    Ok(()) => self.follow(due).await,
                    Err(ended) => ended,
                },
                _ => self.follow(due).await,
            };
            let dear = !matches!(ended, Ended::Away);
            if matches!(ended, Ended::Gone) {
                self.listed = false;
            }
            self.audience.failures.fetch_add(1, Relaxed);
            if began.elapsed() >= STEADY || dear != was_dear {
                failures = 0;
            }
            was_dear = dear;
            let cap = if dear { DEAR } else { CHEAP };
            let longest = Duration::from_secs(1 << failures.min(5)).min(cap);
            failures += 1;
            sleep(part_of(&mut choices, longest)).await;
        }
    }

    /// Asks for the server's version, as an agent does before it goes on; what it is does not matter here.
    async fn ask(&self) -> Result<(), Ended> {
        let one_key = match self.only_metadata {
            true => "metadata.name=nss-k8s-no-such-namespace",
            false => "metadata.namespace=default,metadata.name=nss-k8s-nothing",
        };
        let params = ListParams::default().fields(one_key);
        let request = Request::new(self.path).list_metadata(&params);
        let request = request.map_err(|_| Ended::Refused)?;
        match self.client.request_text(request).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(_)) => Err(Ended::Refused),
            Err(_) => Err(Ended::Away),
        }
    }

    /// Lists or goes on, and reads until the server ends it.
    async fn follow(&mut self, due: u32) -> Ended {
        let params = WatchParams {
            timeout: Some(due),
            send_initial_events: !self.listed,
            ..WatchParams::default()
        };
        let version = self.version.as_deref().unwrap_or("0");
        let request = Request::new(self.path);
        let request = match self.only_metadata {
            true => request.watch_metadata(&params, version),
            false => request.watch(&params, version),
        };
        let Ok(request) = request else {
            return Ended::Refused;
        };
        let lines = match self.client.request_stream(request).await {
            Ok(lines) => lines,
            Err(kube::Error::Api(status)) if status.code == 410 => return Ended::Gone,
            Err(kube::Error::Api(_)) => return Ended::Refused,
            Err(_) => return Ended::Away,
        };
        let mut lines = pin!(lines);
        let mut line = Vec::new();
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return Ended::Away,
                Ok(_) => {}
            }
            if line.starts_with(br#"{"type":"ERROR""#) {
                let gone = find(&line, br#""code":410"#).is_some();
                return if gone { Ended::Gone } else { Ended::Refused };
            }
            self.read(&line);
        }
    }

    /// Notes what a line says.
    fn read(&mut self, line: &[u8]) {
        let head = line.get(..700).unwrap_or(line);
        let bookmark = line.starts_with(br#"{"type":"BOOKMARK""#);
        if bookmark && find(line, b"k8s.io/initial-events-end").is_some() {
            self.listed = true;
            self.audience.lists.fetch_add(1, Relaxed);
        }
        if self.listed
            && let Some(version) = text_after(head, br#""resourceVersion":""#)
        {
            self.version = Some(String::from_utf8_lossy(version).into_owned());
        }
        if bookmark {
            return;
        }
        self.audience.received.fetch_add(1, Relaxed);
        if let Some(name) = text_after(head, br#""metadata":{"name":""#) {
            self.audience.look(name, &mut self.newest);
        }
    }
}

/// What follows `key` up to the next quotation mark.
fn text_after<'l>(line: &'l [u8], key: &[u8]) -> Option<&'l [u8]> {
    let rest = &line[find(line, key)? + key.len()..];
    rest.split(|byte| *byte == b'"').next()
}

/// Where `wanted` is.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

/// A random part of a time.
pub(crate) fn part_of(choices: &mut Choices, whole: Duration) -> Duration {
    whole.mul_f64(choices.below(1_000_000) as f64 / 1e6)
}
