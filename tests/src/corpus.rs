//! The corpus of cases as files: rooms (what a pod's files and environment say), and in each the
//! calls to make and who must answer them.
//!
//! ```text
//! # a comment
//! == the title of a room
//! @resolv.conf  search shop.svc.cluster.local\nnameserver 10.96.0.10\n
//! @hosts        ...              each setting on one line: \n and \t are what they are in C
//! @nsswitch     hosts: files dns
//! @environment  RES_OPTIONS=ndots:1
//! @families     4                which ones the pod has an address of
//! @releases     2.36 2.41        only under these
//! @patient                       its calls wait for timeouts: the releases go side by side
//! gai {api,web} - INET 1 0 2     zone       zone       zone 1.2.3:pass(external)
//! ```
//!
//! Calls are made in the order of the file; one that stands twice in a room has one giver.
//!
//! The columns of a case, separated by tabs, are the call (a command of `probes/lookup.c` or `probes/resolver.c`, `{a,b}`
//! standing for either), then who answers it through the NSS module, the shim on glibc, the shim on
//! musl: a verdict of the debug line (`nobody`: there was no such line), several joined by commas,
//! and other ones for some releases behind their numbers. `-`: this door is not used. `a>b`: `a` while names outside
//! the zone are libc's to ask for, `b` where the process asks itself (and with `forwarder` for `upstream`, where the
//! agent does).

mod template;

