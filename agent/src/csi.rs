//! `nss-k8s csi`: gives each pod its own directory, as an ephemeral inline volume. It owns the tmpfs
//! that zone, libraries and pods' directories lie on, the mounts, and nothing else: it talks to kubelet
//! over two Unix sockets, to the agent by files, and to nobody over a network.
//!
//! ```text
//!   kubelet --registration socket--> Registration      "here is csi.nss-k8s.io"
//!           --CSI socket-----------> Identity, Node --> volumes --bind, read-only--> pod: /run/nss-k8s
//!                                                         | ^
//!                                    private/pods/<id>  <-/ \-- private/classes
//!                                              agent reads       agent writes
//! ```
//!
//! A pod waits in ContainerCreating until its volume is published. So publishing depends on neither the
//! API server nor the agent: what the table does not know yet, the agent fills in later; and when
//! something goes wrong with the libraries, the pod starts without.
//!
//! # What the container needs
//!
//! `privileged` (mounts that spread ask for it) and uid 0; a read-only root; at these places:
//!
//! * `/run/nss-k8s`: the node's, Bidirectional. The tmpfs is mounted on `node` below it.
//! * `/var/lib/kubelet/pods`: the node's, under the same path, Bidirectional.
//! * `/csi`: the node's `/var/lib/kubelet/plugins/csi.nss-k8s.io`.
//! * `/registration`: the node's `/var/lib/kubelet/plugins_registry`.
//!
//! `nss-k8s csi probe` (flag `--endpoint`) says by its status whether the driver serves; by then the
//! tmpfs is there and the libraries lie on it.

mod descriptors;
mod filesystem;
mod identity;
mod libraries;
mod mounts;
mod nothing;
#[doc(hidden)]
pub mod proofs;
pub mod proto;
mod registry;
pub mod report;
mod services;
mod sys;
mod volumes;

use crate::pods;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use descriptors::Descriptors;
use filesystem::Filesystem;
pub(crate) use filesystem::OWNER;
use libraries::{Libraries, sweep_drafts};
use report::Report;
use services::{Plugin, Registration};
use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::UnixListenerStream;
use volumes::Volumes;

/// The driver's name: that of the CSIDriver object and of the volumes in pods.
pub const DRIVER: &str = "csi.nss-k8s.io";

/// How often the file system and the pods' directories are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often volumes are collected that kubelet forgot: every so many looks.
const COLLECT_AT: u32 = 30;
/// How long calls under way may take when the process is told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// `nss-k8s csi`.
#[derive(Args, Clone, Debug)]
pub struct CsiArgs {
    /// Instead of serving.
    #[command(subcommand)]
    pub command: Option<CsiCommand>,
    /// The socket on which kubelet calls
    #[arg(
        long,
        env = "NSS_K8S_CSI_ENDPOINT",
        default_value = "unix:/csi/csi.sock",
        value_name = "unix:PATH"
    )]
    pub endpoint: Endpoint,
    /// The socket by which kubelet learns of the driver, in its directory of plugins; its name needs an `@`
    // Kubelet sends the path as `:authority`, percent-encoded (grpc-go; for the driver's own socket it says `localhost`).
    // Percent signs are allowed only in front of an `@`: h2 refuses every other such path, as PROTOCOL_ERROR.
    #[arg(
        long,
        env = "NSS_K8S_CSI_REGISTRATION",
        default_value = "/registration/csi.nss-k8s.io@reg.sock",
        value_name = "PATH"
    )]
    pub registration: PathBuf,
    /// The endpoint as a path of the node
    #[arg(
        long,
        env = "NSS_K8S_CSI_KUBELET_SOCKET",
        default_value = "/var/lib/kubelet/plugins/csi.nss-k8s.io/csi.sock",
        value_name = "PATH"
    )]
    pub kubelet_socket: PathBuf,
    /// Where the tmpfs is to be mounted: the agent's base directory
    #[arg(
        long,
        env = "NSS_K8S_BASE",
        default_value = "/run/nss-k8s/node",
        value_name = "BASE"
    )]
    pub dir: PathBuf,
    /// Where the libraries are that pods get
    #[arg(
        long,
        env = "NSS_K8S_LIBRARIES",
        default_value = "/lib/nss-k8s",
        value_name = "DIR"
    )]
    pub libraries: PathBuf,
    /// The limit of the tmpfs: bytes, or with Ki, Mi, Gi
    #[arg(
        long,
        env = "NSS_K8S_TMPFS_SIZE",
        default_value = "256Mi",
        value_name = "SIZE"
    )]
    pub tmpfs_size: Size,
    /// The node's name
    #[arg(long, env = "NODE_NAME", default_value = "", value_name = "NAME")]
    pub node_id: String,
    /// Give pods an etc/nsswitch.conf too, for manifests that mount it
    #[arg(long, env = "NSS_K8S_NSSWITCH")]
    pub nsswitch: bool,
    /// When told to stop, unmount the tmpfs if no pod has a volume
    #[arg(long, env = "NSS_K8S_UNMOUNT_WHEN_UNUSED")]
    pub unmount_when_unused: bool,
}

