//! The differential rig: the same call in the same pod by libc alone and through us, under every
//! release of libc. Both must come out the same in every field; the cases of a corpus also say who
//! must answer, and the server's log proves it.

use crate::{
    artifacts,
    corpus::{Case, Givers, Room, expected, giver},
    differences::{self, Circumstances},
    dns::{Asked, Script, Server},
    libcs::Release,
    outside,
    pod::{Pod, Recipe},
    recording::Recordings,
    reply::Reply,
    session::{Door, Session},
    shop,
    zonefile::Agent,
};
use anyhow::{Context, Result, ensure};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

/// What every room has in common.
#[derive(Clone, Debug)]
pub struct Rig {
    /// The zone's directory as pods see it.
    pub zone: PathBuf,
    /// The cluster's DNS, which libc alone asks: a script, recordings, or a real server behind it.
    pub reference: Script,
    /// The directory of the two libraries.
    pub guests: PathBuf,
    /// Which doors are compared with libc alone.
    pub doors: Vec<Door>,
    /// Who asks for names outside the zone, and so which givers of a case must be right.
    pub asks: Asks,
    /// Who must answer is being written down: any giver is right.
    pub records: bool,
}

/// Who asks for names outside the zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asks {
    /// libc.
    #[default]
    Nobody,
    /// The process itself.
    Pod,
    /// The agent.
    Node,
}

/// What came of some rooms.
#[derive(Debug, Default)]
pub struct Report {
    /// Comparisons made, by release.
    pub compared: BTreeMap<Release, usize>,
    /// How many of them each door's zone decided, without a query.
    pub decided: HashMap<Door, usize>,
    /// How many a server was asked by us for.
    pub asked: HashMap<Door, usize>,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// Known differences, and how often each occurred.
    pub excused: BTreeMap<&'static str, usize>,
    /// Who answered, by title of the room and call.
    pub givers: HashMap<(String, String), [Givers; 3]>,
    /// Questions that libc alone asked and no recording holds.
    pub unrecorded: BTreeSet<(String, u16)>,
}

/// A case that came out differently.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The room's title.
    pub room: String,
    /// Through which door.
    pub door: Door,
    /// Under which release.
    pub release: Release,
    /// The call.
    pub call: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (door, release) = (self.door, self.release.as_str());
        write!(
            formatter,
            "{}: {door:?} {release}: {}\n {}",
            self.room, self.call, self.what
        )
    }
}

/// Runs calls through the given doors in a pod made after `recipe`, under every release; at least
/// `decided` of each door's must be decided by the zone. Returns how many the zone decided, at the
/// door with the fewest.
pub fn agree(
    zone: &Agent,
    recipe: Recipe,
    environment: &[(&str, &str)],
    doors: &[Door],
    calls: &[String],
    decided: usize,
) -> Result<usize> {
    let rig = Rig {
        doors: doors.to_vec(),
        ..Rig::new(zone)?
    };
    let recipe = Recipe {
        hosts: shop::HOSTS.into(),
        ..recipe
    };
    let room = Room::made_up("", calls.iter().cloned());
    let mut report = Report::default();
    rig.enter(&room, recipe, environment, &Release::ALL, &mut report)?;
    report.require(decided)?;
    Ok(report.fewest(doors))
}

impl Rig {
    /// The shop's zone, what CoreDNS said of it (and the model of it, for what was not recorded),
    /// the built libraries, every door.
    pub fn new(zone: &Agent) -> Result<Self> {
        let recordings = Arc::new(Recordings::load()?);
        Ok(Self {
            zone: zone.view(),
            reference: shop::world().recorded(recordings),
            guests: artifacts::guests()?,
            doors: Door::OURS.to_vec(),
            asks: Asks::Nobody,
            records: false,
        })
    }

