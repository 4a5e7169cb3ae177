//! Deployments and StatefulSets whose pods kwok plays: the real controllers make, replace and remove hundreds of pods and
//! write their slices. After each wave every name is asked of a process (the zone must answer) and of CoreDNS (over TCP):
//! both must say what the endpoint slices say, and the slices what the pods say.

use crate::{
    agent::Directory,
    control_plane::{shared, until, until_within},
    doors::{Doors, Expected},
    fleet::{Fleet, Names, Ready, SPACE},
    objects::headless,
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    fleet,
    session::{Door, Session},
    wire::{kind, rcode},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

/// How long a wave may take: a second or two, but on etcd 3.4 the real controllers have been 50 s late with their slices.
const PATIENCE: Duration = Duration::from_secs(300);

/// Workloads start, roll out, scale, turn unready and end; see above for who must answer.
#[test]
fn hundreds_of_pods_are_followed_through_rollouts() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let fleet = Fleet::start(&plane, &directory)?;
    let mut doors = Doors::open(&directory, SPACE)?;

    // One pod first on each node: kwok 0.8 does not lock what it makes of a node's range for its first pod, and gives
    // two that come together one address. Two slices of each family for `api`, one for the others; `web` has an address
    // of its own.
    let mut sizes = [("web", 40), ("api", 120), ("db", 40), ("queue", 20)];
    for (node, (app, _)) in (1..).zip(sizes) {
        let workload = match app {
            "web" | "api" => fleet::deployment(app, node, 1),
            _ => fleet::stateful_set(app, node, 1),
        };
        fleet.deploy(app, &workload)?;
    }
    until("a pod of each to be ready", || {
        Ok((fleet.ready_pods()?.len() == sizes.len()).then_some(()))
    })?;
    fleet.scale(sizes)?;
    let web = json!({"selector": {"app": "web"}, "ipFamilyPolicy": "PreferDualStack"});
    let own = fleet.space.service("web", web)?;
    for app in ["api", "db", "queue"] {
        fleet.space.service(app, headless(app))?;
    }
    let first = fleet.agree("a start", &mut doors, &sizes, &Names::new())?;
    ensure!(first.len() == 4 + 2 * (40 + 120) + 40 + 20, "{first:?}");
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    doors.expect("web", Expected::Zone(&own, &fleet.space.fqdn("web")))?;
    let one = fleet.space.fqdn("db-7.db");
    let addresses: Vec<String> = first[&one].iter().map(IpAddr::to_string).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    doors.expect_now("db-7.db", Expected::Zone(&addresses, &one))?;

    // Every pod is replaced: a quarter at a time by rollouts, then all of the StatefulSets at once.
    for app in ["web", "api"] {
        fleet.patch("deployments", app, &fleet::rollout(1))?;
    }
    until_within(PATIENCE, "the rollouts to end", || {
        Ok((fleet.is_rolled_out("web")? && fleet.is_rolled_out("api")?).then_some(()))
    })?;
    let second = fleet.agree("a rollout", &mut doors, &sizes, &first)?;
    let before = fleet.pods()?;
    for app in ["db", "queue"] {
        fleet.delete(&format!(
            "/api/v1/namespaces/{SPACE}/pods?labelSelector=app%3D{app}"
        ))?;
    }
    until_within(PATIENCE, "every such pod to be another one", || {
        let pods = fleet.pods()?;
        let kept = pods.keys().filter(|uid| before.contains_key(*uid));
        Ok((kept.count() == 40 + 120).then_some(()))
    })?;
    let third = fleet.agree("a replacement", &mut doors, &sizes, &second)?;
    ensure!(
        first != second && second != third,
        "the same addresses as before"
    );

    // More and fewer of them, and none of one.
    sizes = [("web", 60), ("api", 30), ("db", 10), ("queue", 0)];
    fleet.scale(sizes)?;
    let scaled = fleet.agree("scaling", &mut doors, &sizes, &third)?;

    // Some turn unready, and ready again.
    let unready = ["db-0", "db-1", "db-4"];
    for pod in unready {
        fleet.label(pod, json!("true"))?;
    }
    sizes[2].1 -= unready.len();
    let fewer = fleet.agree("pods turned unready", &mut doors, &sizes, &scaled)?;
    // In full: another namespace is called `db`, where a service `db-4` might be.
    let absolute = format!("{}.", fleet.space.fqdn("db-4.db"));
    doors.expect_now(&absolute, Expected::NxDomain)?;
    for pod in unready {
        fleet.label(pod, Value::Null)?;
    }
    sizes[2].1 += unready.len();
    let again = fleet.agree("pods turned ready", &mut doors, &sizes, &fewer)?;
    ensure!(scaled == again, "{scaled:?} became {again:?}");
    fleet.end()
}