use self::template::{alternatives, expand, take_apart};
use crate::{
    artifacts,
    differential::{Asks, Report, Rig, is_for_resolver, is_ours},
    libcs::Release,
    node,
    pod::Recipe,
    recording,
    reply::{NOBODY, Reply},
    session::Door,
    shop, wire,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::{BTreeMap, HashMap},
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The files of cases.
pub const FILES: &[&str] = &[
    "walk.tsv",
    "environment.tsv",
    "outside.tsv",
    "files.tsv",
    "getaddrinfo.tsv",
    "families.tsv",
    "hostent.tsv",
    "reverse.tsv",
    "resolver.tsv",
];

/// Runs the file of that name in `corpus/`: every case must come out as libc has it, from the
/// giver that stands there; so many of each door's from the zone.
///
/// With `NSS_K8S_RECORD=1` the file is written anew with who answers now (differences fail all the
/// same), and [`recording::QUESTIONS`] gets what libc asked the cluster's DNS.
pub fn hold(file: &str, decided: usize) -> Result<Report> {
    let report = run(file, Asks::Nobody)?;
    report.require(decided).with_context(|| recipe_of(file))?;
    Ok(report)
}

/// Runs what libc has to ask for, in the file of that name in `corpus/`, where processes ask
/// themselves: every case must come out as libc has it, from the giver that stands there; so many
/// at each door by our asking.
pub fn hold_asking(file: &str, asked: usize) -> Result<Report> {
    let report = run(file, Asks::Pod)?;
    report.require(0).with_context(|| recipe_of(file))?;
    for door in Door::OURS {
        let own = report.asked.get(&door).copied().unwrap_or(0);
        ensure!(
            own >= asked,
            "{file}: {door:?}: only {own} were asked by us"
        );
    }
    Ok(report)
}

/// The same where the agent asks, a server with the same script: only the rooms of these titles.
pub fn hold_node(file: &str, titles: &[&str], asked: usize) -> Result<Report> {
    let mut rooms = Corpus::load(&artifacts::fixture("corpus").join(file))?.rooms;
    rooms.retain(|room| titles.contains(&&*room.title));
    ensure!(rooms.len() == titles.len(), "{file}: no such room");
    rooms.iter_mut().for_each(Room::keep_open);
    // A refusal to one family is no answer of a forwarder's: libc asks (docs/decisions/0021).
    let kept = |line: &Line| !matches!(line, Line::Cases { template, .. } if template.contains("half-refuse"));
    rooms.iter_mut().for_each(|room| room.lines.retain(kept));
    let upstream = node::upstream(shop::world())?;
    let zone = node::agent(&upstream)?;
    let rig = Rig {
        asks: Asks::Node,
        ..Rig::new(&zone)?
    };
    let report = rig.run(&rooms)?;
    report.require(0).with_context(|| file.to_owned())?;
    for door in Door::OURS {
        let own = report.asked.get(&door).copied().unwrap_or(0);
        ensure!(own >= asked, "{file}: {door:?}: only {own} by the agent");
    }
    Ok(report)
}

fn recipe_of(file: &str) -> String {
    format!("{file} (who answers is written anew by NSS_K8S_RECORD=1; read the difference)")
}

fn run(file: &str, asks: Asks) -> Result<Report> {
    let corpus = Corpus::load(&artifacts::fixture("corpus").join(file))?;
    let records = env::var_os("NSS_K8S_RECORD").is_some();
    let mut rooms = corpus.rooms.clone();
    if asks != Asks::Nobody {
        rooms.iter_mut().for_each(Room::keep_open);
        rooms.retain(|room| !room.cases().is_empty());
    }
    let zone = shop::publish_asking(asks)?;
    let rig = Rig {
        asks,
        records,
        ..Rig::new(&zone)?
    };
    let report = rig.run(&rooms)?;
    if records {
        corpus.record(&report.givers, asks)?;
        recording::add_questions(&report.unrecorded)?;
    } else {
        let cases = corpus.rooms.iter().flat_map(Room::cases);
        let open = cases.filter(|case| case.who.is_none()).count();
        ensure!(open == 0, "{file}: nobody is named for {open} cases");
    }
    let missing = report.unrecorded.iter();
    let missing = missing.map(|(name, kind)| format!("{name}\t{}", wire::kind::to_text(*kind)));
    let missing: Vec<_> = missing.collect();
    ensure!(
        missing.is_empty(),
        "{file}: not recorded; these lines belong into {}:\n{}",
        recording::QUESTIONS,
        missing.join("\n")
    );
    Ok(report)
}

/// One file of cases.
#[derive(Debug)]
pub struct Corpus {
    path: PathBuf,
    /// What stands before the first room.
    preface: String,
    /// In the file's order.
    pub rooms: Vec<Room>,
}

/// One environment and what is called in it.
#[derive(Clone, Debug)]
pub struct Room {
    /// Unique in its file.
    pub title: String,
    /// `@` lines as they stand there: name and value.
    settings: Vec<(String, String)>,
    /// The cases, with the comments between them.
    pub lines: Vec<Line>,
}

/// One line of a room.
#[derive(Clone, Debug)]
pub enum Line {
    /// A comment or an empty line.
    Comment(String),
    /// Calls that the same givers answer.
    Cases {
        /// With its braces.
        template: String,
        /// For each of [`Door::OURS`]; none where nothing was recorded yet.
        who: Option<[Givers; 3]>,
    },
}

/// Who answers a call through one door, by release; empty: the door is not used.
pub type Givers = BTreeMap<Release, String>;

/// One call and who must answer it.
#[derive(Clone, Debug)]
pub struct Case {
    /// A command of `probes/lookup.c` or `probes/resolver.c`.
    pub call: String,
    /// For each of [`Door::OURS`]; none: anybody.
    pub who: Option<[Givers; 3]>,
}

impl Case {
    /// Whether libc is to ask here, in a process that asks nobody itself; it may be, where nobody is
    /// named.
    pub fn asks_on_the_way(&self, door: Door, release: Release) -> bool {
        let slot = Door::OURS.iter().position(|one| *one == door);
        let cell = self.who.as_ref().zip(slot);
        let cell = cell.and_then(|(givers, slot)| givers[slot].get(&release));
        cell.is_none_or(|cell| !is_ours(&expected(cell, Asks::Nobody)))
    }
}

impl Corpus {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let mut corpus = Self {
            path: path.into(),
            preface: String::new(),
            rooms: Vec::new(),
        };
        for line in text.lines() {
            corpus
                .take(line)
                .with_context(|| format!("{}: {line}", path.display()))?;
        }
        Ok(corpus)
    }

    fn take(&mut self, line: &str) -> Result<()> {
        if let Some(title) = line.strip_prefix("== ") {
            ensure!(self.rooms.iter().all(|room| room.title != title), "twice");
            self.rooms.push(Room {
                title: title.into(),
                settings: Vec::new(),
                lines: Vec::new(),
            });
            return Ok(());
        }
        let Some(room) = self.rooms.last_mut() else {
            ensure!(line.is_empty() || line.starts_with('#'), "no room yet");
            self.preface.push_str(line);
            self.preface.push('\n');
            return Ok(());
        };
        if line.is_empty() || line.starts_with('#') {
            room.lines.push(Line::Comment(line.into()));
        } else if let Some(setting) = line.strip_prefix('@') {
            let (name, value) = setting.split_once(' ').unwrap_or((setting, ""));
            room.settings.push((name.into(), value.trim_start().into()));
            // A setting that nobody knows must not wait for its first use.
            room.recipe()?;
        } else {
            let mut columns = line.split('\t');
            let template = columns.next().unwrap_or_default().to_owned();
            let columns: Vec<&str> = columns.collect();
            let who = match columns[..] {
                [] => None,
                [nss, glibc, musl] => Some([
                    parse_givers(nss, Door::Nss)?,
                    parse_givers(glibc, Door::ShimGlibc)?,
                    parse_givers(musl, Door::ShimMusl)?,
                ]),
                _ => bail!("neither one column nor four"),
            };
            room.lines.push(Line::Cases { template, who });
        }
        Ok(())
    }

    /// Writes the file anew with who answered, by room and call, while `asks`. Lines whose calls went
    /// different ways are taken apart.
    pub fn record(&self, seen: &HashMap<(String, String), [Givers; 3]>, asks: Asks) -> Result<()> {
        let mut text = self.preface.clone();
        for room in &self.rooms {
            let known: HashMap<String, [Givers; 3]> = room
                .cases()
                .into_iter()
                .filter_map(|case| Some((case.call, case.who?)))
                .collect();
            let _ = writeln!(text, "== {}", room.title);
            for (name, value) in &room.settings {
                let _ = writeln!(text, "@{}", format!("{name} {value}").trim_end());
            }
            for line in &room.lines {
                match line {
                    Line::Comment(comment) => {
                        text.push_str(comment);
                        text.push('\n');
                    }
                    Line::Cases { template, .. } => {
                        let outcome = |call: &str| {
                            let givers = seen.get(&(room.title.clone(), call.to_owned()));
                            let known = known.get(call);
                            match (givers, known) {
                                (Some(givers), _) => {
                                    Some(print_givers(&merge(givers, known, asks)))
                                }
                                (None, known) => known.map(print_givers),
                            }
                        };
                        take_apart(&mut text, template, &outcome);
                    }
                }
            }
        }
        fs::write(&self.path, text).with_context(|| format!("{}", self.path.display()))
    }
}