    /// Runs every case of the rooms: two rooms at a time, and beside them those that mostly wait.
    pub fn run(&self, rooms: &[Room]) -> Result<Report> {
        let (patient, busy): (Vec<&Room>, Vec<&Room>) =
            rooms.iter().partition(|room| room.is_patient());
        let waiting = Mutex::new(busy.into_iter());
        let next = || waiting.lock().ok().and_then(|mut rooms| rooms.next());
        let work = || -> Result<Report> {
            let mut report = Report::default();
            while let Some(room) = next() {
                self.visit(room, &room.releases(), &mut report)?;
            }
            Ok(report)
        };
        let wait = |room: &Room, release| -> Result<Report> {
            let mut report = Report::default();
            self.visit(room, &[release], &mut report)?;
            Ok(report)
        };
        thread::scope(|scope| {
            let mut threads = vec![scope.spawn(work), scope.spawn(work)];
            for room in patient {
                let wait = &wait;
                let releases = room.releases().into_iter();
                threads.extend(releases.map(|one| scope.spawn(move || wait(room, one))));
            }
            let mut report = Report::default();
            for thread in threads {
                let part = thread.join();
                report.merge(part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            report.failures.sort_by(|a, b| a.room.cmp(&b.room));
            Ok(report)
        })
    }

    /// Runs the cases of a room of a file.
    fn visit(&self, room: &Room, releases: &[Release], report: &mut Report) -> Result<()> {
        let mut recipe = room.recipe()?;
        if room.leaves("hosts") {
            recipe.hosts = shop::HOSTS.into();
        }
        let environment = room.environment();
        if self.asks == Asks::Nobody || !room.leaves("nsswitch") {
            let entered = self.enter(room, recipe, &environment, releases, report);
            return entered.with_context(|| room.title.clone());
        }
        // The module and the shim ask under different lines.
        let (module, shim): (Vec<Door>, _) =
            self.doors.iter().partition(|door| **door == Door::Nss);
        for doors in [module, shim] {
            let Some(door) = doors.first() else { continue };
            recipe.nsswitch = outside::hosts_line(*door).into();
            let rig = Self {
                doors,
                ..self.clone()
            };
            rig.enter(room, recipe.clone(), &environment, releases, report)
                .with_context(|| room.title.clone())?;
        }
        Ok(())
    }

    /// Runs the cases of one room in a pod of this recipe.
    fn enter(
        &self,
        room: &Room,
        recipe: Recipe,
        environment: &[(&str, &str)],
        releases: &[Release],
        report: &mut Report,
    ) -> Result<()> {
        // The module's negative answer is the last word only where the line says so.
        let line = recipe.nsswitch.clone();
        let negatives_end = line.contains("k8s [!UNAVAIL=return]");
        let before_files = line
            .split("files")
            .next()
            .is_some_and(|text| text.contains("k8s"));
        let pod = Pod::start(Recipe {
            zone: Some(self.zone.clone()),
            dns: Some(self.reference.clone()),
            ..recipe
        })?;
        let cases = room.cases();
        let resolver = cases.iter().any(|case| is_for_resolver(&case.call));
        for &release in releases {
            let doors = self
                .doors
                .iter()
                .filter(|door| door.libc() == release.libc());
            let doors: Vec<Door> = doors.copied().collect();
            if doors.is_empty() {
                continue;
            }
            let place = Place {
                rig: self,
                pod: &pod,
                release,
                environment,
                resolver,
            };
            let mut table = Table::lay(place, &doors)?;
            table.negatives_end = negatives_end;
            table.before_files = before_files;
            for case in &cases {
                let failures = table.compare(case, pod.dns()?, report)?;
                report
                    .failures
                    .extend(failures.into_iter().map(|(door, what)| Failure {
                        room: room.title.clone(),
                        door,
                        release,
                        call: case.call.clone(),
                        what,
                    }));
                for (door, who) in &table.last {
                    let key = (room.title.clone(), case.call.clone());
                    let slot = Door::OURS.iter().position(|one| one == door);
                    let givers = report.givers.entry(key).or_default();
                    givers[slot.context("a door")?].insert(release, who.clone());
                }
            }
        }
        report.unrecorded.extend(pod.dns()?.unrecorded());
        Ok(())
    }
}

/// One release's processes in one pod: libc alone, and one for each door.
struct Table<'a> {
    place: Place<'a>,
    reference: Probes,
    ours: Vec<(Door, Probes)>,
    /// Whether a negative answer of the NSS module ends the lookup.
    negatives_end: bool,
    /// Whether the NSS module is asked before the hosts file, which it does not read.
    before_files: bool,
    /// Who answered the last call.
    last: Vec<(Door, String)>,
}

/// Where processes are started.
#[derive(Clone, Copy)]
struct Place<'a> {
    rig: &'a Rig,
    pod: &'a Pod,
    release: Release,
    environment: &'a [(&'a str, &'a str)],
    /// Whether something is asked of `probes/resolver.c`.
    resolver: bool,
}

impl Place<'_> {
    fn start(self, door: Door) -> Result<Probes> {
        let start = |probe| {
            let (guests, environment) = (&self.rig.guests, self.environment);
            Session::start_probe(self.pod, door, self.release, guests, environment, probe)
        };
        Ok(Probes {
            lookup: start("lookup")?,
            resolver: self.resolver.then(|| start("resolver")).transpose()?,
        })
    }
}