impl Fleet<'_> {
    /// Has so many pods of each workload.
    fn scale(&self, sizes: [(&str, usize); 4]) -> Result<()> {
        for (app, replicas) in sizes {
            let resource = match app {
                "web" | "api" => "deployments",
                _ => "statefulsets",
            };
            let scale = json!({"spec": {"replicas": replicas}});
            self.patch(resource, app, &scale)?;
        }
        Ok(())
    }

    /// Waits until the service's pods are as many as `sizes` says, the slices have them, the zone says what the slices say
    /// to a process, and CoreDNS, too. Names of `before` that are gone must be so for both. Returns all names.
    fn agree(
        &self,
        what: &str,
        doors: &mut Doors,
        sizes: &[(&str, usize)],
        before: &Names,
    ) -> Result<Names> {
        let began = Instant::now();
        let mut last = String::new();
        let names = until_within(PATIENCE, what, || {
            let (names, ready) = self.slices()?;
            let pods = self.ready_pods()?;
            last = format!("pods {:?}, slices {:?}", counts(&pods), counts(&ready));
            // Each pod has an address of both families.
            let whole = sizes
                .iter()
                .all(|(service, count)| pods.get(*service).map_or(0, BTreeSet::len) == 2 * count);
            Ok((whole && pods == ready).then_some(names))
        })
        .with_context(|| last)?;
        let written = began.elapsed();
        let gone: Vec<&String> = before
            .keys()
            .filter(|it| !names.contains_key(*it))
            .collect();
        let session = doors.session(Door::ShimGlibc)?;
        let mut last = String::new();
        until_within(PATIENCE, "the zone to say what the slices say", || {
            let differs = zone_differs(session, &names, &gone)?;
            Ok(match differs {
                Some(difference) => {
                    last = difference;
                    None
                }
                None => Some(()),
            })
        })
        .with_context(|| last)?;
        let zone = began.elapsed();
        let mut last = String::new();
        until_within(PATIENCE, "CoreDNS to say what the slices say", || {
            let differs = self.coredns_differs(&names, &gone)?;
            Ok(match differs {
                Some(difference) => {
                    last = difference;
                    None
                }
                None => Some(()),
            })
        })
        .with_context(|| last)?;
        println!(
            "pods: {what}: {} names, {} gone; slices after {written:.1?}, zone compared after {zone:.1?}, CoreDNS after {:.1?}",
            names.len(),
            gone.len(),
            began.elapsed()
        );
        Ok(names)
    }

    /// Where CoreDNS says something else, or has a name that is gone.
    fn coredns_differs(&self, names: &Names, gone: &[&String]) -> Result<Option<String>> {
        let mut connection = self.coredns.connect()?;
        for (name, addresses) in names {
            let mut told = BTreeSet::new();
            for family in [kind::A, kind::AAAA] {
                let recording = connection.ask(name, family)?;
                if recording.code != rcode::NOERROR {
                    return Ok(Some(recording.to_string()));
                }
                for record in &recording.sections[0] {
                    told.insert(record.data.parse()?);
                }
            }
            if told != *addresses {
                return Ok(Some(format!("{name}: {told:?}, not {addresses:?}")));
            }
        }
        for name in gone {
            let recording = connection.ask(name, kind::A)?;
            if recording.code != rcode::NXDOMAIN {
                return Ok(Some(recording.to_string()));
            }
        }
        Ok(None)
    }
}

/// Where a process gets something else, or not from the zone, or still has a name that is gone.
fn zone_differs(session: &mut Session, names: &Names, gone: &[&String]) -> Result<Option<String>> {
    for (name, addresses) in names {
        for (family, is_four) in [("INET", true), ("INET6", false)] {
            let wanted: BTreeSet<IpAddr> = addresses
                .iter()
                .filter(|address| address.is_ipv4() == is_four)
                .copied()
                .collect();
            let reply = session.resolve(&format!("{name}."), family)?;
            let told = reply.entries.iter().map(|entry| entry.address.parse());
            let told: BTreeSet<IpAddr> = told.collect::<Result<_, _>>()?;
            let giver = if wanted.is_empty() { "nodata" } else { "zone" };
            if told != wanted || reply.who() != giver {
                let who = reply.who();
                return Ok(Some(format!(
                    "{name} {family}: {told:?} from {who}, not {wanted:?} from {giver}"
                )));
            }
        }
    }
    for name in gone {
        let reply = session.resolve(&format!("{name}."), "INET")?;
        if reply.who() != "nxdomain" || reply.error.as_deref() != Some("EAI_NONAME") {
            let (summary, who) = (reply.summary(), reply.who());
            return Ok(Some(format!("{name} is gone, but {summary} from {who}")));
        }
    }
    Ok(None)
}

fn counts(ready: &Ready) -> BTreeMap<&String, usize> {
    ready.iter().map(|(app, all)| (app, all.len())).collect()
}
