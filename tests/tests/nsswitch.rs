//! The `hosts:` line of nsswitch.conf under the preload library, differentially: a source that we do
//! not know keeps its place, whether its module is there or not.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, compiled,
    libcs::Release,
    pod::{Pod, Recipe},
    probe::Libc,
    session::{Door, Session},
    shop,
    zonefile::Agent,
};
use std::{fs, path::PathBuf};

/// A service, a name of the hosts file, and a name that the zone denies.
const NAMES: [&str; 3] = ["api", "localhost", "x.nowhere.svc.cluster.local."];

const ZONE: &str = "zone";
const HOSTS: &str = "hosts";
const DENIED: &str = "nxdomain";
const UNPLACED: &str = "pass(nsswitch)";
const IN_HOSTS: &str = "pass(hosts)";
/// Of a name of the hosts file: glibc's default has had `files` in front since 2.33.
const BY_VERSION: &str = "by version";

/// A file, and who answers for each of the names.
const FILES: &[(&str, [&str; 3])] = &[
    ("hosts: files dns\n", [ZONE, HOSTS, DENIED]),
    ("  hosts :\tfiles  dns \n", [ZONE, HOSTS, DENIED]),
    ("hosts: files dns", [ZONE, HOSTS, DENIED]),
    ("", [ZONE, BY_VERSION, DENIED]),
    ("passwd: files\n", [ZONE, BY_VERSION, DENIED]),
    ("hosts: dns\n", [ZONE, IN_HOSTS, DENIED]),
    ("hosts: dns files\n", [ZONE, IN_HOSTS, UNPLACED]),
    (
        "hosts: dns [!UNAVAIL=return] files\n",
        [ZONE, IN_HOSTS, DENIED],
    ),
    ("hosts: files\n", [UNPLACED, HOSTS, UNPLACED]),
    ("hosts:\n", [UNPLACED, IN_HOSTS, UNPLACED]),
    // Sources before DNS.
    ("hosts: other files dns\n", [UNPLACED, IN_HOSTS, UNPLACED]),
    ("hosts: files other dns\n", [UNPLACED, HOSTS, UNPLACED]),
    (
        "hosts: files other [NOTFOUND=return] dns\n",
        [UNPLACED, HOSTS, UNPLACED],
    ),
    (
        "hosts: files mdns4_minimal [NOTFOUND=return] dns\n",
        [UNPLACED, HOSTS, UNPLACED],
    ),
    (
        "hosts: files ldap wins nis dns\n",
        [UNPLACED, HOSTS, UNPLACED],
    ),
    (
        "hosts: files myhostname resolve [!UNAVAIL=return] dns\n",
        [UNPLACED, HOSTS, UNPLACED],
    ),
    (
        "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n",
        [UNPLACED, IN_HOSTS, UNPLACED],
    ),
    // And behind it: they are asked after "no".
    ("hosts: files dns other\n", [ZONE, HOSTS, UNPLACED]),
    ("hosts: files dns myhostname\n", [ZONE, HOSTS, UNPLACED]),
    (
        "hosts: files dns [NOTFOUND=return] other\n",
        [ZONE, HOSTS, DENIED],
    ),
    (
        "hosts: files dns [!UNAVAIL=return] other\n",
        [ZONE, HOSTS, DENIED],
    ),
    ("hosts: files dns # the usual\n", [ZONE, HOSTS, UNPLACED]),
    ("hosts: files # dns\n", [UNPLACED, HOSTS, UNPLACED]),
    // Our own module, which is not installed here.
    ("hosts: files k8s dns\n", [ZONE, HOSTS, DENIED]),
    (
        "hosts: files k8s [!UNAVAIL=return] dns\n",
        [ZONE, HOSTS, DENIED],
    ),
    ("hosts: k8s files dns\n", [ZONE, IN_HOSTS, DENIED]),
    ("hosts: files k8s other dns\n", [UNPLACED, HOSTS, UNPLACED]),
    // Actions.
    (
        "hosts: files [NOTFOUND=return] dns\n",
        [UNPLACED, HOSTS, UNPLACED],
    ),
    (
        "hosts: files [notfound=continue] dns\n",
        [ZONE, HOSTS, DENIED],
    ),
    (
        "hosts: files [ !SUCCESS = continue ] dns\n",
        [ZONE, HOSTS, DENIED],
    ),
    (
        "hosts: files [SUCCESS=continue] dns\n",
        [UNPLACED, IN_HOSTS, UNPLACED],
    ),
    (
        "hosts: files [SUCCESS=merge] dns\n",
        [UNPLACED, IN_HOSTS, UNPLACED],
    ),
    // What glibc cannot read, or reads differently from release to release.
    (
        "hosts: files [FOO=return] dns\n",
        [UNPLACED, IN_HOSTS, UNPLACED],
    ),
    (
        "hosts: files dns [FOO=return]\n",
        [UNPLACED, IN_HOSTS, UNPLACED],
    ),
    (
        "hosts: [NOTFOUND=return] files dns\n",
        [UNPLACED, IN_HOSTS, UNPLACED],
    ),
    (
        "hosts: files dns\nhosts: files\n",
        [UNPLACED, IN_HOSTS, UNPLACED],
    ),
];

