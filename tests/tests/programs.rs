//! Unmodified programs in a pod without any DNS server: what they print came out of the zone.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, http,
    namespace::run,
    pod::{Pod, Recipe},
    probe::{self, Libc},
    reply::NOBODY,
    session::{Door, Session},
    shop,
    writer::Published,
    zonefile::Agent,
};
use std::{collections::HashSet, process::Output};

/// The two doors that a glibc program can come through.
const GLIBC_DOORS: [Door; 2] = [Door::Nss, Door::ShimGlibc];

/// Runs a program behind a door, as root or as another user.
fn output(pod: &Pod, door: Door, user: Option<u32>, line: &[&str]) -> Result<Output> {
    let [program, arguments @ ..] = line else {
        anyhow::bail!("no program")
    };
    let mut command = match user {
        Some(user) => pod.command_as(program, user),
        None => pod.command(program),
    };
    door.open(&mut command, &artifacts::guests()?);
    command.args(arguments);
    command.output().with_context(|| (*program).to_owned())
}

/// Requires what it prints, and that a name was answered from the zone by a note of ours.
fn require(output: &Output, wanted: &str, from_zone: bool, what: &str) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stdout);
    let notes = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && text.contains(wanted) && notes.contains("-> zone") == from_zone,
        "{what}: {}, expected {wanted}, printed\n{text}{notes}",
        output.status
    );
    Ok(())
}

#[test]
fn getent_python_and_curl_resolve() -> Result<()> {
    let zone = shop::publish()?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        addresses: vec!["10.96.1.10".into(), "fd00:96::11".into()],
        ..Recipe::default()
    })?;
    let _api = http::Server::start(pod.namespaces(), "10.96.1.10:80", "hello from api\n")?;
    let _web = http::Server::start(pod.namespaces(), "[fd00:96::11]:8080", "hello from web\n")?;
    let python = "import socket\n\
                  for name in 'api', 'postgres-0.postgres.db': print(socket.gethostbyname(name))\n\
                  print(sorted({a[4][0] for a in socket.getaddrinfo('web', 80)}))";
    let lines: [(&[&str], &str); 6] = [
        (
            &["getent", "ahosts", "api"],
            "10.96.1.10      STREAM api.shop.svc.cluster.local",
        ),
        (
            &["getent", "ahostsv6", "web"],
            "fd00:96::11     STREAM web.shop.svc.cluster.local",
        ),
        (
            &["getent", "hosts", "six"],
            "fd00:96::12     six.shop.svc.cluster.local",
        ),
        (
            &["/usr/bin/python3", "-c", python],
            "10.96.1.10\n10.244.1.10\n['10.96.1.11', 'fd00:96::11']",
        ),
        (&["curl", "-sS", "http://api/"], "hello from api"),
        (
            &["curl", "-sS", "-6", "http://web.shop:8080/"],
            "hello from web",
        ),
    ];
    for door in GLIBC_DOORS {
        for (line, wanted) in lines {
            for user in [None, Some(1234)] {
                let what = format!("{door:?} {line:?} as {user:?}");
                require(&output(&pod, door, user, line)?, wanted, true, &what)?;
            }
        }
    }
    Ok(())
}

/// `/etc/ld.so.preload` with both libraries, as injected pods have it: glibc's NSS finds the
/// preloaded module by its SONAME without any library path.
#[test]
fn ld_so_preload_with_both_libraries() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let list = format!(
        "{}\n{}\n",
        artifacts::shim()?.display(),
        artifacts::module()?.display()
    );
    pod.replace("ld.so.preload", &list)?;
    for (line, call) in [
        (vec!["getent", "ahosts", "api"], "getaddrinfo"),
        // `getent -s` goes to the module alone.
        (
            vec!["getent", "-s", "hosts:k8s", "hosts", "10.96.1.10"],
            "_nss_k8s_gethostbyaddr_r",
        ),
    ] {
        let mut command = pod.command(line[0]);
        let output = command
            .args(&line[1..])
            .env("NSS_K8S_DEBUG", "1")
            .output()?;
        require(
            &output,
            "api.shop.svc.cluster.local",
            true,
            &format!("{line:?}"),
        )?;
        ensure!(
            String::from_utf8_lossy(&output.stderr).contains(call),
            "{line:?}: {output:?}"
        );
    }
    Ok(())
}