/// What else `nss-k8s csi` does.
#[derive(Clone, Debug, Subcommand)]
pub enum CsiCommand {
    /// Say by the status whether the driver serves
    Probe {
        /// The socket on which kubelet calls
        #[arg(
            long,
            env = "NSS_K8S_CSI_ENDPOINT",
            default_value = "unix:/csi/csi.sock",
            value_name = "unix:PATH"
        )]
        endpoint: Endpoint,
    },
}

/// A Unix socket as CSI writes it: `unix:/path`, `unix:///path`, or the path alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(pub PathBuf);

impl core::str::FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        let path = path.strip_prefix("//").unwrap_or(path);
        match path.starts_with('/') {
            true => Ok(Self(path.into())),
            false => Err("not unix: and an absolute path"),
        }
    }
}

/// A number of bytes, a multiple of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl core::str::FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match text.strip_prefix(digits).unwrap_or_default() {
            "" => 0,
            "Ki" => 10,
            "Mi" => 20,
            "Gi" => 30,
            _ => return Err("only Ki, Mi and Gi may follow the number"),
        };
        let number: u64 = digits.parse().map_err(|_| "not a number of bytes")?;
        let bytes = number.checked_mul(1 << shift).ok_or("too large")?;
        match bytes {
            0x10_0000..0x100_0000_0000 => Ok(Self(bytes.next_multiple_of(4096))),
            _ => Err("less than 1Mi or more than 1 TiB"),
        }
    }
}

/// Whether the driver serves; an error says why not.
pub fn probe(endpoint: &Endpoint) -> Result<()> {
    let path = endpoint.0.as_path();
    UnixStream::connect(path).with_context(|| format!("nobody serves {}", path.display()))?;
    Ok(())
}

