//! `nss-k8s agent`: starts the tasks, and ends the process when one of them does. The zone stays.

use crate::{
    cli::AgentArgs,
    manifests::{self, Directory},
    model::{Settings, Source},
    parse,
    publish::{BATCH, Message, Publisher},
    serve,
    telemetry::Telemetry,
    watch::{self, Watches},
};
use anyhow::{Context, Result, anyhow, bail};
use nss_k8s_zone::{Options, ServiceKey};
use std::{hash::BuildHasher, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

/// How long the publisher may take to write what it has when the process is told to stop.
const STOP_WITHIN: Duration = Duration::from_millis(800);

/// Where objects come from.
enum Input {
    Manifests(Directory),
    Api(kube::Client),
}

/// Runs the agent until a signal or a failure.
pub async fn run(args: AgentArgs) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let telemetry = Arc::new(Telemetry::new());
    let all_slices = args.holds_all_slices();

    // What can be wrong with the way we were called is found before anything is published.
    let cluster_dns = service_key(&args.cluster_dns_service)?;
    let input = match &args.manifests {
        Some(path) => Input::Manifests(Directory::open(path)?),
        None => Input::Api(watch::connect(args.kubeconfig.as_deref()).await?),
    };
    let sources = match input {
        Input::Manifests(_) => manifests::SOURCES.to_vec(),
        Input::Api(_) => Watches::sources(all_slices),
    };
    let listener = match args.listen.0 {
        Some(address) => Some(serve::bind(address).await?),
        None => None,
    };
    let settings = Settings {
        sources: sources.clone(),
        all_slices,
        grace: Duration::from_millis(args.endpoint_grace),
        cluster_dns,
    };
    let options = Options::new(&args.place.dir, &args.cluster_domain);
    let publisher = Publisher::open(options, settings, args.config(), Arc::clone(&telemetry))
        .with_context(|| format!("cannot publish in {}", args.place.dir.display()))?;

    let (outbox, inbox) = mpsc::channel(BATCH);
    let (stop, stopped) = oneshot::channel();
    let mut publishing = tokio::spawn(publisher.run(inbox, stopped));
    let mut tasks = JoinSet::new();
    if let Some(listener) = listener {
        tasks.spawn(serve::run(listener, Arc::clone(&telemetry)));
    }
    let jitter = jitter(args.start_jitter);
    start(
        &mut tasks, input, sources, all_slices, jitter, outbox, telemetry,
    );

    let verdict = tokio::select! {
        signal = either(&mut terminate, &mut interrupt) => {
            tracing::info!(signal, "stopping; the zone stays");
            Ok(())
        }
        ended = tasks.join_next() => Err(failure(ended)),
        ended = &mut publishing => match ended {
            Ok(Ok(())) => bail!("the publisher ended"),
            Ok(Err(error)) => return Err(error),
            Err(panic) => return Err(anyhow!(panic).context("the publisher failed")),
        },
    };
    // A publisher that is gone already needs no stopping.
    let _ = stop.send(());
    if timeout(STOP_WITHIN, publishing).await.is_err() {
        tracing::warn!("the publisher did not stop in time; the zone is consistent all the same");
    }
    verdict
}

/// Starts the tasks that bring objects.
fn start(
    tasks: &mut JoinSet<Result<()>>,
    input: Input,
    sources: Vec<Source>,
    all_slices: bool,
    jitter: Duration,
    outbox: mpsc::Sender<Message>,
    telemetry: Arc<Telemetry>,
) {
    match input {
        Input::Manifests(directory) => {
            tasks.spawn(async move {
                tokio::time::sleep(jitter).await;
                manifests::run(directory, outbox, telemetry).await
            });
        }
        Input::Api(client) => {
            let watches = Watches::new(client, outbox, telemetry);
            for source in sources {
                let watches = watches.clone();
                tasks.spawn(async move {
                    tokio::time::sleep(jitter).await;
                    watches.run(source, all_slices).await
                });
            }
        }
    }
}

/// A random part of `seconds`. The standard library's hash keys are random; that is enough here.
fn jitter(seconds: u64) -> Duration {
    let random = std::hash::RandomState::new().hash_one(std::process::id());
    Duration::from_millis(random % (seconds.saturating_mul(1000).saturating_add(1)))
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

/// Reads `namespace/name`.
fn service_key(text: &str) -> Result<ServiceKey> {
    let sound = |(namespace, name): &(&str, &str)| {
        parse::label(namespace).is_ok() && parse::label(name).is_ok()
    };
    let (namespace, name) = text
        .split_once('/')
        .filter(sound)
        .with_context(|| format!("--cluster-dns-service {text}: not NAMESPACE/NAME"))?;
    Ok(ServiceKey::new(name, namespace)?)
}
