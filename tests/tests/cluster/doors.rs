//! A pod without any DNS server, and one warm process behind each door to us.

use crate::{agent::Directory, control_plane::until_within};
use anyhow::{Context, Result, anyhow, ensure};
use nss_k8s_tests::{
    pod::{self, Pod, Recipe},
    reply::Reply,
    session::{Door, Session},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long a change may take to be seen; an agent that lost its server waits between two tries.
const PATIENCE: Duration = Duration::from_secs(60);

/// The processes of one pod: glibc through NSS, glibc and musl through the shim.
pub(crate) struct Doors {
    pod: Pod,
    sessions: Vec<(Door, Session)>,
}

/// What is expected of every process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected<'a> {
    /// The zone gives these addresses (any order) under this canonical name.
    Zone(&'a [&'a str], &'a str),
    /// The zone says that the name has no address of the family.
    NoData,
    /// The zone says that there is no such name.
    NxDomain,
    /// libc is left to ask DNS, for this reason; without a server it fails.
    Pass(&'a str),
}

impl Doors {
    /// A pod of `namespace` that has the directory's view mounted.
    pub(crate) fn open(directory: &Directory, namespace: &str) -> Result<Self> {
        let pod = Pod::start(Recipe {
            resolv_conf: pod::resolv_conf(namespace),
            zone: Some(directory.view()),
            ..Recipe::default()
        })?;
        let sessions = Door::OURS
            .into_iter()
            .map(|door| Ok((door, Session::start(&pod, door)?)))
            .collect::<Result<_>>()?;
        Ok(Self { pod, sessions })
    }

    /// Waits until every process gets what is expected for `name`, of either family.
    pub(crate) fn expect(&mut self, name: &str, expected: Expected<'_>) -> Result<()> {
        self.expect_family(name, "UNSPEC", expected)
    }

    /// The same for one family: `INET`, `INET6` or `UNSPEC`.
    pub(crate) fn expect_family(
        &mut self,
        name: &str,
        family: &str,
        expected: Expected<'_>,
    ) -> Result<()> {
        for (door, session) in &mut self.sessions {
            let mut last = String::new();
            until_within(PATIENCE, "a change to be seen", || {
                let reply = session.resolve(name, family)?;
                last = seen(&reply);
                Ok(expected.holds(&reply).then_some(()))
            })
            .with_context(|| {
                format!("{name} {family} through {door:?}: expected {expected:?}, last {last}")
            })?;
        }
        Ok(())
    }

    /// Asks every process once; its reply must be what is expected.
    pub(crate) fn expect_now(&mut self, name: &str, expected: Expected<'_>) -> Result<()> {
        for (door, session) in &mut self.sessions {
            let reply = session.resolve(name, "UNSPEC")?;
            ensure!(
                expected.holds(&reply),
                "{name} through {door:?}: expected {expected:?}, got {}",
                seen(&reply)
            );
        }
        Ok(())
    }

    /// The process behind one door.
    pub(crate) fn session(&mut self, door: Door) -> Result<&mut Session> {
        let found = self.sessions.iter_mut().find(|(other, _)| *other == door);
        found.map(|(_, session)| session).context("no such door")
    }

    /// Resolves `name` over and over in processes of their own until told to stop, and counts
    /// every reply that is not `expected`.
    pub(crate) fn watch(&self, name: &str, addresses: &[&str]) -> Result<Steady> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU64::new(0));
        let threads = Door::OURS
            .into_iter()
            .map(|door| {
                let session = Session::start(&self.pod, door)?;
                let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
                let name = name.to_owned();
                let addresses: Vec<String> =
                    addresses.iter().map(|text| (*text).to_owned()).collect();
                Ok(thread::spawn(move || {
                    watch(door, session, &name, &addresses, &stop, &asked)
                }))
            })
            .collect::<Result<_>>()?;
        Ok(Steady {
            stop,
            asked,
            threads,
        })
    }
}

impl Expected<'_> {
    /// Whether `reply` is what is expected, and from whom.
    pub(crate) fn holds(self, reply: &Reply) -> bool {
        match self {
            Self::Zone(addresses, canonical) => {
                let mut addresses = addresses.to_vec();
                addresses.sort_unstable();
                reply.who() == "zone"
                    && reply.summary() == format!("{} = {canonical}", addresses.join(" "))
            }
            Self::NoData => reply.who() == "nodata" && reply.error.is_some(),
            Self::NxDomain => {
                reply.who() == "nxdomain" && reply.error.as_deref() == Some("EAI_NONAME")
            }
            Self::Pass(reason) => reply.who() == format!("pass({reason})") && reply.error.is_some(),
        }
    }
}

/// Processes that resolve one name all the time.
pub(crate) struct Steady {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<Vec<String>>>>,
}

impl Steady {
    /// How many replies there were up to now.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Ends the processes; an error when any reply was not the expected one, or when there was
    /// hardly a reply. Returns how many there were.
    pub(crate) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut wrong = Vec::new();
        for thread in self.threads {
            wrong.extend(
                thread
                    .join()
                    .map_err(|_| anyhow!("a watching thread panicked"))??,
            );
        }
        let asked = self.asked.load(Ordering::Relaxed);
        ensure!(
            wrong.is_empty(),
            "{} of {asked} replies were wrong: {:?}",
            wrong.len(),
            wrong.first()
        );
        ensure!(asked > 100, "only {asked} replies");
        Ok(asked)
    }
}

fn watch(
    door: Door,
    mut session: Session,
    name: &str,
    addresses: &[String],
    stop: &AtomicBool,
    asked: &AtomicU64,
) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let expected = Expected::Zone(&addresses, name);
    while !stop.load(Ordering::Relaxed) {
        let reply = session.resolve(name, "UNSPEC")?;
        if !expected.holds(&reply) {
            wrong.push(format!("{door:?}: {}", seen(&reply)));
        }
        asked.fetch_add(1, Ordering::Relaxed);
        // A steady trickle: the two processors are also the control plane's.
        thread::sleep(Duration::from_millis(2));
    }
    Ok(wrong)
}

fn seen(reply: &Reply) -> String {
    format!("{} from {}", reply.summary(), reply.who())
}