/// Serves until a signal, or until kubelet refuses the driver.
pub async fn run(args: CsiArgs) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    if args.node_id.is_empty() {
        bail!("the node has no name: NODE_NAME or --node-id");
    }
    let filesystem = Filesystem::open(&args.dir, args.tmpfs_size.0)?;
    let base = filesystem.base().to_owned();
    warn_unless_shared(&base);
    let libraries = Libraries::install(&filesystem, &args.libraries)?;
    sweep_drafts(&pods::registry(&base), registry::DRAFT).context("cannot tidy the registry")?;
    let mut volumes = Volumes::new(filesystem, libraries, args.nsswitch);
    let count = volumes.collect().context("cannot look at the volumes")?;
    tracing::info!(
        version = volumes.version(),
        volumes = count,
        "serving {DRIVER}"
    );
    let descriptors = Descriptors::new(&base);
    let volumes = Arc::new(Mutex::new(volumes));

    let plugin = Plugin::new(Arc::clone(&volumes), args.node_id.clone());
    let (stop, stopped) = watch::channel(false);
    let (refused, mut refusals) = mpsc::channel(1);
    let registration = Registration::new(args.kubelet_socket.clone(), refused);
    let endpoint = args.endpoint.0.as_path();
    let calls = tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(plugin.identity())
            .add_service(plugin.node())
            .serve_with_incoming_shutdown(listen(endpoint)?, until(stopped.clone())),
    );
    let told = tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(registration.service())
            // Only now: kubelet calls the endpoint at once.
            .serve_with_incoming_shutdown(listen(&args.registration)?, until(stopped)),
    );
    let looking = look_after(Arc::clone(&volumes), descriptors, count);
    tokio::pin!(calls, told);
    let verdict = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Some(why) = refusals.recv() => Err(anyhow::anyhow!("kubelet refuses the driver: {why}")),
        ended = &mut calls => bail!("the CSI socket is served no more: {ended:?}"),
        ended = &mut told => bail!("the registration socket is served no more: {ended:?}"),
        () = looking => bail!("nobody looks after the volumes"),
    };
    // Kubelet forgets the driver when this file goes; then nobody calls who is not answered.
    remove_socket(&args.registration);
    // Nobody may be listening any more.
    let _ = stop.send(true);
    if timeout(STOP_WITHIN, async { (calls.await, told.await) })
        .await
        .is_err()
    {
        tracing::warn!("not every call was answered in time; kubelet repeats it");
    }
    remove_socket(endpoint);
    if args.unmount_when_unused {
        unmount(&volumes);
    }
    verdict
}

/// Looks after file system, descriptors and volumes, for ever.
async fn look_after(volumes: Arc<Mutex<Volumes>>, mut descriptors: Descriptors, count: usize) {
    let mut report = Report::new(count);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = descriptors.changed() => {
                descriptors.follow();
                continue;
            }
        }
        descriptors.follow();
        looks += 1;
        let mut volumes = volumes.lock().unwrap_or_else(PoisonError::into_inner);
        if looks % COLLECT_AT == 0 {
            match volumes.collect() {
                Ok(count) => report.volumes = count,
                Err(error) => tracing::warn!(%error, "cannot look at the volumes"),
            }
        }
        report.look(&volumes);
    }
}

/// Listens on a socket that an earlier driver may have left. Only root may connect.
fn listen(path: &Path) -> Result<UnixListenerStream> {
    remove_socket(path);
    let bound = UnixListener::bind(path).and_then(|listener| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    let bound = bound.with_context(|| format!("cannot listen on {}", path.display()))?;
    Ok(UnixListenerStream::new(bound))
}

/// Removes a socket; whatever else is there stays.
fn remove_socket(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a socket stays behind");
    }
}

/// Waits until the word is given.
async fn until(mut stopped: watch::Receiver<bool>) {
    // Whoever gives the word may be gone, which is one, too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Says what pods would suffer from: mounts of ours that nobody else sees.
fn warn_unless_shared(base: &Path) {
    let around = base.parent().map(mounts::around);
    if let Some(Ok(Some(mount))) = around
        && !mount.shared
    {
        tracing::warn!(
            mount = %mount.point.display(),
            "mounts below it do not spread: in a container it needs mountPropagation: Bidirectional"
        );
    }
}

/// Leaves nothing behind where nobody needs it.
fn unmount(volumes: &Mutex<Volumes>) {
    let mut volumes = volumes.lock().unwrap_or_else(PoisonError::into_inner);
    match volumes.collect() {
        Ok(0) => match volumes.filesystem().unmount() {
            Ok(()) => tracing::info!("no pod has a volume: the file system is unmounted"),
            Err(error) => tracing::warn!(%error, "the file system stays mounted"),
        },
        Ok(count) => tracing::info!(count, "pods have volumes: the file system stays"),
        Err(error) => tracing::warn!(%error, "the file system stays mounted"),
    }
}