#[test]
fn the_hosts_file_wins() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::lit_pod(&zone)?;
    for door in Door::OURS {
        let mut session = Session::start(&pod, door)?;
        for name in ["shadowed", "shadowed.alias"] {
            let reply = session.resolve(name, "INET")?;
            // Under NSS the module is not even called.
            let who = if door == Door::Nss {
                NOBODY
            } else {
                "pass(hosts)"
            };
            ensure!(
                reply.summary() == "192.0.2.13 = shadowed" && reply.who() == who,
                "{door:?} {name}: {} from {}",
                reply.summary(),
                reply.who()
            );
        }
        // Only the exact name is shadowed.
        let reply = session.resolve("shadowed.shop", "INET")?;
        ensure!(
            reply.summary().starts_with("10.96.1.13 ") && reply.who() == "zone",
            "{door:?}"
        );
    }
    Ok(())
}

#[test]
fn a_process_can_switch_it_off() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::lit_pod(&zone)?;
    for door in Door::OURS {
        let guests = artifacts::guests()?;
        for (value, who) in [("1", "pass(disabled)"), ("0", "zone"), ("", "zone")] {
            let environment = [("NSS_K8S_DISABLE", value)];
            let mut session = Session::start_with(&pod, door, &guests, &environment)?;
            let reply = session.resolve("api", "INET")?;
            ensure!(
                reply.summary() == "10.96.1.10 = api.shop.svc.cluster.local" && reply.who() == who,
                "{door:?} {value:?}: {} from {}",
                reply.summary(),
                reply.who()
            );
        }
    }
    Ok(())
}

/// A set-user-id program obeys no variable of its caller: not the directory, not the switch, and it
/// prints nothing.
#[test]
fn a_privileged_process_ignores_the_environment() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    pod.replace(
        "ld.so.preload",
        &format!("{}\n", artifacts::shim()?.display()),
    )?;
    let program = probe::program("lookup", Libc::Glibc)?;
    // Copied by a child: a descriptor of ours, open for writing, would be inherited by whatever
    // another test starts at that moment, and the copy could not be run until that has ended.
    let program = program.to_str().context("path")?;
    pod.namespaces()
        .with_mounts(|| run("install", &["-m", "4755", program, "/run/lookup"]))?;
    let mut command = pod.command_as("/run/lookup", 1234);
    command
        .args(["gai", "api", "-", "INET", "1", "0", "2"])
        .env("NSS_K8S_DEBUG", "1")
        .env("NSS_K8S_DISABLE", "1")
        .env("NSS_K8S_DIR", "/nowhere");
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.contains("10.96.1.10") && output.stderr.is_empty(),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn threads_on_small_stacks_while_the_process_forks() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    for door in Door::OURS {
        let program = probe::program("storm", door.libc())?;
        let mut command = pod.command(program.to_str().context("path")?);
        door.open(&mut command, &artifacts::guests()?);
        command
            .env_remove("NSS_K8S_DEBUG")
            .args(["api", "10.96.1.10", "8", "500", "64", "100"]);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && text.contains("lookups 4100 failures 0"),
            "{door:?}: {output:?}"
        );
    }
    Ok(())
}

#[test]
fn threads_are_canceled_while_they_resolve() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    for door in Door::OURS {
        let program = probe::program("cancel", door.libc())?;
        let mut command = pod.command(program.to_str().context("path")?);
        door.open(&mut command, &artifacts::guests()?);
        command.env_remove("NSS_K8S_DEBUG");
        let output = command.args(["api", "10.96.1.10", "200"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && text.contains("right 200 cleaned 200"),
            "{door:?}: {output:?}"
        );
    }
    Ok(())
}

