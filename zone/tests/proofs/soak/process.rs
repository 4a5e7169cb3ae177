//! A process that writes, and is killed for it: this test program, asked for one of its ignored tests.

use nss_k8s_zone::OpenError;
use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where the writer finds its file; only set in the writer's process.
const DIRECTORY: &str = "SOAK_DIRECTORY";
/// The first generation that it writes.
const GENERATION: &str = "SOAK_GENERATION";
/// How many updates it makes before it says so and ends; 0: it never ends.
const UPDATES: &str = "SOAK_UPDATES";

/// What a writer is told to do.
pub(crate) struct Orders {
    /// Where its file is.
    pub(crate) directory: PathBuf,
    /// The first generation that it writes.
    pub(crate) generation: u64,
    /// How many updates it makes before it says so and ends; 0: it never ends.
    pub(crate) updates: u64,
}

impl Orders {
    /// Those that this process was started with; `None` when it is no writer's.
    pub(crate) fn received() -> Option<Self> {
        let number = |name: &str| -> u64 {
            let text = env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
            text.parse().unwrap_or_else(|_| panic!("{name}"))
        };
        Some(Self {
            directory: env::var_os(DIRECTORY)?.into(),
            generation: number(GENERATION),
            updates: number(UPDATES),
        })
    }
}

/// What happened in a file that readers had before them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Events {
    /// It grew.
    pub(crate) grown: u64,
    /// Its index moved.
    pub(crate) rehashed: u64,
}

/// Said by a writer, one to a line: see [`Events`].
const GREW: &str = "event: grew";
/// See [`GREW`].
const REHASHED: &str = "event: rehashed";

/// A writer's process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    /// How it came by its file, in its own word.
    pub(crate) opened: String,
    /// What it has said and was read.
    events: Events,
}

impl Process {
    /// Starts the writer that the test `name` is; it may not have opened its file yet.
    pub(crate) fn spawn(name: &str, directory: &Path, generation: u64, updates: u64) -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(GENERATION, generation.to_string())
            .env(UPDATES, updates.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a writer");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            output,
            opened: String::new(),
            events: Events::default(),
        }
    }

    /// Waits until it has opened its file.
    pub(crate) fn opened(mut self) -> Self {
        self.opened = self.line("opened ");
        self
    }

    /// Waits until it has made all its updates.
    pub(crate) fn wait_for_updates(mut self) {
        self.line("updated");
    }

    /// Kills it, and counts what it said.
    pub(crate) fn kill(mut self) -> Events {
        self.signal(libc::SIGKILL);
        let mut rest = String::new();
        // Its end of the pipe is closed by the kernel.
        self.output.read_to_string(&mut rest).expect("its output");
        rest.lines().for_each(|line| self.count(line));
        self.events
    }

    /// What follows `start` in the next line that has it (the test harness prints lines, too).
    fn line(&mut self, start: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap_or(0) == 0 {
                return "it died".to_owned();
            }
            self.count(line.trim_end());
            if let Some(at) = line.find(start) {
                return line[at + start.len()..].trim_end().to_owned();
            }
        }
    }

    /// Counts an event.
    fn count(&mut self, line: &str) {
        self.events.grown += u64::from(line.ends_with(GREW));
        self.events.rehashed += u64::from(line.ends_with(REHASHED));
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: our own child, not waited for yet, so that the number is still its own.
        unsafe { libc::kill(pid, signal) };
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }
}

/// Opens a file whose lock nobody holds but, for a moment, a writer's process that has not begun yet: it
/// has every descriptor of this one until it runs its program.
pub(crate) fn unlocked<T>(mut open: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match open() {
            Err(OpenError::Locked { .. }) if Instant::now() < deadline => thread::yield_now(),
            opened => return opened,
        }
    }
}

/// What a writer does beside its updates: its own clock goes on, and it says what became of its file.
pub(crate) struct Course<L> {
    clock: Instant,
    bytes: u64,
    lines: L,
}

impl<L: PartialEq> Course<L> {
    /// Of a file of so many bytes, and of so many lines in its index.
    pub(crate) fn new(bytes: u64, lines: L) -> Self {
        let clock = Instant::now();
        Self {
            clock,
            bytes,
            lines,
        }
    }

    /// The time of the next epoch, after every fourth update: epochs pass as fast as updates do.
    pub(crate) fn epoch(&mut self, update: u64) -> Option<Instant> {
        if !update.is_multiple_of(4) {
            return None;
        }
        self.clock += Duration::from_millis(100);
        Some(self.clock)
    }

    /// Says what is new about the file.
    pub(crate) fn tell(&mut self, bytes: u64, lines: L) {
        if bytes > self.bytes {
            say(GREW);
        }
        if lines != self.lines {
            say(REHASHED);
        }
        (self.bytes, self.lines) = (bytes, lines);
    }
}

/// One line to the parent, at once.
pub(crate) fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("standard output");
}
