//! Watches of the API server: each is one task that turns kube's watcher into events of the model.
//!
//! Lists are streamed where the server can (`sendInitialEvents`), else paged: a server that refuses
//! to stream is not asked again by this process. An object that cannot be decoded is counted and
//! skipped; a watch that fails is tried again with a growing pause, for ever.

use crate::{
    config::Selector,
    model::{Event, ObjectKey, Source},
    objects::{ServiceObject, SliceObject},
    parse::{self, Parsed, Verdict},
    publish::Message,
    report::one_line,
    telemetry::Telemetry,
};
use anyhow::{Context, Result, bail};
use futures::StreamExt;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use std::{
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch as latest},
    time::timeout,
};

/// The selector for slices of headless services; the controller labels them.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The selector for slices that the controller did not write: by hand, or mirrored. With the one
/// above it covers what DNS needs, and leaves out what only kube-proxy needs.
const UNMANAGED: &str = "!service.kubernetes.io/headless,\
    endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io";

/// A streamed list during which nothing comes for so long is given up in favor of pages: a server
/// that does not know the parameter never says that the list is complete.
const STREAMED_LIST_SILENCE: Duration = Duration::from_secs(30);

/// After an error, a watch without another one for so long counts as healthy again, even when the
/// cluster has nothing to say: longer than the longest pause and connection attempt together.
const QUIET_IS_HEALTHY: Duration = Duration::from_secs(75);

/// A connection on which nothing came for so long is given up. Watches end after 290 s.
const NO_ANSWER: Duration = Duration::from_secs(330);

/// Connects by `kubeconfig`, else as a pod, else by the user's own kubeconfig. Only reads files;
/// a server that cannot be reached is a matter of the watches.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let context = || format!("cannot use the kubeconfig {}", path.display());
            let read = Kubeconfig::read_from(path).with_context(context)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(read, &options)
                .await
                .with_context(context)?
        }
        None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            Config::incluster().context("cannot use the pod's service account")?
        }
        None => Config::infer()
            .await
            .context("not in a pod, and no kubeconfig found: use --kubeconfig or --manifests")?,
    };
    // Above the time after which a server ends a watch by itself: a request that is accepted and
    // never answered must not freeze the zone.
    config.read_timeout = Some(NO_ANSWER);
    let server = config.cluster_url.to_string();
    let client = Client::try_from(config).context("cannot set up the connection to the API")?;
    tracing::info!(server, "watching the Kubernetes API");
    Ok(client)
}

/// What all watches share.
#[derive(Clone)]
pub struct Watches {
    client: Client,
    outbox: mpsc::Sender<Message>,
    telemetry: Arc<Telemetry>,
    /// The server streams lists, as far as we know.
    streams: Arc<AtomicBool>,
}

impl Watches {
    /// Nothing is asked before the first `run`.
    pub fn new(client: Client, outbox: mpsc::Sender<Message>, telemetry: Arc<Telemetry>) -> Self {
        Self {
            client,
            outbox,
            telemetry,
            streams: Arc::new(AtomicBool::new(true)),
        }
    }

    /// The sources to watch.
    pub fn sources(all_slices: bool) -> Vec<Source> {
        let mut sources = vec![Source::Namespaces, Source::Services, Source::Slices];
        if !all_slices {
            sources.push(Source::OtherSlices);
        }
        sources
    }

    /// Follows one source for ever; returns only when the publisher is gone. Another selector means
    /// another list, whose differences count.
    pub async fn run(
        self,
        source: Source,
        mut config: latest::Receiver<Arc<crate::config::Config>>,
    ) -> Result<()> {
        loop {
            let current = Arc::clone(&config.borrow_and_update());
            let changed = async {
                while config.changed().await.is_ok() {
                    if config.borrow().kubernetes.labels != current.kubernetes.labels {
                        return;
                    }
                }
                core::future::pending().await
            };
            tokio::select! {
                ended = self.select(source, &current) => return ended,
                () = changed, if source != Source::Namespaces => {}
            }
        }
    }

