//! A directory on a tmpfs, the built binary in it, and waiting for events.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long an event may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `done` says so; panics with `what` when it never does.
pub(crate) fn wait(what: &str, done: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, done);
}

/// The same with a time of the caller's.
pub(crate) fn wait_within(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What an agent's HTTP server answers, with its head.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// Where one test's agents publish.
pub(crate) struct Place {
    root: TempDir,
}

impl Place {
    /// An empty place with an empty directory of manifests.
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("nss-k8s-agent-")
            .tempdir_in("/dev/shm");
        let root = root.expect("/dev/shm: a tmpfs is needed");
        fs::create_dir(root.path().join("manifests")).unwrap();
        Self { root }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Replaces a manifest the way an editor does.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path("manifests").join(name)).unwrap();
    }

    /// Runs a subcommand to its end.
    pub(crate) fn call(&self, arguments: &[&str]) -> Output {
        let base = self.path("base");
        command(arguments).arg("--dir").arg(base).output().unwrap()
    }

    /// What a subcommand prints, without the last newline.
    pub(crate) fn say(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// The address that `name` has in the namespace `shop`.
    pub(crate) fn query(&self, name: &str) -> String {
        self.say(&["query", name, "--namespace", "shop"])
    }

    pub(crate) fn is_live(&self) -> bool {
        self.call(&["status"]).status.success()
    }

    /// Starts an agent on the directory of manifests.
    pub(crate) fn agent(&self, options: &[&str]) -> Agent {
        let manifests = self.path("manifests");
        self.start(&["--manifests", manifests.to_str().unwrap()], options)
    }

    /// Starts an agent on an API server.
    pub(crate) fn watcher(&self, kubeconfig: &Path, options: &[&str]) -> Agent {
        self.start(&["--kubeconfig", kubeconfig.to_str().unwrap()], options)
    }

    fn start(&self, input: &[&str], options: &[&str]) -> Agent {
        let base = self.path("base");
        let mut all = vec!["agent", "--dir", base.to_str().unwrap()];
        all.extend(input);
        all.extend(options);
        self.run("log", &all)
    }

    /// Starts a subcommand that serves HTTP and logs into a file here.
    pub(crate) fn run(&self, log: &str, arguments: &[&str]) -> Agent {
        let log = self.path(log);
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = command(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .env("RUST_LOG", "info")
            .stderr(file)
            .spawn()
            .unwrap();
        Agent { child, log }
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nss-k8s"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.stdout(Stdio::piped());
    command
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log has a line with all of these parts.
    pub(crate) fn wait_for(&self, parts: &[&str]) {
        let found = || {
            self.log()
                .lines()
                .any(|line| parts.iter().all(|part| line.contains(part)))
        };
        let deadline = Instant::now() + PATIENCE;
        while !found() {
            let log = self.log();
            assert!(
                Instant::now() < deadline,
                "{parts:?} was not logged:\n{log}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn wait_until_published(&self) {
        self.wait_for(&["everything is listed and published"]);
    }

    /// Where it serves HTTP.
    pub(crate) fn address(&self) -> String {
        self.wait_for(&["listening for"]);
        let log = self.log();
        let (_, after) = log.rsplit_once("address=").unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: takes no pointer, and the child has not been waited for.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0);
    }

    /// Ends it by a signal; how it ended, and how long it took.
    pub(crate) fn end(mut self, signal: libc::c_int) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal(signal);
        let status = self.child.wait().unwrap();
        (status, start.elapsed())
    }

    /// Waits for its own end.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let mut status = None;
        wait("the agent's end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ended already: nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
