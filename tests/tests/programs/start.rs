//! How a process comes to start with us: preload files, switches, privileges.

use crate::world::Said;
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    namespace::run,
    probe::{self, Libc},
    session::{Door, Session},
    shop,
};

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
        (vec!["getent", "hosts", "10.96.1.10"], "gethostbyaddr"),
        // What the shim leaves to libc comes to the module.
        (
            vec!["getent", "-s", "hosts:k8s", "hosts", "::ffff:10.96.1.10"],
            "_nss_k8s_gethostbyaddr_r",
        ),
    ] {
        let mut command = pod.command(line[0]);
        command.args(&line[1..]).env("NSS_K8S_DEBUG", "1");
        let said = Said::new(&command.output()?);
        said.require("api.shop.svc.cluster.local", &line)?;
        ensure!(said.calls().contains(&call), "{line:?}: {said:?}");
        ensure!(said.verdicts().contains(&"zone"), "{line:?}: {said:?}");
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