#[test]
fn five_thousand_endpoints() -> Result<()> {
    let mut zone = Published::live()?;
    let all: Vec<_> = (0..5000_u32)
        .map(|number| nss_k8s_zone::Address::v4((0x0af5_0000 + number).to_be_bytes()))
        .collect();
    zone.put_headless("crowd", &all)?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    let known: HashSet<String> = (0..5000_u32)
        .map(|number| format!("10.245.{}.{}", number >> 8, number & 255))
        .collect();
    for door in Door::OURS {
        // What one answer holds; musl's own limit is 48.
        let most = if door.libc() == Libc::Musl { 48 } else { 4096 };
        let reply = Session::start(&pod, door)?.resolve("crowd", "INET")?;
        let got: HashSet<&String> = reply.entries.iter().map(|entry| &entry.address).collect();
        ensure!(
            reply.who() == "zone" && reply.entries.len() == most && got.len() == most,
            "{door:?}: {} entries, {} different, from {}",
            reply.entries.len(),
            got.len(),
            reply.who()
        );
        ensure!(
            got.iter().all(|address| known.contains(*address)),
            "{door:?}: a stranger"
        );
    }
    Ok(())
}

/// nsswitch.conf decides what libc would ask: forms that cannot be placed pass under the shim.
#[test]
fn the_hosts_line_is_obeyed() -> Result<()> {
    let zone = shop::publish()?;
    for (line, who) in [
        ("hosts: files dns\n", "zone"),
        ("hosts: files k8s dns\n", "zone"),
        ("hosts:files k8s [!UNAVAIL=return] dns # ours\n", "zone"),
        ("passwd: files\n", "zone"),
        ("hosts: files\n", "pass(nsswitch)"),
        ("hosts: files myhostname dns\n", "pass(nsswitch)"),
    ] {
        let pod = Pod::start(Recipe {
            nsswitch: line.into(),
            zone: Some(zone.view()),
            dns: Some(shop::script()),
            ..Recipe::default()
        })?;
        let reply = Session::start(&pod, Door::ShimGlibc)?.resolve("api", "INET")?;
        let reference = Session::start(&pod, Door::PlainGlibc)?.resolve("api", "INET")?;
        ensure!(
            reply.who() == who && reply.shape() == reference.shape(),
            "{line:?}: {} from {}, libc alone {}",
            reply.summary(),
            reply.who(),
            reference.summary()
        );
        // musl has no nsswitch.conf.
        let reply = Session::start(&pod, Door::ShimMusl)?.resolve("api", "INET")?;
        ensure!(reply.who() == "zone", "{line:?} musl: {}", reply.who());
    }
    Ok(())
}

/// The order of a headless answer changes from lookup to lookup, as a DNS server's does: clients
/// that take the first address spread over all.
#[test]
fn addresses_are_shuffled() -> Result<()> {
    let zone: Agent = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let mut session = Session::start(&pod, door)?;
        let mut first = HashSet::new();
        for _ in 0..200 {
            let reply = session.resolve("postgres.db", "INET")?;
            first.insert(reply.entries.first().context("empty")?.address.clone());
        }
        ensure!(first.len() == 3, "{door:?}: only ever {first:?} came first");
    }
    Ok(())
}

/// A warm process answers without a descriptor to spare: nothing is opened on the way.
#[test]
fn a_warm_process_needs_no_descriptor() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let mut session = Session::start(&pod, door)?;
        ensure!(
            session.resolve("api", "INET")?.who() == "zone",
            "{door:?}: cold"
        );
        session.ask("limit 0")?;
        for number in 1..=3_u8 {
            let address = format!("10.96.2.{number}");
            zone.put("api", &[&address])?;
            let reply = session.resolve("api", "INET")?;
            ensure!(
                reply.who() == "zone" && reply.summary().starts_with(&address),
                "{door:?}: {} from {}",
                reply.summary(),
                reply.who()
            );
        }
    }
    Ok(())
}

/// Under RLIMIT_AS the file is mapped at its exact size, and everything else works on.
#[test]
fn a_small_address_space_is_enough() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    for door in Door::OURS {
        let program = probe::program("lookup", door.libc())?;
        let mut command = pod.command("prlimit");
        command.arg("--as=40000000").arg(program);
        door.open(&mut command, &artifacts::guests()?);
        let output = command
            .args(["gai", "api", "-", "INET", "1", "0", "2"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(text.contains(" 10.96.1.10 "), "{door:?}: {output:?}");
    }
    Ok(())
}
