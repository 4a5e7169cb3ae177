//! The ways to switch everything off, where namespaces have zones of their own: each way must reach the
//! processes of every one of them, what is hidden as well as what is not.
//!
//! The DNS server says other addresses than the zones, so an address tells whose it is.

use crate::world::{API, GOODS, VAULT, World};
use anyhow::{Context, Result, ensure};
use nss_k8s_stub::BUILD;
use nss_k8s_tests::{
    artifacts,
    dns::Script,
    libcs::Release,
    pod::{HOSTS_LINE, Pod, Recipe, resolv_conf},
    probe::Libc,
    session::{Door, Session},
    zonefile::{Agent, command, wait},
};
use nss_k8s_zone::{Config, Dump};
use std::{collections::BTreeSet, path::Path, process::Command};

/// Four zones: of two classes, which show everything, and of two that hide something.
const RULES: &str = "
classes: [{name: quiet, external: off, namespaces: [bank]}, {name: default, external: off}]
policy:
  - {from: {namespaces: [shop]}, to: {namespace_selector: tier=front}}
  - {from: {namespaces: [store]}}
";

/// The class `default`, the class `quiet`, what the shop sees and what the store sees.
const ZONES: usize = 4;

/// Each namespace, and what its zone says of [`API`], [`GOODS`] and [`VAULT`].
const SIGHTS: [(&str, [Option<&str>; 3]); 3] = [
    ("shop", [Some("10.96.1.10"), Some("10.96.3.10"), None]),
    ("store", [None, Some("10.96.3.10"), None]),
    (
        "bank",
        [Some("10.96.1.10"), Some("10.96.3.10"), Some("10.96.2.10")],
    ),
];

/// The names, and what the cluster's DNS says of them.
const NAMES: [(&str, &str); 3] = [
    (API, "192.0.2.1"),
    (GOODS, "192.0.2.3"),
    (VAULT, "192.0.2.2"),
];

/// The pod of a namespace, and a running process for each door.
struct Inhabitant {
    namespace: &'static str,
    sight: [Option<&'static str>; 3],
    pod: Pod,
    sessions: Vec<(Door, Session)>,
}

impl Inhabitant {
    fn start(world: &World, index: usize) -> Result<Self> {
        let (namespace, sight) = SIGHTS[index];
        let script = NAMES
            .iter()
            .fold(Script::default(), |script, (name, address)| {
                script.addresses(name.trim_end_matches('.'), &[address])
            });
        let pod = Pod::start(Recipe {
            resolv_conf: resolv_conf(namespace),
            nsswitch: HOSTS_LINE.into(),
            zone: Some(world.deliver(&format!("pod-{index}"), namespace)?),
            dns: Some(script),
            ..Recipe::default()
        })?;
        let start = |door| Ok((door, Session::start(&pod, door)?));
        let sessions = Door::OURS.into_iter().map(start).collect::<Result<_>>()?;
        Ok(Self {
            namespace,
            sight,
            pod,
            sessions,
        })
    }

    /// The next lookup of every name in every process is answered by the zone, and nobody is asked.
    fn require_zone(&mut self) -> Result<()> {
        self.pod.dns()?.take_log();
        for (door, session) in &mut self.sessions {
            for ((name, _), seen) in NAMES.iter().zip(self.sight) {
                let reply = session.resolve(name, "INET")?;
                let right = match seen {
                    Some(address) => reply.who() == "zone" && reply.summary().starts_with(address),
                    None => reply.who() == "nxdomain" && reply.error.is_some(),
                };
                ensure!(
                    right,
                    "{} {door:?} {name}: {} from {}, not the zone's {seen:?}",
                    self.namespace,
                    reply.summary(),
                    reply.who()
                );
            }
        }
        let log = self.pod.dns()?.take_log();
        ensure!(
            log.is_empty(),
            "{}: somebody asked: {log:?}",
            self.namespace
        );
        Ok(())
    }