/// Every other source is named, and none has a module: glibc takes them for unavailable.
#[test]
fn sources_without_a_module_keep_their_place() -> Result<()> {
    let releases = Release::ALL.into_iter();
    let releases: Vec<_> = releases.filter(|one| one.libc() == Libc::Glibc).collect();
    each_file(|pod, differences, line, givers| {
        for release in &releases {
            let guests = artifacts::guests()?;
            let start = |door| Session::start_under(pod, door, *release, &guests, &[]);
            let (mut ours, mut reference) = (start(Door::ShimGlibc)?, start(Door::PlainGlibc)?);
            let title = format!("{line:?} {}", release.as_str());
            let givers = under(*release, givers);
            compare(&title, &givers, &mut ours, &mut reference, differences)?;
        }
        Ok(())
    })
}

/// The module `other` has an address of its own for every name: where it comes in its turn, its
/// answer is the answer.
#[test]
fn a_source_with_a_module_keeps_its_place() -> Result<()> {
    let module = other_module()?;
    let directory = module.parent().and_then(|path| path.to_str());
    let environment = [("LD_LIBRARY_PATH", directory.context("path")?)];
    let mut asked = 0;
    each_file(|pod, differences, line, givers| {
        let guests = artifacts::guests()?;
        let start = |door| Session::start_with(pod, door, &guests, &environment);
        let (mut ours, mut reference) = (start(Door::ShimGlibc)?, start(Door::PlainGlibc)?);
        for name in NAMES {
            let reply = reference.resolve(name, "INET")?;
            asked += usize::from(reply.summary().starts_with("192.0.2.66"));
        }
        let givers = under(Release::Glibc236, givers);
        compare(
            &format!("{line:?}"),
            &givers,
            &mut ours,
            &mut reference,
            differences,
        )
    })?;
    ensure!(asked >= 10, "the module answered only {asked} times");
    Ok(())
}

/// musl knows no such file.
#[test]
fn musl_does_not_look_at_the_line() -> Result<()> {
    let zone = shop::publish()?;
    for line in ["hosts: files\n", "hosts: other\n", "nonsense"] {
        let pod = start(&zone, line)?;
        let mut session = Session::start(&pod, Door::ShimMusl)?;
        for (name, who) in NAMES.into_iter().zip([ZONE, HOSTS, DENIED]) {
            let reply = session.resolve(name, "INET")?;
            ensure!(reply.who() == who, "{line:?} {name}: {}", reply.who());
        }
    }
    Ok(())
}

/// Runs `ask` in a pod for each of the files.
fn each_file(
    mut ask: impl FnMut(&Pod, &mut Vec<String>, &str, &[&'static str; 3]) -> Result<()>,
) -> Result<()> {
    let zone = shop::publish()?;
    let mut differences = Vec::new();
    let pod = start(&zone, "")?;
    for (line, givers) in FILES {
        pod.replace("nsswitch.conf", line)?;
        ask(&pod, &mut differences, line, givers)?;
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

fn start(zone: &Agent, nsswitch: &str) -> Result<Pod> {
    Pod::start(Recipe {
        nsswitch: nsswitch.into(),
        zone: Some(zone.view()),
        dns: Some(shop::script()),
        ..Recipe::default()
    })
}

/// The givers with what depends on the version decided.
fn under(release: Release, givers: &[&'static str; 3]) -> [&'static str; 3] {
    givers.map(|who| match (who, release) {
        (BY_VERSION, Release::Glibc231) => IN_HOSTS,
        (BY_VERSION, _) => HOSTS,
        _ => who,
    })
}

/// Each name of both families and of one, by the library and by libc alone.
fn compare(
    title: &str,
    givers: &[&str; 3],
    ours: &mut Session,
    reference: &mut Session,
    differences: &mut Vec<String>,
) -> Result<()> {
    for (name, who) in NAMES.into_iter().zip(givers) {
        for call in [
            format!("gai {name} - UNSPEC 1 0 2"),
            format!("gai {name} - INET 1 0 0"),
            format!("host {name}"),
        ] {
            let (got, expected) = (ours.ask(&call)?, reference.ask(&call)?);
            if got.shape() != expected.shape() || got.who() != *who {
                differences.push(format!(
                    "{title}: {call} from {}, not {who}:\n libc: {}\n ours: {}",
                    got.who(),
                    expected.shape(),
                    got.shape()
                ));
            }
        }
    }
    Ok(())
}

/// `libnss_other.so.2` in a directory of its own.
fn other_module() -> Result<PathBuf> {
    let built = compiled::library("nss_other", "nss_other", Libc::Glibc, &[])?;
    let module = artifacts::scratch("modules")?.join("libnss_other.so.2");
    fs::copy(built, &module)?;
    Ok(module)
}
