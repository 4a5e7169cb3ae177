//! The hosts file under the preload library, differentially: what each libc reads out of a file, the
//! library reads out of it, in the same order, and says that it did.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    pod::{Pod, Recipe},
    probe::Libc,
    reply::Reply,
    session::{Door, Session},
    shop,
};

/// Who answers for a name that the file has.
const HOSTS: &str = "hosts";
/// The file is asked, but the answer is left to libc.
const PASSED: &str = "pass(hosts)";

/// The file does not have it, and the next source is DNS: in the cluster's zone for names without
/// dots, which could be services, else outside.
const MISSED: &str = "pass(ask-miss)";
/// See `MISSED`.
const EXTERNAL: &str = "pass(external)";

/// A name of a file, and who must answer for it in a glibc and in a musl process.
struct Case {
    name: &'static str,
    families: &'static [&'static str],
    glibc: &'static str,
    musl: &'static str,
}

const fn case(
    name: &'static str,
    families: &'static [&'static str],
    glibc: &'static str,
    musl: &'static str,
) -> Case {
    Case {
        name,
        families,
        glibc,
        musl,
    }
}

const UNSPEC: &[&str] = &["UNSPEC"];
const INET: &[&str] = &["INET"];
const INET6: &[&str] = &["INET6"];
const EVERY: &[&str] = &["UNSPEC", "INET", "INET6"];
const V4: &[&str] = &["UNSPEC", "INET"];
const V6: &[&str] = &["UNSPEC", "INET6"];

/// What the kubelet writes, with the entries of `hostAliases`.
const KUBELETS: &str = "# Kubernetes-managed hosts file.\n\
    127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    fe00::0\tip6-mcastprefix\n\
    fe00::1\tip6-allnodes\n\
    fe00::2\tip6-allrouters\n\
    10.244.0.7\tshopper-0.shopper.shop.svc.cluster.local\tshopper-0\n\
    \n\
    # Entries added by HostAliases.\n\
    192.0.2.1\tLegacy.Example\tlegacy\tlegacy.v4 # api\n\
    192.0.2.2\tsecond\tLEGACY legacy\n\
    2001:db8::1\tlegacy legacy.v6\n";

fn kubelets_cases() -> Vec<Case> {
    vec![
        case("localhost", EVERY, HOSTS, HOSTS),
        case("LOCALHOST", EVERY, HOSTS, MISSED),
        case("localhost.", UNSPEC, EXTERNAL, EXTERNAL),
        case("ip6-loopback", V6, HOSTS, HOSTS),
        // ::1 is 127.0.0.1 to glibc; musl says that there is no such family, and asks nobody.
        case("ip6-loopback", INET, HOSTS, "nodata"),
        case("ip6-localnet", V6, HOSTS, HOSTS),
        case("ip6-localnet", INET, MISSED, "nodata"),
        case("shopper-0", V4, HOSTS, HOSTS),
        case("shopper-0", INET6, MISSED, "nodata"),
        case("shopper-0.shopper.shop.svc.cluster.local", V4, HOSTS, HOSTS),
        case("legacy", EVERY, HOSTS, HOSTS),
        case("Legacy.Example", V4, HOSTS, HOSTS),
        case("legacy.example", V4, HOSTS, EXTERNAL),
        case("legacy.v6", V6, HOSTS, HOSTS),
        case("legacy.v6", INET, EXTERNAL, "nodata"),
        case("second", V4, HOSTS, HOSTS),
        // Only behind a comment sign: the service.
        case("api", UNSPEC, "zone", "zone"),
    ]
}

#[test]
fn the_kubelets_file_is_read_as_each_libc_reads_it() -> Result<()> {
    agree(KUBELETS, None, &kubelets_cases())
}

#[test]
fn host_conf_decides_how_many_lines_count_on_glibc() -> Result<()> {
    for text in ["multi off\n", "", "order hosts,bind # multi on\n"] {
        agree(KUBELETS, Some(text), &kubelets_cases())?;
    }
    // What else the file may say is left to glibc. (It complains of some of it on standard error.)
    let cases = [
        case("localhost", EVERY, PASSED, HOSTS),
        case("api", UNSPEC, "zone", "zone"),
    ];
    agree(KUBELETS, Some("multi on\nreorder on\n"), &cases)
}