    /// The next lookup of every name in every process is answered by libc from DNS, for this reason.
    fn require_libc(&mut self, reason: &str) -> Result<()> {
        for (door, session) in &mut self.sessions {
            for (name, address) in NAMES {
                self.pod.dns()?.take_log();
                let reply = session.resolve(name, "INET")?;
                ensure!(
                    reply.who() == reason && reply.summary().starts_with(address),
                    "{} {door:?} {name}: {} from {}, not libc's for {reason}",
                    self.namespace,
                    reply.summary(),
                    reply.who()
                );
                ensure!(
                    !self.pod.dns()?.take_log().is_empty(),
                    "{} {door:?} {name}: DNS was not asked",
                    self.namespace
                );
            }
        }
        Ok(())
    }
}

/// The world with every namespace's pod.
fn inhabited() -> Result<(World, Vec<Inhabitant>)> {
    let world = World::start(RULES)?;
    let all = (0..SIGHTS.len()).map(|index| Inhabitant::start(&world, index));
    let all = all.collect::<Result<_>>()?;
    ensure!(zones(world.agent.base().as_path())?.len() == ZONES);
    Ok((world, all))
}

fn require_zones(all: &mut [Inhabitant]) -> Result<()> {
    all.iter_mut().try_for_each(Inhabitant::require_zone)
}

fn require_libcs(all: &mut [Inhabitant], reason: &str) -> Result<()> {
    all.iter_mut().try_for_each(|one| one.require_libc(reason))
}

/// Every published zone, as it is now.
fn zones(base: &Path) -> Result<Vec<Dump>> {
    std::fs::read_dir(base.join("view"))?
        .map(|entry| Ok(Dump::open(&entry?.path().join("zone.v1"))?))
        .collect()
}

/// Adds to the configuration, and waits until every zone has it.
fn configure(world: &World, more: &str, has: impl Fn(&Config) -> bool) -> Result<()> {
    world.agent.write_config(&format!("{RULES}{more}"))?;
    wait(|| {
        let zones = zones(&world.agent.base())?;
        Ok(zones.iter().all(|zone| has(zone.config())))
    })
    .with_context(|| world.agent.log())
}

/// Runs a subcommand that must succeed, with or without an agent.
fn call(base: &Path, what: &str) -> Result<()> {
    let output = command(base, &[what])?;
    ensure!(output.status.success(), "{what}: {output:?}");
    Ok(())
}

/// `disable` has worked when it returns: no process of any view answers from its zone, and what was
/// hidden is what DNS says. A view that is first needed while the switch is set is off, too.
#[test]
fn the_kill_switch_reaches_every_view() -> Result<()> {
    let world = World::start(RULES)?;
    let base = world.agent.base();
    let mut all = vec![Inhabitant::start(&world, 0)?, Inhabitant::start(&world, 2)?];
    require_zones(&mut all)?;
    for late in [false, true] {
        call(&base, "disable")?;
        require_libcs(&mut all, "pass(zone-disabled)")?;
        if late {
            all.push(Inhabitant::start(&world, 1)?);
            require_libcs(&mut all, "pass(zone-disabled)")?;
        }
        call(&base, "enable")?;
        require_zones(&mut all)?;
    }
    ensure!(zones(&base)?.len() == ZONES, "not every view was there");
    Ok(())
}

/// Without an agent the command writes every view's zone itself; the next agent leaves all of them as
/// the switch says.
#[test]
fn the_kill_switch_needs_no_agent_for_any_view() -> Result<()> {
    let (world, mut all) = inhabited()?;
    let base = world.agent.base();
    let root = world.agent.end(libc::SIGKILL)?;
    require_zones(&mut all)?;
    for _ in 0..2 {
        call(&base, "disable")?;
        require_libcs(&mut all, "pass(zone-disabled)")?;
        call(&base, "enable")?;
        require_zones(&mut all)?;
    }
    call(&base, "disable")?;
    let agent = Agent::start_switched_off_in(root, &[])?;
    require_libcs(&mut all, "pass(zone-disabled)")?;
    call(&base, "enable")?;
    require_zones(&mut all)?;
    drop(agent);
    Ok(())
}

/// A refused build passes in every view, in one that comes later, too; another build's refusal is none
/// of ours.
#[test]
fn a_refused_build_passes_in_every_view() -> Result<()> {
    let world = World::start(RULES)?;
    let mut all = vec![Inhabitant::start(&world, 0)?, Inhabitant::start(&world, 2)?];
    require_zones(&mut all)?;
    let refuse = |builds: Vec<u64>| {
        let more = format!("processes: {{refuse_builds: {builds:?}}}\n");
        configure(&world, &more, |config| config.refused_builds == builds)
    };
    refuse(vec![BUILD + 1, BUILD])?;
    require_libcs(&mut all, "pass(disabled)")?;
    all.push(Inhabitant::start(&world, 1)?);
    require_libcs(&mut all, "pass(disabled)")?;
    refuse(vec![BUILD + 1])?;
    require_zones(&mut all)?;
    refuse(vec![BUILD])?;
    require_libcs(&mut all, "pass(disabled)")?;
    refuse(Vec::new())?;
    require_zones(&mut all)
}

/// The whole thousand is everybody, in every view; and none of it is nobody.
#[test]
fn a_whole_thousand_passes_in_every_view() -> Result<()> {
    let (world, mut all) = inhabited()?;
    for permille in [1000, 0, 1000, 0] {
        let more = format!("processes: {{disabled_permille: {permille}}}\n");
        configure(&world, &more, |config| config.disabled_permille == permille)?;
        match permille {
            0 => require_zones(&mut all)?,
            _ => require_libcs(&mut all, "pass(disabled)")?,
        }
    }
    Ok(())
}

/// The share of hosts that a permille switches off goes by the host's name: every process of a pod
/// goes with it, whatever view it has; more of the thousand take in those that were out before; and
/// `explain` knows.
#[test]
fn a_permille_goes_by_the_host_name_in_every_view() -> Result<()> {
    const HOSTS: usize = 12;
    let (world, all) = inhabited()?;
    let mut out_before = BTreeSet::new();
    for permille in [0, 250, 750, 1000] {
        let more = format!("processes: {{disabled_permille: {permille}}}\n");
        configure(&world, &more, |config| config.disabled_permille == permille)?;
        let mut out = BTreeSet::new();
        for number in 0..HOSTS {
            let host = format!("shop-{number}-x7k2p");
            let is_out = passes(&all[0].pod, &host)?;
            for one in &all[1..] {
                ensure!(
                    passes(&one.pod, &host)? == is_out,
                    "{host} {permille}: not the same in {}",
                    one.namespace
                );
            }
            let mut explain = Command::new(artifacts::explain()?);
            let (status, told) = named(&all[0].pod, &host, explain.arg(API))?;
            ensure!((status == 3) == is_out, "{host} {permille}: {told}");
            if is_out {
                out.insert(host);
            }
        }
        ensure!(
            out.is_superset(&out_before),
            "{permille}: {out_before:?} {out:?}"
        );
        let expected = match permille {
            0 => 0..=0,
            1000 => HOSTS..=HOSTS,
            _ => 1..=HOSTS - 1,
        };
        ensure!(expected.contains(&out.len()), "{permille}: {out:?}");
        out_before = out;
    }
    Ok(())
}

/// Whether a new process of a host leaves a name that every namespace sees to libc: by our own word, and
/// by whose address it is.
fn passes(pod: &Pod, host: &str) -> Result<bool> {
    let release = Release::of_the_machine(Libc::Glibc);
    let mut lookup = release.command(pod, "lookup", None)?;
    Door::ShimGlibc.open(&mut lookup, &artifacts::guests()?);
    lookup.args(["gai", GOODS, "-", "INET", "1", "0", "0"]);
    let (_, text) = named(pod, host, &lookup)?;
    let (libcs, ours) = (text.contains("192.0.2.3"), text.contains("10.96.3.10"));
    ensure!(
        libcs != ours
            && libcs == text.contains("-> pass(disabled)")
            && ours == text.contains("-> zone"),
        "{host}: {text}"
    );
    Ok(libcs)
}

/// Runs a program in a pod that has this host name; its status, and what it wrote.
fn named(pod: &Pod, host: &str, program: &Command) -> Result<(i32, String)> {
    const RENAME: &str = "hostname \"$1\" && shift && exec \"$@\"";
    let mut renamed = pod.command("unshare");
    renamed
        .args(["--uts", "sh", "-c", RENAME, "-", host])
        .arg(program.get_program())
        .args(program.get_args());
    for (name, value) in program.get_envs() {
        renamed.env(name, value.context("no value")?);
    }
    let output = renamed.output()?;
    let text = [output.stdout, output.stderr].concat();
    let status = output.status.code().context("killed")?;
    Ok((status, String::from_utf8(text)?))
}
