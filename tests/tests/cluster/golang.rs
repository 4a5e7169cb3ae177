//! Go programs, whose package `net` has a resolver of its own and calls libc only by cgo, and only
//! where it finds a reason: who answers them, and that nobody is worse off.

use crate::{
    agent::{Agent, Directory},
    control_plane::{ControlPlane, shared},
    coredns,
};
use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    artifacts,
    pod::{HOSTS_LINE, Pod, Recipe},
    reply::{NOBODY, Reply},
    session::Door,
    shop,
};

/// nsswitch.conf without us.
const PLAIN_LINE: &str = "hosts: files dns\n";
/// Makes a cgo program ask libc for everything that libc can be asked.
const BY_LIBC: (&str, &str) = ("GODEBUG", "netdns=cgo");

/// What the programs look up, and from whom a program gets it that asks libc by cgo: through the shim
/// and through NSS. Nobody: package net has a resolver of its own for this, or libc asks DNS for it
/// behind NSS.
const LOOKUPS: [(&str, &str, &str); 15] = [
    ("host api", "zone", "zone"),
    ("host web.shop", "zone", "zone"),
    ("ip4 web", "zone", "zone"),
    ("ip6 web", "zone", "zone"),
    ("ip4 postgres.db", "zone", "zone"),
    ("host alias", "zone", "zone"),
    ("host API.Shop.svc.cluster.local.", "zone", "zone"),
    ("host nosuch", "pass(ask-miss)", "pass(ask-miss)"),
    ("host www.example.com", "pass(external)", "pass(external)"),
    ("cname api", "pass(external)", NOBODY),
    ("cname alias", "zone", NOBODY),
    ("addr 10.96.1.10", "zone", "zone"),
    ("srv http tcp web.shop.svc.cluster.local", NOBODY, NOBODY),
    ("srv sql tcp postgres.db.svc.cluster.local.", NOBODY, NOBODY),
    ("txt dns-version.cluster.local", NOBODY, NOBODY),
];

/// What came of one lookup.
struct Seen {
    /// The program's line.
    answer: String,
    /// Who answered; see [`Reply::who`].
    who: String,
    /// Whether the pod's DNS server was asked.
    asked: bool,
}

/// A pod on what the agent publishes, with CoreDNS behind its DNS server.
struct Place<'a> {
    plane: &'a ControlPlane,
    pod: Pod,
    agent: Agent,
}

impl<'a> Place<'a> {
    fn open(plane: &'a ControlPlane, directory: &Directory) -> Result<Self> {
        let coredns = coredns::shared(plane)?;
        let agent = Agent::start(plane, directory, &["--external=off"])?;
        let pod = Pod::start(Recipe {
            hosts: shop::HOSTS.into(),
            zone: Some(directory.view()),
            dns: Some(shop::outside().forwarded(coredns.answers())),
            ..Recipe::default()
        })?;
        Ok(Self { plane, pod, agent })
    }

    /// Runs one lookup in a process of its own, which must end well and say one line.
    fn look_up(
        &self,
        program: &str,
        door: Door,
        environment: &[(&str, &str)],
        lookup: &str,
    ) -> Result<Seen> {
        let path = self.plane.program(program);
        let mut command = self.pod.command(path.to_str().context("path")?);
        door.open(&mut command, &artifacts::guests()?);
        command.envs(environment.iter().copied());
        self.pod.dns()?.take_log();
        let output = command.args(lookup.split(' ')).output()?;
        let said = String::from_utf8(output.stdout)?;
        let mut reply = Reply::default();
        let notes = String::from_utf8(output.stderr)?;
        notes.lines().for_each(|line| reply.take(line));
        let well = output.status.success() && said.lines().count() == 1;
        if !well || !reply.strange.is_empty() {
            bail!("{program} {lookup}: {}: {said}{notes}", output.status);
        }
        Ok(Seen {
            answer: said.trim_end().into(),
            who: reply.who(),
            asked: !self.pod.dns()?.take_log().is_empty(),
        })
    }

    /// Looks everything up through `door` and without us; the answers must be the same. Returns what
    /// was seen through `door`.
    fn compare(
        &self,
        program: &str,
        door: Door,
        environment: &[(&str, &str)],
    ) -> Result<Vec<Seen>> {
        let mut all = Vec::new();
        for (lookup, _, _) in LOOKUPS {
            self.pod.replace("nsswitch.conf", PLAIN_LINE)?;
            let plain = self.look_up(program, Door::PlainGlibc, environment, lookup)?;
            ensure!(plain.asked, "{program} {lookup}: no query even without us");
            if door == Door::Nss {
                self.pod.replace("nsswitch.conf", HOSTS_LINE)?;
            }
            let seen = self.look_up(program, door, environment, lookup)?;
            ensure!(
                seen.answer == plain.answer,
                "{program} {lookup} through {door:?}: {} from {}, without us {}",
                seen.answer,
                seen.who,
                plain.answer
            );
            all.push(seen);
        }
        Ok(all)
    }

    fn close(self) -> Result<()> {
        ensure!(self.agent.stop()?.success(), "an orderly stop is a success");
        Ok(())
    }
}

/// Each lookup came from whom the table names, and what the zone answered was asked of nobody.
fn require_ours(door: Door, seen: &[Seen]) -> Result<()> {
    for ((lookup, shim, nss), seen) in LOOKUPS.iter().zip(seen) {
        let wanted = if door == Door::Nss { nss } else { shim };
        ensure!(
            seen.who == *wanted && seen.asked == (*wanted != "zone"),
            "{lookup} through {door:?}: from {}, asked: {}",
            seen.who,
            seen.asked
        );
    }
    Ok(())
}

/// None of the lookups came to us, and all were answered by DNS.
fn require_bypassed(seen: &[Seen]) -> Result<()> {
    for ((lookup, _, _), seen) in LOOKUPS.iter().zip(seen) {
        ensure!(
            seen.who == NOBODY && seen.asked,
            "{lookup}: from {}, asked: {}",
            seen.who,
            seen.asked
        );
    }
    Ok(())
}

/// By cgo a program comes to the shim through getaddrinfo; its own resolver bypasses us, and finds
/// the same by DNS.
#[test]
fn cgo_programs_under_the_shim() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let place = Place::open(&plane, &directory)?;
    require_ours(
        Door::ShimGlibc,
        &place.compare("go-lookup-cgo", Door::ShimGlibc, &[BY_LIBC])?,
    )?;
    require_bypassed(&place.compare("go-lookup-cgo", Door::ShimGlibc, &[])?)?;
    place.close()
}

/// The source `k8s` in nsswitch.conf is a reason to ask libc: nothing else has to be set.
#[test]
fn cgo_programs_under_nss() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let place = Place::open(&plane, &directory)?;
    require_ours(Door::Nss, &place.compare("go-lookup-cgo", Door::Nss, &[])?)?;
    place.close()
}

/// Programs without libc, static or with its loader, run unharmed with the shim preloaded and with
/// the source in nsswitch.conf, which they do not know.
#[test]
fn programs_without_libc_are_unharmed() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let place = Place::open(&plane, &directory)?;
    for program in ["go-lookup-static", "go-lookup-pie"] {
        for door in [Door::ShimGlibc, Door::Nss] {
            require_bypassed(&place.compare(program, door, &[])?)?;
        }
    }
    place.close()
}
