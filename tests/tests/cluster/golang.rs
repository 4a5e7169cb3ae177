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
    reply::Reply,
    session::Door,
    shop,
};

/// nsswitch.conf without us.
const PLAIN_LINE: &str = "hosts: files dns\n";
/// Makes a cgo program ask libc for everything that libc can be asked.
const BY_LIBC: (&str, &str) = ("GODEBUG", "netdns=cgo");

/// What the programs look up, and whether libc, asked by cgo, takes addresses of it from our zone.
const LOOKUPS: [(&str, bool); 15] = [
    ("host api", true),
    ("host web.shop", true),
    ("ip4 web", true),
    ("ip6 web", true),
    ("ip4 postgres.db", true),
    ("host alias", true),
    ("host API.Shop.svc.cluster.local.", true),
    ("host nosuch", false),
    ("host www.example.com", false),
    ("cname api", false),
    ("cname alias", false),
    ("addr 10.96.1.10", false),
    ("srv http tcp web.shop.svc.cluster.local", false),
    ("srv sql tcp postgres.db.svc.cluster.local.", false),
    ("txt dns-version.cluster.local", false),
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
        let agent = Agent::start(plane, directory, &[])?;
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
    ) -> Result<Vec<(&'static str, bool, Seen)>> {
        let mut all = Vec::new();
        for (lookup, ours) in LOOKUPS {
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
            all.push((lookup, ours, seen));
        }
        Ok(all)
    }

    fn close(self) -> Result<()> {
        ensure!(self.agent.stop()?.success(), "an orderly stop is a success");
        Ok(())
    }
}

/// Where libc is asked, our zone answers; who asks nobody is answered by it, and no one else.
fn require_ours(seen: &[(&str, bool, Seen)]) -> Result<()> {
    for (lookup, ours, seen) in seen {
        ensure!(
            !ours || seen.who == "zone",
            "{lookup}: answered by {}",
            seen.who
        );
        let decided = ["zone", "nodata", "nxdomain"].contains(&seen.who.as_str());
        ensure!(
            seen.asked != decided,
            "{lookup}: from {}, yet asked: {}",
            seen.who,
            seen.asked
        );
    }
    Ok(())
}

/// None of the lookups came to us, and all were answered by DNS.
fn require_bypassed(seen: &[(&str, bool, Seen)]) -> Result<()> {
    for (lookup, _, seen) in seen {
        ensure!(
            seen.who == nss_k8s_tests::reply::NOBODY && seen.asked,
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
    require_ours(&place.compare("go-lookup-cgo", Door::ShimGlibc, &[BY_LIBC])?)?;
    require_bypassed(&place.compare("go-lookup-cgo", Door::ShimGlibc, &[])?)?;
    place.close()
}

/// The source `k8s` in nsswitch.conf is a reason to ask libc: nothing else has to be set.
#[test]
fn cgo_programs_under_nss() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let place = Place::open(&plane, &directory)?;
    require_ours(&place.compare("go-lookup-cgo", Door::Nss, &[])?)?;
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
