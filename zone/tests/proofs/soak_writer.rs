//! The process that writes the soak's zone, and is killed for it.

use super::{
    random::Random,
    soak_record::{ENDPOINTS, Part, SERVICES, endpoints, now, short},
};
use nss_k8s_zone::{
    Config, Endpoint, Family, MissPolicy, Opened, Options, ServiceBody, ServiceKey, Slice, SliceId,
    Writer,
};
use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// Where the writer finds its zone; only set in the writer's process.
const DIRECTORY: &str = "SOAK_DIRECTORY";
/// The first generation that it writes, and whether it first moves to a new inode.
const GENERATION: &str = "SOAK_GENERATION";
/// How many updates it makes before it says so and waits to be killed; 0: it never ends.
const UPDATES: &str = "SOAK_UPDATES";

/// A writer's process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    /// How it came by its file, in its own word.
    pub(crate) opened: String,
}

impl Process {
    /// Starts one, which may not have opened the zone yet.
    pub(crate) fn spawn(directory: &Path, generation: u64, updates: u64) -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args([
                "soak_writer::writer_process",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
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
        }
    }

    /// Starts one and waits until it has opened the zone.
    pub(crate) fn start(directory: &Path, generation: u64, updates: u64) -> Self {
        Self::spawn(directory, generation, updates).opened()
    }

    /// Waits until it has opened the zone.
    pub(crate) fn opened(mut self) -> Self {
        self.opened = self.line("opened ");
        self
    }

    /// Waits until it has made all its updates.
    pub(crate) fn wait_for_updates(mut self) {
        self.line("updated");
    }

    /// What follows `start` in the next line that has it (the test harness prints lines, too).
    fn line(&mut self, start: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap_or(0) == 0 {
                return "it died".to_owned();
            }
            if let Some(at) = line.find(start) {
                return line[at + start.len()..].trim_end().to_owned();
            }
        }
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

/// The writer's process: not a test, but started by them through this program.
#[test]
#[ignore = "the writer that the soak starts and kills"]
fn writer_process() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    let number = |name: &str| -> u64 {
        env::var(name)
            .expect(name)
            .parse()
            .unwrap_or_else(|_| panic!("{name}"))
    };
    write_forever(Path::new(&directory), number(GENERATION), number(UPDATES));
}

/// Opens the zone and changes it as fast as it can.
fn write_forever(directory: &Path, first: u64, updates: u64) {
    // Room for little more than what is live: what is freed is soon overwritten.
    let options = Options {
        initial_bytes: 64 << 10,
        maximum_bytes: 16 << 20,
        ..Options::new(directory, "cluster.local")
    };
    let (mut writer, opened) = Writer::open(options).expect("the zone");
    let mut random = Random(first);
    let said = match opened {
        Opened::Created => {
            create(&mut writer, first);
            "created"
        }
        Opened::Adopted { .. } if random.once_in(8) => {
            writer.replace().expect("a new inode");
            "replaced"
        }
        Opened::Adopted { .. } => "adopted",
        Opened::Replaced { why } => panic!("replaced: {why}"),
    };
    say(&format!("opened {said}"));
    let mut clock = Instant::now();
    for update in 1.. {
        let generation = first + update;
        let service = update as u32 % SERVICES;
        if random.once_in(4) {
            put_cluster_ip(&mut writer, service, generation);
        } else {
            put_headless(&mut writer, service, generation);
        }
        if update % 4 == 0 {
            // A clock of its own: epochs pass as fast as updates do.
            clock += Duration::from_millis(100);
            writer.advance(clock);
            writer.beat(now());
        }
        if update == updates {
            for service in 0..SERVICES {
                put_headless(&mut writer, service, generation + 1);
            }
            say("updated");
            return;
        }
    }
}

/// Publishes every name once, then goes live.
fn create(writer: &mut Writer, generation: u64) {
    let config = Config {
        miss_policy: MissPolicy::NxDomain,
        endpoints_held: true,
        ..Config::default()
    };
    writer.configure(&config).expect("the configuration");
    writer.put_namespace("soak").expect("the namespace");
    for service in 0..SERVICES {
        let key = ServiceKey::new(&format!("h{service}"), "soak").expect("two labels");
        let body = ServiceBody::Headless { ports: Vec::new() };
        writer.put_service(&key, &body).expect("the service");
        put_headless(writer, service, generation);
        put_cluster_ip(writer, service, generation);
    }
    writer.beat(now());
    writer.set_synced(now());
}

/// Another generation of `h<service>`.
fn put_headless(writer: &mut Writer, service: u32, generation: u64) {
    let key = ServiceKey::new(&format!("h{service}"), "soak").expect("two labels");
    let endpoint = |place: u32| Endpoint {
        hostname: (place < *ENDPOINTS.start()).then(|| format!("e{place}")),
        ..Endpoint::ready(
            Part {
                service,
                generation,
                place: place as u16,
            }
            .address(),
        )
    };
    let slice = Slice {
        family: Family::V6,
        ports: Vec::new(),
        endpoints: (0..endpoints(generation)).map(endpoint).collect(),
    };
    writer.put_slice(&key, SliceId(1), &slice).expect("a slice");
}

/// Another generation of `c<service>`.
fn put_cluster_ip(writer: &mut Writer, service: u32, generation: u64) {
    let key = ServiceKey::new(&format!("c{service}"), "soak").expect("two labels");
    let part = Part {
        service,
        generation,
        place: 0,
    };
    let body = ServiceBody::ClusterIp {
        addresses: vec![short(service, generation), part.address()],
        ports: Vec::new(),
    };
    writer.put_service(&key, &body).expect("a service");
}

/// One line to the parent, at once.
fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("standard output");
}