#[test]
fn odd_lines_are_read_as_each_libc_reads_them() -> Result<()> {
    let long = format!(
        "10.0.0.1 early {} late\n10.0.0.2 late\n",
        "x".repeat(40).as_str().to_owned() + &" filler".repeat(80)
    );
    let cut = format!("10.0.0.1 {} 10.0.0.9 behind\n", "x".repeat(501));
    let comment = format!("#{} 10.0.0.3 commented\n", "x".repeat(509));
    let many: String = (1..60)
        .map(|number| format!("10.0.1.{number} many\n"))
        .collect();
    let long_name = format!("10.0.0.1 {} tail\n", "n".repeat(254));
    for (text, cases) in [
        (
            "10.0.0.1 first last",
            vec![
                case("first", V4, HOSTS, HOSTS),
                case("last", V4, HOSTS, MISSED),
            ],
        ),
        (
            "  10.0.0.1 indented\r\n10.0.0.2\u{b}tabbed\u{c}too \r\n",
            vec![
                case("indented", V4, HOSTS, MISSED),
                case("tabbed", V4, HOSTS, HOSTS),
                case("too", V4, HOSTS, HOSTS),
            ],
        ),
        (
            "10.1 short\n010.0.0.1 octal\n10.0.0.256 none\n0x0a.2 hex\n10.0.0.4 10.0.0.5 word\n",
            vec![
                case("short", INET, MISSED, HOSTS),
                case("octal", INET, MISSED, HOSTS),
                case("hex", INET, MISSED, HOSTS),
                case("none", INET, MISSED, MISSED),
                case("word", V4, HOSTS, HOSTS),
            ],
        ),
        (
            "::ffff:10.0.0.1 mapped\nfe80::1%lo scoped\nfe80::2 link\n::127.0.0.1 old\n",
            vec![
                case("mapped", V6, HOSTS, HOSTS),
                case("mapped", INET, HOSTS, "nodata"),
                case("scoped", INET6, MISSED, PASSED),
                case("link", V6, HOSTS, HOSTS),
                case("old", V6, HOSTS, HOSTS),
            ],
        ),
        (
            "nonsense word\n10.0.0.1\n10.0.0.2 word\n10.0.0.3 under_score good other\n\
             10.0.0.4 dotted. plain\n10.0.0.5 caf\u{e9} espresso\n10.0.0.6 -dash dashed\n",
            vec![
                case("word", V4, HOSTS, HOSTS),
                case("good", V4, HOSTS, HOSTS),
                case("under_score", V4, HOSTS, HOSTS),
                case("plain", V4, HOSTS, HOSTS),
                case("espresso", V4, HOSTS, PASSED),
                case("dashed", V4, HOSTS, HOSTS),
                case("-dash", INET, "pass(malformed)", "pass(malformed)"),
            ],
        ),
        (
            &long,
            vec![
                case("early", V4, HOSTS, HOSTS),
                case("late", V4, HOSTS, HOSTS),
                case("filler", V4, HOSTS, HOSTS),
            ],
        ),
        (&cut, vec![case("behind", V4, PASSED, HOSTS)]),
        (&comment, vec![case("commented", V4, MISSED, HOSTS)]),
        (&many, vec![case("many", V4, HOSTS, HOSTS)]),
        (&long_name, vec![case("tail", V4, PASSED, PASSED)]),
        ("", vec![case("api", UNSPEC, "zone", "zone")]),
        (
            "10.0.0.1 a\0b c\n",
            vec![case("api", UNSPEC, PASSED, PASSED)],
        ),
    ] {
        agree(text, None, &cases).map_err(|error| error.context(format!("{text:?}")))?;
    }
    Ok(())
}

#[test]
fn a_file_over_64_kib_passes_whole() -> Result<()> {
    let line = "# a comment that is as long as a comment may be\n";
    let mut text = line.repeat(65_536 / line.len());
    agree(&text, None, &[case("api", UNSPEC, "zone", "zone")])?;
    text.push_str(&line.repeat(2));
    agree(&text, None, &[case("api", UNSPEC, PASSED, PASSED)])
}

/// The reverse direction: names and aliases of the first line.
#[test]
fn addresses_have_the_names_that_each_libc_finds() -> Result<()> {
    let text = format!("{KUBELETS}::ffff:192.0.2.9 mapped\n192.0.2.1 other\n10.77 short\n");
    let cases = [
        ("127.0.0.1", HOSTS, HOSTS),
        ("::1", HOSTS, HOSTS),
        ("10.244.0.7", HOSTS, HOSTS),
        ("192.0.2.1", HOSTS, HOSTS),
        ("2001:db8::1", HOSTS, HOSTS),
        ("fe00::", HOSTS, HOSTS),
        ("192.0.2.9", HOSTS, HOSTS),
        // Of a service, and not in the file.
        ("10.96.1.10", "zone", "zone"),
    ];
    let mut differences = Vec::new();
    each_door(&text, None, |door, ours, reference| {
        for (address, glibc, musl) in cases {
            let who = by_libc(door, glibc, musl);
            for call in [format!("addr {address}"), format!("addrr {address} 1024")] {
                compare(door, &call, who, ours, reference, &mut differences)?;
            }
        }
        Ok(())
    })?;
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// The file is looked at again when it was replaced, and what was answered before stays good.
#[test]
fn a_new_file_counts() -> Result<()> {
    let zone = shop::publish()?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        dns: Some(shop::script()),
        ..Recipe::default()
    })?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        pod.replace("hosts", "192.0.2.1 api alias\n")?;
        let mut session = Session::start(&pod, door)?;
        let reply = session.resolve("api", "INET")?;
        ensure!(reply.who() == HOSTS && reply.summary() == "192.0.2.1 = api");
        pod.replace("hosts", "192.0.2.2 other api\n")?;
        let reply = until(&mut session, |reply| reply.summary() != "192.0.2.1 = api")?;
        ensure!(
            reply.who() == HOSTS && reply.summary() == "192.0.2.2 = other",
            "{door:?}: {} from {}",
            reply.summary(),
            reply.who()
        );
        pod.replace("hosts", "127.0.0.1 localhost\n")?;
        let reply = until(&mut session, |reply| reply.who() != HOSTS)?;
        ensure!(
            reply.who() == "zone" && reply.summary().starts_with("10.96.1.10"),
            "{door:?}: {} from {}",
            reply.summary(),
            reply.who()
        );
    }
    Ok(())
}