impl Room {
    /// A room that stands in no file.
    pub fn made_up(title: &str, calls: impl IntoIterator<Item = String>) -> Self {
        let lines = calls.into_iter().map(|template| Line::Cases {
            template,
            who: None,
        });
        Self {
            title: title.into(),
            settings: Vec::new(),
            lines: lines.collect(),
        }
    }

    /// Adds a setting; the value is the text itself.
    pub fn set(&mut self, name: &str, value: &str) {
        let value = value.replace('\n', "\\n").replace('\t', "\\t");
        self.settings.push((name.into(), value));
    }

    /// Keeps the lines whose calls are not ours to decide by the zone or the hosts file.
    fn keep_open(&mut self) {
        let open = |givers: &Givers| {
            let mut cells = givers.values();
            cells.any(|cell| cell.contains('>') || !is_ours(cell) && !is_libcs(cell))
        };
        // A state that one call patches the next one uses.
        if self.cases().iter().any(|case| is_for_resolver(&case.call)) {
            return;
        }
        self.lines.retain(|line| match line {
            Line::Comment(_) => false,
            Line::Cases { who, .. } => who.iter().flatten().any(open),
        });
    }

    /// What its pod is made of, but the zone and the server.
    pub fn recipe(&self) -> Result<Recipe> {
        let mut recipe = Recipe::default();
        for (name, value) in &self.settings {
            let text = value.replace("\\n", "\n").replace("\\t", "\t");
            let text = text.replace("\\r", "\r");
            match name.as_str() {
                "resolv.conf" => recipe.resolv_conf = text,
                "hosts" => recipe.hosts = text,
                "nsswitch" => recipe.nsswitch = text,
                "families" => {
                    recipe.families = match value.as_str() {
                        "46" => "46",
                        "4" => "4",
                        "6" => "6",
                        "none" => "",
                        _ => bail!("no families"),
                    }
                }
                "patient" => {}
                "environment" => ensure!(value.contains('='), "no assignment"),
                "releases" => ensure!(
                    value
                        .split(' ')
                        .all(|word| Release::from_text(word).is_some()),
                    "no such release"
                ),
                _ => bail!("no such setting"),
            }
        }
        Ok(recipe)
    }

    /// Whether its settings say nothing of the file.
    pub fn leaves(&self, file: &str) -> bool {
        self.settings.iter().all(|(name, _)| name != file)
    }

    /// What is set in the environment of its processes.
    pub fn environment(&self) -> Vec<(&str, &str)> {
        let settings = self.settings.iter();
        let named = settings.filter(|(name, _)| name == "environment");
        named
            .filter_map(|(_, value)| value.split_once('='))
            .collect()
    }