    /// Follows one source by the labels that are configured.
    async fn select(&self, source: Source, current: &crate::config::Config) -> Result<()> {
        let all_slices = current.holds_all_slices();
        let labels = current.kubernetes.labels.as_ref().map(Selector::to_string);
        let config = watcher::Config::default();
        let client = self.client.clone();
        match source {
            Source::Namespaces => {
                // The type makes kube ask for metadata only.
                let api = Api::<PartialObjectMeta<Namespace>>::all(client);
                let open = |config| watcher(api.clone(), config);
                self.follow(source, config, open, namespace).await
            }
            Source::Services => {
                let config = match &labels {
                    Some(labels) => config.labels(labels),
                    None => config,
                };
                let api = Api::<DeserializeGuard<ServiceObject>>::all(client);
                let open = |config| watcher(api.clone(), config);
                self.follow(source, config, open, |guard| {
                    guarded("Service", guard, parse::service)
                })
                .await
            }
            Source::Slices | Source::OtherSlices => {
                let ours = match source {
                    _ if all_slices => None,
                    Source::Slices => Some(HEADLESS.to_owned()),
                    _ => Some(UNMANAGED.to_owned()),
                };
                let both: Vec<_> = ours.into_iter().chain(labels).collect();
                let config = match both.as_slice() {
                    [] => config,
                    both => config.labels(&both.join(",")),
                };
                let api = Api::<DeserializeGuard<SliceObject>>::all(client);
                let open = |config| watcher(api.clone(), config);
                self.follow(source, config, open, |guard| {
                    guarded("EndpointSlice", guard, parse::slice)
                })
                .await
            }
        }
    }

    /// Runs watchers one after the other: the first with streamed lists, and when the server
    /// refuses those, one with paged lists.
    async fn follow<K, S>(
        &self,
        source: Source,
        config: watcher::Config,
        open: impl Fn(watcher::Config) -> S,
        parse: impl Fn(K) -> Parsed,
    ) -> Result<()>
    where
        S: futures::Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    {
        loop {
            let streaming = self.streams.load(Ordering::Relaxed);
            let config = match streaming {
                true => config.clone().streaming_lists(),
                false => config.clone(),
            };
            let mut stream = pin!(open(config).default_backoff());
            let mut listing = false;
            let mut broken = false;
            loop {
                let patience = match streaming && listing {
                    true => STREAMED_LIST_SILENCE,
                    false => QUIET_IS_HEALTHY,
                };
                match timeout(patience, stream.next()).await {
                    Ok(Some(Ok(event))) => {
                        broken = false;
                        match event {
                            watcher::Event::Init => listing = true,
                            watcher::Event::InitDone => listing = false,
                            _ => {}
                        }
                        self.pass_on(source, streaming, event, &parse).await?;
                    }
                    Ok(Some(Err(error))) => {
                        if streaming && refuses_streams(&error) {
                            self.page_from_now_on(source, &error.to_string());
                            break;
                        }
                        broken = true;
                        let reason = reason(&error);
                        self.telemetry.watch_error(source.as_str(), reason);
                        let (name, error) = (source.as_str(), one_line(&error));
                        tracing::warn!(source = name, reason, error, "watch failed");
                        self.send(Message::Broken(source)).await?;
                    }
                    Ok(None) => bail!("the watch of {} ended", source.as_str()),
                    Err(_elapsed) if streaming && listing => {
                        self.page_from_now_on(source, "the streamed list does not go on");
                        break;
                    }
                    Err(_elapsed) if broken => {
                        broken = false;
                        self.send(Message::Healthy(source)).await?;
                    }
                    Err(_elapsed) => {}
                }
            }
        }
    }

    /// Turns one event of kube into one of the model.
    async fn pass_on<K>(
        &self,
        source: Source,
        streaming: bool,
        event: watcher::Event<K>,
        parse: impl Fn(K) -> Parsed,
    ) -> Result<()> {
        let name = source.as_str();
        let event = match event {
            watcher::Event::Init => Some(Event::Init),
            watcher::Event::InitDone => {
                let way = if streaming { "streaming" } else { "paged" };
                self.telemetry.listed(name, way);
                tracing::info!(source = name, way, "listed");
                Some(Event::Done { certain: true })
            }
            watcher::Event::InitApply(object) => {
                self.telemetry.event(name, "list");
                self.judge(source, parse(object))
            }
            watcher::Event::Apply(object) => {
                self.telemetry.event(name, "apply");
                self.judge(source, parse(object))
            }
            watcher::Event::Delete(object) => {
                self.telemetry.event(name, "delete");
                parse(object).key().map(Event::Delete)
            }
        };
        match event {
            Some(event) => self.send(Message::Event(source, event)).await,
            None => Ok(()),
        }
    }

