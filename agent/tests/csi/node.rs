//! A node: directories as kubelet has them, the driver, and a client in kubelet's place.

use nss_k8s_agent::csi::{
    proto::csi::{
        NodePublishVolumeRequest, NodeUnpublishVolumeRequest, VolumeCapability,
        node_client::NodeClient,
        volume_capability::{AccessType, MountVolume},
    },
    report::State,
};
use std::{
    collections::HashMap,
    ffi::CString,
    fs, io,
    os::unix::{ffi::OsStrExt, net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// Far above what anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a test in a mount namespace, in which nothing spreads to the machine's own.
pub(crate) fn on_a_node(test: impl FnOnce(&mut Node) + Send + 'static) {
    let thread = thread::spawn(move || {
        // SAFETY: it takes no pointer, and changes this thread alone.
        let done = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        assert_eq!(
            done,
            0,
            "these tests need root: {}",
            io::Error::last_os_error()
        );
        mount(
            None,
            Path::new("/"),
            None,
            libc::MS_REC | libc::MS_PRIVATE,
            None,
        );
        test(&mut Node::new());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The node.
pub(crate) struct Node {
    place: TempDir,
    runtime: tokio::runtime::Runtime,
    driver: Option<Child>,
    /// Further arguments of the driver.
    pub(crate) arguments: Vec<String>,
}

/// What a pod is to its volumes.
#[derive(Clone)]
pub(crate) struct Volume {
    pub(crate) id: String,
    pub(crate) target: PathBuf,
    pub(crate) attributes: HashMap<String, String>,
}

impl Node {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        mount(Some(root), root, None, libc::MS_BIND, None);
        mount(None, root, None, libc::MS_SHARED, None);
        for directory in [
            "kubelet/pods",
            "csi",
            "registration",
            "run/nss-k8s",
            "libraries",
        ] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let this = Self {
            place,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            driver: None,
            arguments: Vec::new(),
        };
        this.build_libraries("first");
        this
    }

    /// Puts other libraries into the image.
    pub(crate) fn build_libraries(&self, content: &str) {
        for file in [
            "libnss_k8s_preload.so",
            "libnss_k8s.so.2",
            "nss-k8s-explain",
        ] {
            fs::write(self.path("libraries").join(file), content).unwrap();
        }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.place.path().join(below)
    }

    /// The tmpfs.
    pub(crate) fn base(&self) -> PathBuf {
        self.path("run/nss-k8s/node")
    }

    /// Starts the driver and waits until it serves.
    pub(crate) fn start(&mut self) {
        let mut command = self.command();
        self.driver = Some(command.spawn().unwrap());
        let (registration, endpoint) = (self.registration(), self.endpoint());
        wait("the driver to serve", || {
            UnixStream::connect(&registration).is_ok() && UnixStream::connect(&endpoint).is_ok()
        });
    }

    /// Starts a driver that cannot start; what it says.
    pub(crate) fn start_and_fail(&self) -> String {
        let output = self.command().output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nss-k8s"));
        command
            .arg("csi")
            .arg(format!("--endpoint=unix:{}", self.endpoint().display()))
            .arg("--registration")
            .arg(self.registration())
            .arg("--dir")
            .arg(self.base())
            .arg("--libraries")
            .arg(self.path("libraries"))
            .arg("--kubelet-socket=/kubelet/csi.sock")
            .args(&self.arguments)
            .env("NSS_K8S_TMPFS_SIZE", "8Mi")
            .env("NODE_NAME", "node-1")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null());
        // SAFETY: only a system call that takes no pointer, between fork and exec.
        unsafe {
            command.pre_exec(|| match libc::unshare(libc::CLONE_NEWNS) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        command
    }

    pub(crate) fn endpoint(&self) -> PathBuf {
        self.path("csi/csi.sock")
    }

    pub(crate) fn registration(&self) -> PathBuf {
        self.path("registration/csi.nss-k8s.io-reg.sock")
    }

    /// Ends the driver with a signal; how it ended.
    pub(crate) fn end(&mut self, signal: i32) -> Option<ExitStatus> {
        let mut driver = self.driver.take()?;
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(driver.id().cast_signed(), signal) };
        Some(driver.wait().unwrap())
    }

    /// Waits until the driver ends by itself.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        self.driver.take().unwrap().wait().unwrap()
    }

    /// As after a crash.
    pub(crate) fn crash(&mut self) {
        self.end(libc::SIGKILL);
    }

    /// Runs calls on this thread.
    pub(crate) fn run<T>(&self, calls: impl Future<Output = T>) -> T {
        self.runtime.block_on(calls)
    }

    /// A connection as kubelet makes it.
    pub(crate) async fn channel(socket: &Path) -> Channel {
        let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) fn publish(&self, volume: &Volume) -> Result<(), Status> {
        let request = publish_request(volume);
        self.run(async {
            let mut client = NodeClient::new(Self::channel(&self.endpoint()).await);
            client.node_publish_volume(request).await.map(drop)
        })
    }

    pub(crate) fn unpublish(&self, volume: &Volume) -> Result<(), Status> {
        let request = NodeUnpublishVolumeRequest {
            volume_id: volume.id.clone(),
            target_path: volume.target.display().to_string(),
        };
        self.run(async {
            let mut client = NodeClient::new(Self::channel(&self.endpoint()).await);
            client.node_unpublish_volume(request).await.map(drop)
        })
    }

    /// A pod's volume, its directories made as kubelet does before it calls.
    pub(crate) fn volume(&self, namespace: &str, pod: &str, name: &str) -> Volume {
        let uid = format!("uid-{pod}");
        let target = self.path("kubelet/pods").join(&uid);
        let target = target.join("volumes/kubernetes.io~csi").join(name);
        fs::create_dir_all(&target).unwrap();
        let attributes = [
            ("ephemeral", "true"),
            ("pod.namespace", namespace),
            ("pod.name", pod),
            ("pod.uid", &uid),
            ("serviceAccount.name", "default"),
        ];
        let attributes = attributes.iter();
        Volume {
            id: format!("csi-{pod}-{name}"),
            target: target.join("mount"),
            attributes: attributes
                .map(|(key, value)| (format!("csi.storage.k8s.io/{key}"), (*value).to_owned()))
                .collect(),
        }
    }

    /// How many mounts are on a volume's target, as kubelet sees it.
    pub(crate) fn mounts_on(&self, volume: &Volume) -> usize {
        self.mounts(|point| point == volume.target.to_str().unwrap())
    }

    /// How many mounts there are.
    pub(crate) fn mounts(&self, wanted: impl Fn(&str) -> bool) -> usize {
        let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let points = text.lines().filter_map(|line| line.split(' ').nth(4));
        points.filter(|point| wanted(point)).count()
    }

    /// How many mounts the node has by us.
    pub(crate) fn all_mounts(&self) -> usize {
        let place = format!("{}/", self.place.path().display());
        self.mounts(|point| point.starts_with(&place))
    }

    /// A file of a published volume.
    pub(crate) fn read(&self, volume: &Volume, file: &str) -> Option<String> {
        fs::read_to_string(volume.target.join(file)).ok()
    }

    /// The files that a pod's `ld.so.preload` names, which must be there.
    pub(crate) fn preloaded(&self, volume: &Volume) -> Vec<String> {
        let text = self.read(volume, "etc/ld.so.preload").unwrap();
        let lines = text.lines().map(|line| {
            let below = line.strip_prefix("/run/nss-k8s/").unwrap();
            assert!(volume.target.join(below).is_file(), "{line} is missing");
            below.to_owned()
        });
        lines.collect()
    }

    /// Nothing is left of a volume.
    pub(crate) fn assert_gone(&self, volume: &Volume) {
        assert_eq!(self.mounts_on(volume), 0);
        for path in [
            volume.target.clone(),
            self.base().join("pod").join(&volume.id),
            self.base().join("private/pods").join(&volume.id),
        ] {
            assert!(fs::symlink_metadata(&path).is_err(), "{path:?} is left");
        }
    }

    /// Writes what an agent would have written: a zone, and the table that leads to it.
    pub(crate) fn write_table(&self, table: &str) {
        let view = self.base().join("view/shops");
        fs::create_dir_all(&view).unwrap();
        fs::write(view.join("zone.v1"), "the zone of shops").unwrap();
        fs::write(self.base().join("private/classes"), table).unwrap();
    }

    /// The file system's level, as the driver says.
    pub(crate) fn level(&self) -> Option<String> {
        Some(State::read(&self.base()).ok()??.level)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.crash();
        let everything = CString::new(self.place.path().as_os_str().as_bytes()).unwrap();
        // SAFETY: a string that ends with zero. All of it goes with the namespace anyway.
        unsafe { libc::umount2(everything.as_ptr(), libc::MNT_DETACH) };
    }
}

/// As kubelet asks.
pub(crate) fn publish_request(volume: &Volume) -> NodePublishVolumeRequest {
    NodePublishVolumeRequest {
        volume_id: volume.id.clone(),
        target_path: volume.target.display().to_string(),
        volume_capability: Some(VolumeCapability {
            access_type: Some(AccessType::Mount(MountVolume {})),
        }),
        volume_context: volume.attributes.clone(),
    }
}

/// Waits for an event.
pub(crate) fn wait(what: &str, mut event: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !event() {
        assert!(begin.elapsed() < DEADLINE, "no sign of {what}");
        thread::yield_now();
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// mount(2), which must succeed.
pub(crate) fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
    options: Option<&str>,
) {
    let text = |text: &[u8]| CString::new(text).unwrap();
    let source = text(source.map_or(b"none", |path| path.as_os_str().as_bytes()));
    let place = text(target.as_os_str().as_bytes());
    let kind = kind.map(|kind| text(kind.as_bytes()));
    let options = options.map(|options| text(options.as_bytes()));
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |c| c.as_ptr());
    // SAFETY: strings that end with zero, or nothing where the call takes nothing.
    let done = unsafe {
        libc::mount(
            source.as_ptr(),
            place.as_ptr(),
            pointer(&kind),
            flags,
            pointer(&options).cast(),
        )
    };
    assert_eq!(done, 0, "{target:?}: {}", io::Error::last_os_error());
}
