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

mod givers;
mod hold;
mod template;

pub use self::{
    givers::{Givers, expected, giver},
    hold::{hold, hold_asking, hold_node},
};

use self::{
    givers::{is_libcs, merge, parse_givers, print_givers},
    template::{alternatives, expand, take_apart},
};
use crate::{
    differential::{Asks, is_for_resolver, is_ours},
    libcs::Release,
    pod::Recipe,
    session::Door,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::HashMap,
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
