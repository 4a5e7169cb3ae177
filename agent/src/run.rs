//! `nss-k8s agent`: starts the tasks, and ends the process when one of them does. The zone stays.

use crate::{
    cli::AgentArgs,
    config::{Config, Live},
    csi::report::Figures,
    external, fanout, jitter,
    manifests::{self, Directory},
    model::Source,
    outside::Outside,
    pods::Pods,
    publish::{BATCH, Message, Publisher},
    serve,
    telemetry::Telemetry,
    verify::{self, Verifier},
    watch::{Server, Watches},
};
use anyhow::{Context, Result, anyhow, bail};
use nss_k8s_zone::Options;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch as latest},
    task::JoinSet,
    time::timeout,
};

/// How long the publisher may take to write what it has when the process is told to stop.
const STOP_WITHIN: Duration = Duration::from_millis(800);

/// How long the listener may take to answer what has come; it bounds that itself.
const LEAVE_WITHIN: Duration = Duration::from_secs(6);

/// Where objects come from.
enum Input {
    Manifests(Directory),
    Api(Server),
    /// The bucket, and the server for the time without it.
    Bucket(Server),
}

/// Runs the agent until a signal or a failure.
pub async fn run(args: AgentArgs) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let telemetry = Arc::new(Telemetry::new());

    // What can be wrong with the way we were called is found before anything is published.
    let live = Live::open(args.clone(), &telemetry)?;
    let config = live.subscribe();
    let current = Arc::clone(&config.borrow());
    let input = match &args.manifests {
        Some(path) => Input::Manifests(Directory::open(path)?),
        None => {
            let server = Watches::connect(args.kubeconfig.as_deref()).await?;
            match current.fanout.servers.is_empty() {
                true => Input::Api(server),
                false => Input::Bucket(server),
            }
        }
    };
    let sources = match input {
        Input::Manifests(_) => manifests::SOURCES.to_vec(),
        Input::Api(_) => Watches::sources(current.holds_all_slices()),
        Input::Bucket(_) => fanout::sources(current.holds_all_slices()),
    };
    let listener = match current.http.address {
        Some(address) => Some(serve::bind(address).await?),
        None => None,
    };
    let base = args.place.dir.as_path();
    let options = Options::new(base, current.kubernetes.cluster_domain.as_str());
    let (links, linked) = mpsc::unbounded_channel();
    let (publisher, news) = Publisher::open(
        options,
        sources.clone(),
        config.clone(),
        Arc::clone(&telemetry),
        linked,
    )
    .with_context(|| format!("cannot publish in {}", base.display()))?;
    let (sockets, served) = latest::channel(None);
    // It keeps the sockets open when the pods' directories are no longer followed.
    let _open_sockets = served.clone();
    let pods = Pods::open(base, served, links, &telemetry)?;

    let (outbox, inbox) = mpsc::channel(BATCH);
    let (stop, stopped) = oneshot::channel();
    let mut publishing = tokio::spawn(publisher.run(inbox, stopped));
    let mut tasks = JoinSet::new();
    if let Some(listener) = listener {
        tasks.spawn(serve::run(listener, Arc::clone(&telemetry)));
    }
    let following = config.clone();
    tasks.spawn(async move {
        live.run().await;
        bail!("nobody follows the configuration")
    });
    let (configured, told) = (config.clone(), news.clone());
    let following_pods = tasks.spawn(async move {
        pods.run(configured, told).await;
        bail!("nobody follows the pods")
    });
    telemetry.extend(|registry| registry.register_collector(Box::new(Figures::new(base))));
    // What goes wrong with names outside the zone leaves the zone alone.
    let (held, source) = oneshot::channel();
    let figures = external::Metrics::default();
    telemetry.extend(|registry| figures.register(registry));
    let sharing = external::Publisher::new(base, figures);
    tokio::spawn(external::run(sharing, source, config.clone()));
    // It only reads; what goes wrong with it leaves everything alone.
    tokio::spawn(verify::run(Verifier {
        base: base.to_owned(),
        config: config.clone(),
        cluster_dns: news.cluster_dns.clone(),
        metrics: verify::Metrics::register(&telemetry),
    }));
    let outside = Outside {
        base: base.to_owned(),
        config,
        news,
        telemetry: Arc::clone(&telemetry),
        sockets,
        held,
    };
    let (leave, left) = oneshot::channel();
    let outside = tokio::spawn(outside.run(left));
    let mut watches = JoinSet::new();
    let feed = Feed {
        base: base.to_owned(),
        sources,
        config: following,
        jitter: Duration::from_secs(args.start_jitter),
        outbox,
        telemetry,
    };
    feed.start(&mut watches, input).await?;

    let verdict = tokio::select! {
        signal = either(&mut terminate, &mut interrupt) => {
            tracing::info!(signal, "stopping; the zone stays");
            Ok(())
        }
        ended = tasks.join_next() => Err(failure(ended)),
        ended = watches.join_next() => Err(failure(ended)),
        ended = &mut publishing => match ended {
            Ok(Ok(())) => bail!("the publisher ended"),
            Ok(Err(error)) => return Err(error),
            Err(panic) => return Err(anyhow!(panic).context("the publisher failed")),
        },
    };
    // The agent that comes after us has the directories as soon as we let go of the zone: its sockets
    // are not to be replaced by ours again.
    following_pods.abort();
    // What watches keep is its own from then on, too.
    watches.shutdown().await;
    // Who is gone already needs no stopping.
    let _ = leave.send(());
    let _ = stop.send(());
    if timeout(STOP_WITHIN, publishing).await.is_err() {
        tracing::warn!("the publisher did not stop in time; the zone is consistent all the same");
    }
    if timeout(LEAVE_WITHIN, outside).await.is_err() {
        tracing::warn!("not every DNS client was answered in time");
    }
    verdict
}

/// What the tasks need that bring objects.
struct Feed {
    base: PathBuf,
    sources: Vec<Source>,
    config: latest::Receiver<Arc<Config>>,
    /// The start is delayed by a random part of it.
    jitter: Duration,
    outbox: mpsc::Sender<Message>,
    telemetry: Arc<Telemetry>,
}

impl Feed {
    async fn start(self, tasks: &mut JoinSet<Result<()>>, input: Input) -> Result<()> {
        match input {
            Input::Manifests(directory) => {
                tasks.spawn(async move {
                    tokio::time::sleep(jitter::part_of(self.jitter)).await;
                    manifests::run(directory, self.config, self.outbox, self.telemetry).await
                });
            }
            Input::Bucket(server) => {
                let follower = fanout::Follower::new(
                    server,
                    self.base,
                    self.config,
                    self.jitter,
                    self.outbox,
                    self.telemetry,
                );
                tasks.spawn(follower.await?.run());
            }
            Input::Api(server) => {
                fanout::forget(&self.base);
                let watches = Watches::new(server, &self.base, self.outbox, self.telemetry);
                for source in self.sources {
                    let (watches, config) = (watches.clone(), self.config.clone());
                    tasks.spawn(watches.run(source, config, self.jitter));
                }
            }
        }
        Ok(())
    }
}

/// Why the process must end although nobody asked for it.
fn failure(ended: Option<Result<Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Ok(()))) => anyhow!("a task ended"),
        Some(Ok(Err(error))) => error,
        Some(Err(panic)) => anyhow!(panic).context("a task failed"),
        None => anyhow!("no task is left"),
    }
}

/// Waits for either signal; its name.
async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