    /// Under which releases it is entered.
    pub fn releases(&self) -> Vec<Release> {
        let settings = self.settings.iter().rev();
        let named = settings
            .clone()
            .find(|(name, _)| name == "releases")
            .map(|(_, value)| value.split(' ').filter_map(Release::from_text).collect());
        named.unwrap_or_else(|| Release::ALL.to_vec())
    }

    /// Whether its calls wait for timeouts.
    pub fn is_patient(&self) -> bool {
        !self.leaves("patient")
    }

    /// Every case, braces resolved.
    pub fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for line in &self.lines {
            if let Line::Cases { template, who } = line {
                for call in expand(&alternatives(template)) {
                    let who = who.clone();
                    cases.push(Case { call, who });
                }
            }
        }
        cases
    }
}

/// Who answered, as a column has it.
pub fn giver(reply: &Reply) -> String {
    let who = reply.who();
    if who == NOBODY {
        return "nobody".into();
    }
    who.replace(", ", ",")
}

/// Who must answer, of a cell that may hold two.
pub fn expected(cell: &str, asks: Asks) -> String {
    let (off, pod) = cell.split_once('>').unwrap_or((cell, cell));
    match asks {
        Asks::Nobody => off.into(),
        Asks::Pod => pod.into(),
        Asks::Node => pod.replace("upstream", "forwarder"),
    }
}

/// Whether nobody's asking would change that: what is passed for the call's own sake.
fn is_libcs(who: &str) -> bool {
    let known = [
        "nobody",
        "malformed",
        "numeric",
        "service",
        "buffer",
        "flags",
        "hosts",
        "v4-mapped",
    ];
    who.split(',').all(|part| {
        let reason = part
            .strip_prefix("pass(")
            .and_then(|rest| rest.strip_suffix(')'));
        known.contains(&reason.unwrap_or(part)) || is_ours(part)
    })
}

/// What was seen while `asks`, with what is known of the other case.
fn merge(seen: &[Givers; 3], known: Option<&[Givers; 3]>, asks: Asks) -> [Givers; 3] {
    let mut merged = seen.clone();
    for (slot, givers) in merged.iter_mut().enumerate() {
        for (release, cell) in givers {
            let old = known.and_then(|known| known[slot].get(release));
            let other = |asks| old.map(|old| expected(old, asks));
            let (off, pod) = match asks {
                Asks::Nobody => (cell.clone(), other(Asks::Pod)),
                _ => (other(Asks::Nobody).unwrap_or_default(), Some(cell.clone())),
            };
            // A case that went over to us is the same for both.
            let pod = pod.filter(|pod| *pod != off && !is_ours(&off));
            *cell = pod.map_or(off.clone(), |pod| format!("{off}>{pod}"));
        }
    }
    merged
}

fn parse_givers(column: &str, door: Door) -> Result<Givers> {
    let mut givers = Givers::new();
    if column == "-" {
        return Ok(givers);
    }
    let mut words = column.split(' ');
    let usual = words.next().unwrap_or_default();
    for release in Release::ALL {
        if release.libc() == door.libc() {
            givers.insert(release, usual.into());
        }
    }
    for word in words {
        let (number, who) = word.split_once(':').context("no release")?;
        let release = Release::from_text(number).context("no such release")?;
        ensure!(release.libc() == door.libc(), "a release of the other libc");
        givers.insert(release, who.into());
    }
    Ok(givers)
}

/// The three columns of doors.
fn print_givers(givers: &[Givers; 3]) -> String {
    let column = |givers: &Givers| {
        // Of each libc the machine's release is the first, and the one that the others differ from.
        let Some(usual) = givers.values().next().map(|_| usual(givers)) else {
            return "-".to_owned();
        };
        let mut text = usual.clone();
        for (release, who) in givers {
            if *who != usual {
                let _ = write!(text, " {}:{who}", release.as_str());
            }
        }
        text
    };
    givers.iter().map(column).collect::<Vec<_>>().join("\t")
}

/// What the machine's release says, else the first.
fn usual(givers: &Givers) -> String {
    let first = Release::ALL
        .iter()
        .find_map(|release| givers.get(release))
        .or_else(|| givers.values().next());
    first.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_they_are_printed() -> Result<()> {
        let columns = "zone\tpass(a),zone 2.31:nobody\t-";
        let cells: Vec<&str> = columns.split('\t').collect();
        let givers = [
            parse_givers(cells[0], Door::Nss)?,
            parse_givers(cells[1], Door::ShimGlibc)?,
            parse_givers(cells[2], Door::ShimMusl)?,
        ];
        assert_eq!(print_givers(&givers), columns);
        Ok(())
    }
}