/// The processes of one door.
struct Probes {
    lookup: Session,
    /// Only where something is asked of it.
    resolver: Option<Session>,
}

impl Probes {
    fn ask(&mut self, call: &str) -> Result<Reply> {
        match &mut self.resolver {
            Some(resolver) if is_for_resolver(call) => resolver.ask(call),
            _ => self.lookup.ask(call),
        }
    }
}

/// Whether the call is a command of `probes/resolver.c`.
pub(crate) fn is_for_resolver(call: &str) -> bool {
    let verb = call.split(' ').next().unwrap_or_default();
    verb.trim_start_matches('_').starts_with("res_") || ["init", "patch", "state"].contains(&verb)
}

/// How often a call is made anew whose answer did not come in our share of the time.
const PATIENCE: usize = 2;

impl<'a> Table<'a> {
    fn lay(place: Place<'a>, doors: &[Door]) -> Result<Self> {
        let plain = doors.first().context("no doors")?.reference();
        let ours = doors.iter().map(|&door| Ok((door, place.start(door)?)));
        Ok(Self {
            place,
            reference: place.start(plain)?,
            ours: ours.collect::<Result<_>>()?,
            negatives_end: true,
            before_files: false,
            last: Vec::new(),
        })
    }

    /// Makes one call at every place; what is wrong, by door.
    fn compare(
        &mut self,
        case: &Case,
        server: &Server,
        report: &mut Report,
    ) -> Result<Vec<(Door, String)>> {
        let call = &case.call;
        let (release, asks) = (self.place.release, self.place.rig.asks);
        let mut failures = Vec::new();
        server.take_log();
        let libc = self.reference.ask(call)?;
        let asked_by_libc = set(server.take_log());
        self.last.clear();
        for (door, session) in &mut self.ours {
            let door = *door;
            let mut reply = session
                .ask(call)
                .with_context(|| format!("{door:?} {release:?}"))?;
            let slot = Door::OURS.iter().position(|one| *one == door);
            let known = case.who.as_ref().filter(|_| !self.place.rig.records);
            let wanted = known.zip(slot);
            let wanted = wanted.and_then(|(givers, slot)| givers[slot].get(&release));
            let wanted = wanted.map(|cell| expected(cell, asks));
            // Our share is measured by the clock; on a busy machine it may be over before the
            // server had its turn. A process that goes on would not ask for a minute.
            for _ in 0..PATIENCE {
                let late = giver(&reply) == "pass(noreply)";
                if !late || wanted.as_deref() == Some("pass(noreply)") || is_for_resolver(call) {
                    break;
                }
                *session = self.place.start(door)?;
                server.take_log();
                reply = session.ask(call)?;
            }
            let log = server.take_log();
            let only_tcp = log.iter().all(|one| one.tcp);
            let asked = set(log);
            let mut who = giver(&reply);
            if asks == Asks::Node {
                // Whether an answer is in shared memory already is a matter of time.
                who = who.replace("held", "forwarder");
                who = who.replace("forwarder,forwarder", "forwarder");
            }
            *report.compared.entry(release).or_default() += 1;
            let at = Circumstances {
                door,
                release,
                call,
            };
            for id in differences::amend(&at, &mut reply, &libc) {
                *report.excused.entry(id).or_default() += 1;
            }
            if reply.shape() != libc.shape() {
                let (libc, ours) = (libc.shape(), reply.shape());
                failures.push((door, format!("libc: {libc}\n ours: {ours} (from {who})")));
            }
            // The zone is read without a trace; glibc itself goes on after the module.
            let silent = reply.errno_untouched || reply.error.is_some() || !libc.errno_untouched;
            let ours = is_ours(&who) || is_asked(&who);
            if door != Door::Nss && ours && !silent {
                failures.push((door, format!("{who}, but errno was changed")));
            }
            let own = report.decided.entry(door).or_default();
            *own += usize::from(is_ours(&who));
            *report.asked.entry(door).or_default() += usize::from(is_asked(&who));
            let goes_on = door == Door::Nss && !self.negatives_end && who != "zone";
            // What an earlier candidate or family asked for, before the zone had the answer.
            let on_the_way = asks != Asks::Nobody && case.asks_on_the_way(door, release);
            // Where libc comes to ask nothing: the module stands before the hosts file, or the
            // caller's buffer is too small for reading that.
            let early =
                door == Door::Nss && self.before_files || libc.error.as_deref() == Some("ERANGE");
            // What we may ask: what libc asks, and targets that it leaves to the server.
            let may_ask = |one: &(String, u16)| {
                asked_by_libc.contains(one)
                    || asks != Asks::Nobody && shop::TARGETS.contains(&&*one.0)
            };
            if is_ours(&who) {
                let some = goes_on || on_the_way;
                if !(asked.is_empty() || some && asked.iter().all(may_ask)) {
                    failures.push((door, format!("{who}, but it asked {asked:?}")));
                }
            } else if is_asked(&who) {
                // libc itself asks nothing then.
                if !(early || asked.iter().all(may_ask)) || !only_tcp && !goes_on {
                    let how = if only_tcp {
                        "over TCP"
                    } else {
                        "not only over TCP"
                    };
                    let what = format!("{who}; libc asks {asked_by_libc:?}, here {asked:?} {how}");
                    failures.push((door, what));
                }
            } else if asks != Asks::Nobody
                && only_tcp
                && asked_by_libc.is_empty()
                && libc.error.is_some()
                && (who == "pass(service)" || has_service(call))
            {
                // The shim looks at the service once it has addresses; libc, which then reports a bad
                // one, before.
            } else if !(asked.is_superset(&asked_by_libc)
                || who.split(',').any(is_ours)
                || who.split(',').any(is_asked))
                || !asked.iter().all(may_ask)
            {
                let what = format!("{who}; libc asks {asked_by_libc:?}, here {asked:?}");
                failures.push((door, what));
            }
            if wanted.as_ref().is_some_and(|wanted| *wanted != who) {
                let wanted = wanted.unwrap_or_default();
                failures.push((door, format!("must come from {wanted}, came from {who}")));
            }
            self.last.push((door, who));
        }
        Ok(failures)
    }
}