    /// The event of an object that exists; counts and logs what is not served.
    fn judge(&self, source: Source, parsed: Parsed) -> Option<Event> {
        let kind = match source {
            Source::Namespaces => "Namespace",
            Source::Services => "Service",
            Source::Slices | Source::OtherSlices => "EndpointSlice",
        };
        for complaint in &parsed.complaints {
            self.telemetry.skipped(kind, "part");
            let object = parsed.key().map_or_else(String::new, |key| key.to_string());
            tracing::warn!(object, "left out: {complaint}");
        }
        match parsed.verdict {
            Verdict::Sound(object) => Some(Event::Apply(object)),
            Verdict::NotServed(key, why) => {
                self.telemetry.skipped(kind, "not-served");
                tracing::info!(object = %key, "not served: {why}");
                Some(Event::Delete(key))
            }
            Verdict::Malformed(Some(key), why) => {
                self.telemetry.skipped(kind, "malformed");
                tracing::warn!(object = %key, "skipped: {why}");
                Some(Event::Unreadable(key))
            }
            Verdict::Malformed(None, why) => {
                self.telemetry.skipped(kind, "malformed");
                tracing::warn!("skipped: {why}");
                None
            }
        }
    }

    /// Remembers that this server does not stream lists.
    fn page_from_now_on(&self, source: Source, why: &str) {
        self.streams.store(false, Ordering::Relaxed);
        self.telemetry
            .watch_error(source.as_str(), "no-streaming-lists");
        tracing::info!(
            source = source.as_str(),
            why,
            "the server does not stream lists: paging"
        );
    }

    async fn send(&self, message: Message) -> Result<()> {
        self.outbox
            .send(message)
            .await
            .context("the publisher is gone")
    }
}

/// A namespace of which only the metadata was asked for.
fn namespace(object: PartialObjectMeta<Namespace>) -> Parsed {
    parse::namespace(&crate::objects::NamespaceObject {
        metadata: object.metadata,
    })
}

/// An object that may not have been decodable.
fn guarded<K: kube::Resource>(
    kind: &'static str,
    DeserializeGuard(result): DeserializeGuard<K>,
    parse: fn(&K) -> Parsed,
) -> Parsed {
    match result {
        Ok(object) => parse(&object),
        Err(invalid) => {
            let key = identity(kind, &invalid.metadata);
            let named = key
                .as_ref()
                .map_or_else(|| format!("{kind}: "), |_| String::new());
            let why = format!("{named}{}", invalid.error);
            Parsed {
                verdict: Verdict::Malformed(key, why),
                complaints: Vec::new(),
            }
        }
    }
}

/// The identity of an object of which only the metadata could be read.
fn identity(kind: &str, metadata: &ObjectMeta) -> Option<ObjectKey> {
    let name = metadata.name.as_deref().unwrap_or_default();
    parse::object_key(kind, metadata.namespace.as_deref(), name)
}

/// Whether the server says that it cannot stream lists: 500 (its storage cannot report progress),
/// 422 or 400 (the feature is switched off or unknown), before or inside the stream.
fn refuses_streams(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        watcher::Error::WatchError(status) => status,
        _ => return false,
    };
    let spoken = status.message.contains("sendInitialEvents")
        || status.message.contains("RequestWatchProgress");
    matches!(status.code, 500 | 422 | 400) && (spoken || status.code == 500)
}

/// A word for the metric.
fn reason(error: &watcher::Error) -> &'static str {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(_) => return "list",
        watcher::Error::WatchStartFailed(_) => return "connect",
        watcher::Error::WatchFailed(_) => return "stream",
        watcher::Error::NoResourceVersion => return "no-version",
    };
    match status {
        401 => "unauthorized",
        403 => "forbidden",
        410 => "gone",
        429 => "too-many-requests",
        _ => "server",
    }
}