/// Without a zone, or switched off, the file is libc's alone.
#[test]
fn the_file_is_left_to_libc_where_the_zone_is_not_ours() -> Result<()> {
    let zone = shop::publish()?;
    for (view, environment, who) in [
        (None, ("NSS_K8S_DEBUG", "1"), "pass(zone-absent)"),
        (
            Some(zone.view()),
            ("NSS_K8S_DISABLE", "1"),
            "pass(disabled)",
        ),
    ] {
        let pod = Pod::start(Recipe {
            zone: view,
            ..Recipe::default()
        })?;
        for door in [Door::ShimGlibc, Door::ShimMusl] {
            let guests = nss_k8s_tests::artifacts::guests()?;
            let mut session = Session::start_with(&pod, door, &guests, &[environment])?;
            let reply = session.resolve("localhost", "INET")?;
            ensure!(
                reply.who() == who && reply.summary() == "127.0.0.1 = localhost",
                "{door:?}: {} from {}",
                reply.summary(),
                reply.who()
            );
        }
    }
    Ok(())
}

/// Asks for `api` until the reply is as wanted; the library looks at its files once a second.
fn until(session: &mut Session, wanted: impl Fn(&Reply) -> bool) -> Result<Reply> {
    let start = std::time::Instant::now();
    loop {
        let reply = session.resolve("api", "INET")?;
        if wanted(&reply) {
            return Ok(reply);
        }
        ensure!(start.elapsed().as_secs() < 10, "the old file still counts");
    }
}

/// Every case through every forward call, with the library and without: the same answers in the same
/// order, from whom the case says.
fn agree(hosts: &str, host_conf: Option<&str>, cases: &[Case]) -> Result<()> {
    let mut differences = Vec::new();
    each_door(hosts, host_conf, |door, ours, reference| {
        for case in cases {
            let who = by_libc(door, case.glibc, case.musl);
            for family in case.families {
                let mut calls = vec![
                    format!("gai {} - {family} 1 0 0", case.name),
                    format!("gai {} - {family} 0 0 2", case.name),
                ];
                if *family != "UNSPEC" {
                    calls.push(format!("host2 {} {family}", case.name));
                    calls.push(format!("host2r {} {family} 8000", case.name));
                }
                for call in calls {
                    compare(door, &call, who, ours, reference, &mut differences)?;
                }
            }
        }
        Ok(())
    })?;
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// Runs `ask` for both libcs, each with the library and without, in a pod with these files.
fn each_door(
    hosts: &str,
    host_conf: Option<&str>,
    mut ask: impl FnMut(Door, &mut Session, &mut Session) -> Result<()>,
) -> Result<()> {
    let zone = shop::publish()?;
    let pod = Pod::start(Recipe {
        hosts: hosts.into(),
        nsswitch: "hosts: files dns\n".into(),
        zone: Some(zone.view()),
        dns: Some(shop::script()),
        ..Recipe::default()
    })?;
    if let Some(text) = host_conf {
        pod.replace("host.conf", text)?;
    }
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let mut ours = Session::start(&pod, door)?;
        let mut reference = Session::start(&pod, door.reference())?;
        ask(door, &mut ours, &mut reference)?;
    }
    Ok(())
}

fn compare(
    door: Door,
    call: &str,
    who: &str,
    ours: &mut Session,
    reference: &mut Session,
    differences: &mut Vec<String>,
) -> Result<()> {
    let (got, expected) = (ours.ask(call)?, reference.ask(call)?);
    if exactly(&got) != exactly(&expected) || got.who() != who {
        differences.push(format!(
            "{door:?}: {call} from {}, not {who}:\n libc: {}\n ours: {}",
            got.who(),
            exactly(&expected),
            exactly(&got)
        ));
    }
    Ok(())
}

/// Everything, with the addresses in their order: the file's are not shuffled.
fn exactly(reply: &Reply) -> String {
    let entries: Vec<_> = reply.entries.iter().map(|entry| &entry.address).collect();
    format!("{} {entries:?} {:?}", reply.shape(), reply.addresses)
}

fn by_libc<'w>(door: Door, glibc: &'w str, musl: &'w str) -> &'w str {
    match door.libc() {
        Libc::Glibc => glibc,
        Libc::Musl => musl,
    }
}
