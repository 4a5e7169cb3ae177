//! NATS servers of the test's own: Debian's, with JetStream, on free ports of the loopback device.

use crate::support::wait;
use async_nats::jetstream::{self, kv};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// The server; killed when dropped.
pub(crate) struct Nats {
    place: TempDir,
    child: Option<Child>,
    port: u16,
}

impl Nats {
    /// A server with this besides what every one has in its configuration.
    pub(crate) fn start(more: &str) -> Self {
        Self::start_as("test", more)
    }

    /// The same under another name.
    pub(crate) fn start_as(name: &str, more: &str) -> Self {
        let place = tempfile::Builder::new().prefix("nss-k8s-nats-").tempdir();
        let mut this = Self {
            place: place.unwrap(),
            child: None,
            port: 0,
        };
        let store = this.place.path().join("store");
        let config = format!(
            "server_name: {name}\njetstream {{ store_dir: {store:?}, max_file: 256MB }}\n{more}\n"
        );
        fs::write(this.place.path().join("config"), config).unwrap();
        this.run();
        this
    }

    /// Runs on the port that it had before, or on a free one.
    pub(crate) fn run(&mut self) {
        let path = |name: &str| self.place.path().join(name);
        let port = match self.port {
            0 => "-1".to_owned(),
            port => port.to_string(),
        };
        let program = program();
        let child = Command::new(&program)
            .args(["--addr", "127.0.0.1", "--port", &port, "--config"])
            .arg(path("config"))
            .arg("--log")
            .arg(path("log"))
            .arg("--ports_file_dir")
            .arg(self.place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{program:?}: {error}: make prepare"));
        let ports = path(&format!("nats-server_{}.ports", child.id()));
        self.child = Some(child);
        wait("the ports of the NATS server", || {
            let text = fs::read_to_string(&ports).unwrap_or_default();
            let port = text.split_once("127.0.0.1:").and_then(|(_, rest)| {
                let end = rest.find(|c: char| !c.is_ascii_digit())?;
                rest[..end].parse().ok()
            });
            self.port = port.unwrap_or(self.port);
            port.is_some()
        });
        wait("the NATS server", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        fs::remove_file(ports).unwrap();
    }

    /// Kills it; what it has stored stays.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Copies what it has stored. It must not run.
    pub(crate) fn back_up(&self) {
        self.copy("store", "backup");
    }

    /// Puts that copy in the place of what it has stored since. It must not run.
    pub(crate) fn restore(&self) {
        fs::remove_dir_all(self.place.path().join("store")).unwrap();
        self.copy("backup", "store");
    }

    fn copy(&self, from: &str, to: &str) {
        assert!(self.child.is_none(), "it runs");
        let [from, to] = [from, to].map(|name| self.place.path().join(name));
        let status = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(status.unwrap().success());
    }

    /// The last sequence number of the bucket.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.with(async |mut bucket| {
            let found = bucket.stream.info().await.unwrap();
            found.state.last_sequence
        })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Deletes the bucket.
    pub(crate) fn delete(&self) {
        self.ask(async |context| context.delete_key_value("nss-k8s").await.map(drop).unwrap());
    }

    /// Does something with the bucket as somebody else who may.
    pub(crate) fn with<T>(&self, work: impl AsyncFnOnce(kv::Store) -> T) -> T {
        self.ask(async |context| work(context.get_key_value("nss-k8s").await.unwrap()).await)
    }

    fn ask<T>(&self, work: impl AsyncFnOnce(jetstream::Context) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let client = async_nats::connect(self.url()).await.unwrap();
            work(jetstream::new(client)).await
        })
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What three servers need in their configurations to be one cluster.
pub(crate) fn cluster() -> [String; 3] {
    // Nobody else takes them at once: the kernel gives free ports in turn.
    let ports = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = ports.map(|port| port.local_addr().unwrap().port());
    let routes = ports
        .map(|port| format!("\"nats://127.0.0.1:{port}\""))
        .join(", ");
    ports.map(|port| {
        format!("cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}")
    })
}

/// Where `make prepare` has unpacked it.
fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("../build/unpacked/nats-server/usr/sbin/nats-server")
}