impl Report {
    /// An error with what went wrong, if anything did, or if some door's zone decided fewer than
    /// so many calls.
    pub fn require(&self, decided: usize) -> Result<()> {
        let all: usize = self.compared.values().sum();
        let list: Vec<String> = self.failures.iter().map(ToString::to_string).collect();
        let count = list.len();
        ensure!(count == 0, "{count} of {all} differ:\n{}", list.join("\n"));
        for (door, own) in &self.decided {
            ensure!(*own >= decided, "{door:?}: only {own} were ours");
        }
        ensure!(decided == 0 || !self.decided.is_empty(), "none was ours");
        Ok(())
    }

    /// How many the zone decided, at the door with the fewest.
    fn fewest(&self, doors: &[Door]) -> usize {
        let decided = |door| self.decided.get(door).copied().unwrap_or(0);
        doors.iter().map(decided).min().unwrap_or(0)
    }

    fn merge(&mut self, other: Self) {
        for (release, count) in other.compared {
            *self.compared.entry(release).or_default() += count;
        }
        for (door, count) in other.decided {
            *self.decided.entry(door).or_default() += count;
        }
        for (door, count) in other.asked {
            *self.asked.entry(door).or_default() += count;
        }
        for (id, count) in other.excused {
            *self.excused.entry(id).or_default() += count;
        }
        self.failures.extend(other.failures);
        for (call, givers) in other.givers {
            let own = self.givers.entry(call).or_default();
            for (own, more) in own.iter_mut().zip(givers) {
                own.extend(more);
            }
        }
        self.unrecorded.extend(other.unrecorded);
    }
}

/// Whether the verdict says that no query was needed.
pub fn is_ours(who: &str) -> bool {
    let own = |part| ["zone", "nodata", "nxdomain", "hosts"].contains(&part);
    who.split(',').all(own)
}

/// Whether a call of getaddrinfo names a service.
fn has_service(call: &str) -> bool {
    call.starts_with("gai ") && call.split(' ').nth(2) != Some("-")
}

/// Whether the verdict says that a server was asked by us, and libc nothing.
pub fn is_asked(who: &str) -> bool {
    let by_us = |part: &str| {
        let word = part.split('(').next().unwrap_or_default();
        ["upstream", "forwarder", "held"].contains(&word)
    };
    who.split(',').any(by_us) && who.split(',').all(|part| by_us(part) || is_ours(part))
}

/// What was asked, however often.
fn set(asked: Vec<Asked>) -> BTreeSet<(String, u16)> {
    asked.into_iter().map(|one| (one.name, one.kind)).collect()
}
