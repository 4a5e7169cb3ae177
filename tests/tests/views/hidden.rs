//! What is hidden, is: from lookups, from root, from the operator's command.

use crate::world::{API, CLOSED, GOODS, LEDGER, LURE, VAULT, VOID, World, bank, hidden, told};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    session::{Door, Session},
    zonefile::wait,
};

/// Names, names behind them and aliases of what is hidden do not exist; nobody is asked.
#[test]
fn hidden_names_do_not_exist_in_process() -> Result<()> {
    for door in Door::OURS {
        let world = World::start(CLOSED)?;
        let (shop, bank) = (world.pod("a", "shop", door)?, world.pod("b", "bank", door)?);
        let mut session = Session::start(&shop, door)?;
        for (name, address) in [(API, "10.96.1.10"), (GOODS, "10.96.3.10")] {
            told(&session.resolve(name, "INET")?, address)?;
        }
        for name in [VAULT, LEDGER, "10-1-2-3.bank.pod.cluster.local."] {
            hidden(&session.resolve(name, "INET")?).with_context(|| format!("{door:?} {name}"))?;
        }
        // An alias to what is hidden is one to what never was.
        let (lure, void) = (
            session.resolve(LURE, "INET")?,
            session.resolve(VOID, "INET")?,
        );
        ensure!(
            lure.who() == "nodata" && lure.error == void.error && lure.who() == void.who(),
            "{door:?}: {} from {}",
            lure.summary(),
            lure.who()
        );
        ensure!(
            shop.dns()?.take_log().is_empty(),
            "{door:?}: somebody asked"
        );
        let mut other = Session::start(&bank, door)?;
        for (name, address) in [
            (VAULT, "10.96.2.10"),
            (LEDGER, "10.244.9.9"),
            (LURE, "10.96.2.10"),
        ] {
            told(&other.resolve(name, "INET")?, address)?;
        }
        // Nobody says a hidden service's name in process; the pod's own DNS is the pod's to ask.
        let own = world.query(&["--namespace", "bank", "--type", "PTR", "10.96.2.10"])?;
        ensure!(own.contains("vault.bank"), "{own}");
        for arguments in [
            ["--type", "PTR", "10.96.2.10"],
            ["--type", "A", LURE],
            ["--type", "SRV", "_safe._tcp.vault.bank.svc.cluster.local."],
        ] {
            let said = world.query(&[&["--namespace", "shop"], &arguments[..]].concat())?;
            ensure!(
                !said.contains("answer") && !said.contains("vault.bank.svc.cluster.local\n"),
                "{said}"
            );
        }
    }
    Ok(())
}

/// Root in a pod reads every byte that it can open, and finds nothing of what is hidden: not when its
/// zone never had it, and not when it had.
#[test]
fn a_pod_as_root_finds_nothing_hidden() -> Result<()> {
    let world = World::start(CLOSED)?;
    let pod = world.pod("a", "shop", Door::ShimGlibc)?;
    let finds = |text: &str| -> Result<String> {
        let grep = ["-r", "-a", "-l", "-i", "-e", text, "/run/nss-k8s"];
        let output = pod.command("grep").args(grep).output()?;
        Ok(String::from_utf8(output.stdout)?)
    };
    ensure!(finds("goods")?.contains("zone.v1"), "it can read the file");
    // The shop itself wrote the name of the vault; its port nobody told it.
    for text in ["ledger", "books", "safe"] {
        ensure!(finds(text)?.is_empty(), "{text}: {}", finds(text)?);
    }
    world.agent.write_manifest("bank.yaml", &bank("front"))?;
    wait(|| Ok(!finds("ledger")?.is_empty()))?;
    world.agent.write_manifest("bank.yaml", &bank("secret"))?;
    wait(|| Ok(finds("ledger")?.is_empty()))?;
    // An alias of the pod's own namespace may be named as it is written.
    ensure!(finds("goods")?.contains("zone.v1"), "the rest is there");
    let write = pod
        .command("sh")
        .args([
            "-c",
            "for f in /run/nss-k8s/*; do true >> $f; rm -f $f; chmod 777 $f; done; ls -l /run/nss-k8s",
        ])
        .output()?;
    let listed = String::from_utf8(write.stdout)?;
    ensure!(
        listed.contains("-r--r--r--") && listed.contains("zone.v1"),
        "{listed}"
    );
    Ok(())
}

/// `nss-k8s query` says what a pod of a namespace sees, and of which classes there are zones.
#[test]
fn a_query_names_a_namespace() -> Result<()> {
    let world = World::start(CLOSED)?;
    world.deliver("a", "shop")?;
    let of = |namespace: &str, name: &str| world.query(&["--namespace", namespace, name]);
    ensure!(of("shop", API)?.contains("10.96.1.10"), "its own");
    ensure!(!of("shop", VAULT)?.contains("10.96.2.10"), "hidden");
    ensure!(of("bank", VAULT)?.contains("10.96.2.10"), "seen");
    ensure!(
        of("unheard-of", VAULT)?.contains("have no zone"),
        "no such namespace"
    );
    let everything = world.query(&["--class", "default", "--namespace", "shop", VAULT])?;
    ensure!(everything.contains("10.96.2.10"), "{everything}");
    Ok(())
}
