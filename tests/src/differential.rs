//! The differential rig: the same call in the same pod by libc alone and through us, under every
//! release of libc. Both must come out the same in every field; the cases of a corpus also say who
//! must answer, and the server's log proves it.

mod report;
mod table;

pub use self::report::{Failure, Report};
pub(crate) use self::table::is_for_resolver;

use self::table::{Place, Table};
use crate::{
    artifacts,
    corpus::Room,
    dns::Script,
    libcs::Release,
    outside,
    pod::{Pod, Recipe},
    recording::Recordings,
    session::Door,
    shop,
    zonefile::Agent,
};
use anyhow::{Context, Result};
use std::{
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

/// Whether the verdict says that no query was needed.
pub fn is_ours(who: &str) -> bool {
    let own = |part| ["zone", "nodata", "nxdomain", "hosts"].contains(&part);
    who.split(',').all(own)
}

/// Whether the verdict says that a server was asked by us, and libc nothing.
pub fn is_asked(who: &str) -> bool {
    let by_us = |part: &str| {
        let word = part.split('(').next().unwrap_or_default();
        ["upstream", "forwarder", "held"].contains(&word)
    };
    who.split(',').any(by_us) && who.split(',').all(|part| by_us(part) || is_ours(part))
}
