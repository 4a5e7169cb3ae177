//! Where the programs run: three pods with the same facts, and what a program said in one of them.

use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::Script,
    http,
    namespace::run,
    pod::{Pod, Recipe},
    session::Door,
    shop, wire,
    zonefile::Agent,
};
use std::{
    fmt::Debug,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

/// The doors that a glibc program can come through.
pub(crate) const DOORS: [Door; 2] = [Door::Nss, Door::ShimGlibc];

/// The pods, and web servers on the addresses of `api` (port 80) and `web` (port 8080, IPv6).
pub(crate) struct World {
    /// Sees the zone and reaches no DNS server.
    pub(crate) dark: Place,
    /// Sees the zone and a DNS server.
    pub(crate) lit: Place,
    /// Reaches a DNS server and knows nothing of us.
    pub(crate) reference: Place,
    _agent: Agent,
}

/// A pod with its web servers.
pub(crate) struct Place {
    pub(crate) pod: Pod,
    _servers: [http::Server; 2],
}

/// What a program said.
pub(crate) struct Said {
    /// Standard output and standard error without our notes.
    pub(crate) text: String,
    /// The notes of nss-k8s, as `call "name" -> verdict`.
    notes: Vec<String>,
    /// Whether it ended with zero.
    pub(crate) success: bool,
}

impl World {
    /// Starts all of it.
    pub(crate) fn start() -> Result<Self> {
        let agent = shop::publish()?;
        let place = |zone: Option<PathBuf>, server: bool| {
            let pod = Pod::start(Recipe {
                zone,
                dns: server.then(script),
                addresses: ["10.96.1.10", "10.96.1.11", "fd00:96::11"]
                    .map(str::to_owned)
                    .into(),
                ..Recipe::default()
            })?;
            carry_over_java(&pod)?;
            let inside = pod.namespaces();
            let servers = [
                http::Server::start(inside, "10.96.1.10:80", "hello from api\n")?,
                http::Server::start(inside, "[fd00:96::11]:8080", "hello from web\n")?,
            ];
            Ok::<_, anyhow::Error>(Place {
                pod,
                _servers: servers,
            })
        };
        Ok(Self {
            dark: place(Some(agent.view()), false)?,
            lit: place(Some(agent.view()), true)?,
            reference: place(None, true)?,
            _agent: agent,
        })
    }
}

impl Place {
    /// The command `line`, ready to start behind `door`; the programs' home is `/run`.
    pub(crate) fn command(&self, door: Door, line: &[&str]) -> Result<Command> {
        let [program, arguments @ ..] = line else {
            bail!("no program")
        };
        let mut command = self.pod.command(program);
        door.open(&mut command, &artifacts::guests()?);
        command.args(arguments).env("HOME", "/run");
        Ok(command)
    }

    /// Runs `line` behind `door` to its end.
    pub(crate) fn run(&self, door: Door, line: &[&str]) -> Result<Said> {
        let output = self
            .command(door, line)?
            .output()
            .with_context(|| format!("{}: is it installed? (make prepare)", line[0]))?;
        Ok(Said::new(&output))
    }
}

impl Said {
    /// Sorts what was printed from what we noted.
    pub(crate) fn new(output: &Output) -> Self {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut notes = Vec::new();
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            match line.strip_prefix("nss-k8s: ") {
                Some(note) => notes.push(note.into()),
                None => text.extend([line, "\n"]),
            }
        }
        Self {
            text,
            notes,
            success: output.status.success(),
        }
    }

    /// Requires that every note about `name` ends with `verdict`, and that there is one. What was
    /// passed for its flags does not count: ssh asks whether the name is a literal before it asks.
    pub(crate) fn require_verdict(
        &self,
        name: &str,
        verdict: &str,
        what: &dyn Debug,
    ) -> Result<()> {
        let quoted = format!(" \"{name}\" -> ");
        let mut verdicts = self
            .notes
            .iter()
            .filter_map(|note| note.split_once(&quoted))
            .filter(|(_, verdict)| *verdict != "pass(flags)");
        let all_right = verdicts.clone().all(|(_, given)| given == verdict);
        ensure!(
            all_right && verdicts.next().is_some(),
            "{what:?}: {name} did not come from {verdict}\n{self:?}"
        );
        Ok(())
    }

    /// Requires that it ended well and printed `wanted`.
    pub(crate) fn require(&self, wanted: &str, what: &dyn Debug) -> Result<()> {
        ensure!(
            self.success && self.text.contains(wanted),
            "{what:?}: expected {wanted}\n{self:?}"
        );
        Ok(())
    }

    /// Our entry points that were called, each once, sorted.
    pub(crate) fn calls(&self) -> Vec<&str> {
        self.words(|note| Some(note.split_once(' ')?.0))
    }

    /// Whether we answered anything.
    pub(crate) fn answered(&self) -> bool {
        self.verdicts()
            .iter()
            .any(|verdict| !verdict.starts_with("pass("))
    }

    /// Our verdicts, each once, sorted.
    pub(crate) fn verdicts(&self) -> Vec<&str> {
        self.words(|note| Some(note.rsplit_once(" -> ")?.1))
    }

    fn words<'a>(&'a self, word: impl Fn(&'a String) -> Option<&'a str>) -> Vec<&'a str> {
        let mut words: Vec<_> = self.notes.iter().filter_map(word).collect();
        words.sort_unstable();
        words.dedup();
        words
    }
}

impl Debug for Said {
    fn fmt(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let end = if self.success { "ended well" } else { "failed" };
        write!(to, "{end}, printed\n{}", self.text)?;
        for note in &self.notes {
            writeln!(to, "note {note}")?;
        }
        Ok(())
    }
}

/// The shop's facts, and the port of `web` that has a name.
fn script() -> Script {
    // Priority, weight (of one hundred, for two addresses), port.
    let mut data = [0, 50, 80].map(u16::to_be_bytes).concat();
    data.extend(wire::name("web.shop.svc.cluster.local"));
    shop::script().record(
        "_http._tcp.web.shop.svc.cluster.local",
        wire::kind::SRV,
        data,
    )
}

/// Copies a JVM's folder of `/etc` into the pod's: its policies are links to there.
fn carry_over_java(pod: &Pod) -> Result<()> {
    for entry in fs::read_dir("/etc")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("java-") {
            // The pod's own mounts hide the machine's; this process still sees them.
            let from = format!("/proc/{}/root/etc/{name}", std::process::id());
            pod.namespaces()
                .with_mounts(|| run("cp", &["-r", "--no-dereference", &from, "/etc/"]))?;
        }
    }
    Ok(())
}
