//! Views: what a namespace may not look up does not exist for its pods, whichever way they ask; and at
//! no moment does a pod see what neither the old nor the new policy shows.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::{Script, Server},
    node,
    outside::hosts_line,
    pod::{Pod, Recipe, resolv_conf},
    recording,
    reply::Reply,
    served,
    session::{Door, Session},
    wire::kind,
    zonefile::{Agent, wait},
};
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

const API: &str = "api.shop.svc.cluster.local.";
const GOODS: &str = "goods.store.svc.cluster.local.";
const VAULT: &str = "vault.bank.svc.cluster.local.";
const LEDGER: &str = "ledger-0.ledger.bank.svc.cluster.local.";
/// An alias to the vault.
const LURE: &str = "lure.shop.svc.cluster.local.";
/// An alias to nothing.
const VOID: &str = "void.shop.svc.cluster.local.";

/// Nobody is named: everybody sees everything.
const OPEN: &str = "classes: [{name: default, external: off}]\n";
/// The shop sees itself and what is labelled as it is.
const CLOSED: &str = "classes: [{name: default, external: off}]\n\
    policy: [{from: {namespaces: [shop]}, to: {namespace_selector: tier=front}}]\n";

/// The namespace of the vault; `front` is what the shop may see.
fn bank(tier: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: bank, labels: {{tier: {tier}}}}}\n")
}

/// An agent with the world, and pods on its node.
struct World {
    agent: Agent,
}

impl World {
    fn start(config: &str) -> Result<Self> {
        let fixture = artifacts::fixture("fixtures/views.yaml");
        let agent = Agent::start_configured(&[&fixture], config, &[])?;
        agent.write_manifest("bank.yaml", &bank("secret"))?;
        let world = Self { agent };
        let shown = || world.query(&["--class", "default", VAULT]);
        wait(|| Ok(shown()?.contains("10.96.2.10")))?;
        Ok(world)
    }

    fn query(&self, arguments: &[&str]) -> Result<String> {
        let output = self.agent.call(&[&["query"], arguments].concat())?;
        Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
    }

    /// Registers a pod; its directory, once it has a zone.
    fn deliver(&self, id: &str, namespace: &str) -> Result<PathBuf> {
        let directory = self.register(id, namespace)?;
        wait(|| Ok(directory.join("zone.v1").exists())).with_context(|| self.agent.log())?;
        Ok(directory)
    }

    fn register(&self, id: &str, namespace: &str) -> Result<PathBuf> {
        let output = self
            .agent
            .call(&["pod", "add", id, "--namespace", namespace])?;
        ensure!(output.status.success(), "{output:?}");
        Ok(self.agent.base().join("pod").join(id))
    }

    /// A pod for one door, with a DNS server that knows everything.
    fn pod(&self, id: &str, namespace: &str, door: Door) -> Result<Pod> {
        Pod::start(Recipe {
            resolv_conf: resolv_conf(namespace),
            nsswitch: hosts_line(door).into(),
            zone: Some(self.deliver(id, namespace)?),
            dns: Some(everything()),
            ..Recipe::default()
        })
    }
}

/// What the cluster's own DNS says to whoever asks it.
fn everything() -> Script {
    Script::default()
        .addresses("vault.bank.svc.cluster.local", &["10.96.2.10"])
        .addresses("absent.shop.svc.cluster.local", &["10.96.9.9"])
        .pointer("10.96.2.10", "vault.bank.svc.cluster.local")
        .pointer("192.0.2.7", "host.example.com")
        .pointer("192.0.2.8", "vault.bank.svc.cluster.local")
        .addresses("goods.store.svc.cluster.local", &["10.96.3.10"])
        .addresses("www.example.com", &["192.0.2.81"])
        .alias("trap.example.com", "vault.bank.svc.cluster.local")
        .alias("offer.example.com", "goods.store.svc.cluster.local")
}

/// Requires an answer by the zone in this process.
fn told(reply: &Reply, address: &str) -> Result<()> {
    let right = reply.summary().starts_with(address) && reply.who() == "zone";
    ensure!(
        right,
        "not {address}: {} from {}",
        reply.summary(),
        reply.who()
    );
    Ok(())
}

/// Requires that the zone in this process says that the name does not exist.
fn hidden(reply: &Reply) -> Result<()> {
    let right = reply.error.is_some() && reply.who() == "nxdomain";
    ensure!(
        right,
        "not hidden: {} from {}",
        reply.summary(),
        reply.who()
    );
    Ok(())
}

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

/// Something that happens.
type Step<'s> = &'s dyn Fn() -> Result<()>;

/// Processes that run follow every change of the policy and of labels, and are answered by a zone all
/// the while: by the old policy or by the new one.
#[test]
fn running_processes_follow_every_transition() -> Result<()> {
    for door in Door::OURS {
        let world = World::start(OPEN)?;
        let pod = world.pod("a", "shop", door)?;
        let other = world.pod("b", "store", door)?;
        let mut session = Session::start(&pod, door)?;
        let mut bystander = Session::start(&other, door)?;
        let narrower = CLOSED.replace("{namespace_selector: tier=front}", "{namespaces: [bank]}");
        let bank_of = |tier: &str| world.agent.write_manifest("bank.yaml", &bank(tier));
        let configure = |text: &str| world.agent.write_config(text);
        // What happens, and whether the vault and the goods are seen afterwards.
        let steps: [(&str, Step<'_>, [bool; 2]); 7] = [
            ("open", &|| Ok(()), [true, true]),
            ("closed", &|| configure(CLOSED), [false, true]),
            ("the bank's label", &|| bank_of("front"), [true, true]),
            ("the label taken back", &|| bank_of("secret"), [false, true]),
            ("another policy", &|| configure(&narrower), [true, false]),
            ("closed again", &|| configure(CLOSED), [false, true]),
            ("open again", &|| configure(OPEN), [true, true]),
        ];
        let mut before = [true, true];
        for (what, step, after) in steps {
            step()?;
            let names = [(VAULT, "10.96.2.10"), (GOODS, "10.96.3.10")];
            wait(|| {
                let mut now = [false; 2];
                for (index, (name, address)) in names.into_iter().enumerate() {
                    let reply = session.resolve(name, "INET")?;
                    now[index] = reply.error.is_none();
                    if now[index] {
                        told(&reply, address)?;
                    } else {
                        hidden(&reply)?;
                    }
                    ensure!(
                        now[index] == before[index] || now[index] == after[index],
                        "{what}: {name} is {} before and after, not between",
                        before[index]
                    );
                    // Its own names, and who is not concerned, notice nothing.
                    told(&session.resolve(API, "INET")?, "10.96.1.10")?;
                    told(&bystander.resolve(VAULT, "INET")?, "10.96.2.10")?;
                }
                Ok(now == after)
            })
            .with_context(|| format!("{door:?}: {what}: {}", world.agent.log()))?;
            before = after;
        }
        for pod in [&pod, &other] {
            let log = pod.dns()?.take_log();
            ensure!(log.is_empty(), "{door:?}: somebody asked: {log:?}");
        }
        wait(|| Ok(fs::read_dir(world.agent.base().join("view"))?.count() == 1))
            .context("views that nobody has go")?;
    }
    Ok(())
}

/// The next agent goes on with every view, before it knows any label; a policy that changed meanwhile
/// counts once it does.
#[test]
fn views_outlive_the_agent() -> Result<()> {
    let door = Door::ShimGlibc;
    let world = World::start(CLOSED)?;
    let pod = world.pod("a", "shop", door)?;
    let mut session = Session::start(&pod, door)?;
    let mut settled = |root, config: Option<&str>, sees: bool| -> Result<World> {
        let root: tempfile::TempDir = root;
        if let Some(config) = config {
            fs::write(root.path().join("config.yaml"), config)?;
        }
        let agent = Agent::start_in(root, &[])?;
        wait(|| {
            told(&session.resolve(API, "INET")?, "10.96.1.10")?;
            let reply = session.resolve(VAULT, "INET")?;
            if reply.error.is_none() {
                told(&reply, "10.96.2.10")?;
            } else {
                hidden(&reply)?;
            }
            Ok(reply.error.is_none() == sees)
        })
        .with_context(|| agent.log())?;
        Ok(World { agent })
    };
    let world = settled(world.agent.end(libc::SIGKILL)?, None, false)?;
    let world = settled(world.agent.end(libc::SIGTERM)?, Some(OPEN), true)?;
    let world = settled(world.agent.end(libc::SIGTERM)?, Some(CLOSED), false)?;
    drop(world);
    ensure!(pod.dns()?.take_log().is_empty(), "somebody asked");
    Ok(())
}

/// Beyond the limit a pod has no zone, never another's: its libc answers.
#[test]
fn beyond_the_limit_libc_answers() -> Result<()> {
    let config = "max_views: 1\npolicy: [{from: {namespaces: [shop, store]}}]\n";
    let world = World::start(config)?;
    world.deliver("a", "shop")?;
    let second = world.register("b", "store")?;
    wait(|| Ok(world.agent.log().contains("namespaces get no zone")))?;
    ensure!(
        second.is_dir() && !second.join("zone.v1").exists(),
        "a zone"
    );
    let pod = Pod::start(Recipe {
        resolv_conf: resolv_conf("store"),
        zone: Some(second.clone()),
        dns: Some(everything()),
        ..Recipe::default()
    })?;
    let mut session = Session::start(&pod, Door::Nss)?;
    let reply = session.resolve(GOODS, "INET")?;
    ensure!(
        reply.summary().starts_with("10.96.3.10") && reply.who() == "pass(zone-absent)",
        "{} from {}",
        reply.summary(),
        reply.who()
    );
    // The first one leaves room.
    let removed = world.agent.call(&["pod", "remove", "a"])?;
    ensure!(removed.status.success(), "{removed:?}");
    wait(|| Ok(second.join("zone.v1").exists()))
}

/// An agent of class `node` whose upstream is the cluster's DNS.
fn forwarding(upstream: &Server) -> String {
    let policy = CLOSED.split_once('\n').map_or("", |(_, policy)| policy);
    node::config(upstream) + policy
}

/// One message over a pod's socket, and its answer.
fn ask(directory: &std::path::Path, name: &str, kind: u16) -> Result<Vec<u8>> {
    let mut stream = UnixStream::connect(directory.join("forward.sock"))?;
    let query = recording::query(7, name, kind);
    stream.write_all(&u16::try_from(query.len())?.to_be_bytes())?;
    stream.write_all(&query)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// The response code, and the number of answers.
fn verdict(answer: &[u8]) -> (u8, u16) {
    (answer[3] & 15, u16::from_be_bytes([answer[6], answer[7]]))
}

/// Through the socket a pod hears no more than it sees, and the agent asks for nothing in the cluster's
/// zone as itself.
#[test]
fn the_socket_tells_no_more_than_the_view() -> Result<()> {
    const NXDOMAIN: u8 = 3;
    const REFUSED: u8 = 5;
    let upstream = node::upstream(everything().living(3600))?;
    let world = World::start(&forwarding(&upstream))?;
    let shop = world.deliver("a", "shop")?;
    let bank = world.deliver("b", "bank")?;
    for directory in [&shop, &bank] {
        wait(|| Ok(directory.join("forward.sock").exists()))?;
    }
    node::asked(&upstream);
    for (name, kind, wanted) in [
        ("api.shop.svc.cluster.local", kind::A, (0, 1)),
        ("vault.bank.svc.cluster.local", kind::A, (NXDOMAIN, 0)),
        ("vault.bank.svc.cluster.local", kind::ANY, (NXDOMAIN, 0)),
        (
            "_safe._tcp.vault.bank.svc.cluster.local",
            kind::SRV,
            (NXDOMAIN, 0),
        ),
        ("absent.shop.svc.cluster.local", kind::A, (REFUSED, 0)),
        ("10.2.96.10.in-addr.arpa", kind::PTR, (REFUSED, 0)),
        ("cluster.local", 252, (REFUSED, 0)),
    ] {
        let said = verdict(&ask(&shop, name, kind)?);
        ensure!(said == wanted, "{name}: {said:?}, not {wanted:?}");
    }
    ensure!(
        verdict(&ask(&bank, "vault.bank.svc.cluster.local", kind::A)?) == (0, 1),
        "the bank"
    );
    // Also who sees everything: what DNS says to the node is not for the agent to pass on.
    let miss = verdict(&ask(&bank, "absent.shop.svc.cluster.local", kind::A)?);
    ensure!(miss == (REFUSED, 0), "{miss:?}");
    let asked = node::asked(&upstream);
    ensure!(asked.is_empty(), "the agent asked: {asked:?}");

    // An alias from outside: told, but not what it leads to.
    let trap = ask(&shop, "trap.example.com", kind::A)?;
    ensure!(verdict(&trap) == (NXDOMAIN, 1), "{:?}", verdict(&trap));
    let pattern = [10, 96, 2, 10];
    ensure!(
        !trap.windows(4).any(|bytes| bytes == pattern),
        "the address"
    );
    ensure!(
        verdict(&ask(&bank, "trap.example.com", kind::A)?) == (0, 2),
        "the bank sees it"
    );
    ensure!(
        verdict(&ask(&shop, "offer.example.com", kind::A)?) == (0, 2),
        "the goods are shown"
    );
    ensure!(
        verdict(&ask(&shop, "www.example.com", kind::A)?) == (0, 1),
        "outside"
    );

    // In process the same; what leads into the cluster is never in shared memory.
    let pod = Pod::start(node::recipe(shop.clone(), Door::ShimGlibc, everything()))?;
    let mut session = Session::start(&pod, Door::ShimGlibc)?;
    let reply = session.resolve("trap.example.com.", "INET")?;
    ensure!(
        reply.error.is_some() && reply.who() == "forwarder(nxdomain)",
        "{} from {}",
        reply.summary(),
        reply.who()
    );
    wait(|| Ok(session.resolve("www.example.com.", "INET")?.who() == "held"))?;
    let held = fs::read(shop.join("external.v1"))?;
    for name in [&b"trap"[..], b"offer", b"vault"] {
        let found = held.windows(name.len()).any(|bytes| bytes == name);
        ensure!(!found, "{}", String::from_utf8_lossy(name));
    }
    // A miss is asked by the pod itself, as itself.
    node::asked(&upstream);
    let reply = session.resolve("absent.shop.svc.cluster.local.", "INET")?;
    ensure!(
        reply.summary().starts_with("10.96.9.9") && reply.who().starts_with("pass("),
        "{} from {}",
        reply.summary(),
        reply.who()
    );
    ensure!(
        !pod.dns()?.take_log().is_empty(),
        "the pod's own server was asked"
    );
    ensure!(node::asked(&upstream).is_empty(), "the agent asked");
    Ok(())
}

/// The listener shows what pods of its namespace see.
#[test]
fn the_listener_shows_one_view() -> Result<()> {
    const NXDOMAIN: u8 = 3;
    let upstream = node::upstream(everything())?;
    let listen = "listen: {addresses: [127.0.0.1], port: 0, namespace: shop}\n";
    let world = World::start(&(forwarding(&upstream) + listen))?;
    let address = served::address(&world.agent)?;
    wait(|| {
        let mut client = served::Client::connect(address)?;
        Ok(verdict(&client.ask("api.shop.svc.cluster.local", kind::A)?) == (0, 1))
    })?;
    node::asked(&upstream);
    for client in [
        served::Client::connect(address)?,
        served::Client::datagrams(address)?,
    ] {
        let mut client = client;
        for (name, kind, wanted) in [
            ("vault.bank.svc.cluster.local", kind::A, (NXDOMAIN, 0)),
            ("lure.shop.svc.cluster.local", kind::A, (0, 0)),
            ("void.shop.svc.cluster.local", kind::A, (0, 0)),
            ("absent.shop.svc.cluster.local", kind::A, (NXDOMAIN, 0)),
            ("10.2.96.10.in-addr.arpa", kind::PTR, (NXDOMAIN, 0)),
        ] {
            let said = verdict(&client.ask(name, kind)?);
            ensure!(
                said == wanted,
                "{client:?} {name}: {said:?}, not {wanted:?}"
            );
        }
        let asked = node::asked(&upstream);
        ensure!(asked.is_empty(), "the agent asked: {asked:?}");
        for (name, kind, wanted) in [
            ("trap.example.com", kind::A, (NXDOMAIN, 1)),
            ("offer.example.com", kind::A, (0, 2)),
            ("7.2.0.192.in-addr.arpa", kind::PTR, (0, 1)),
            ("8.2.0.192.in-addr.arpa", kind::PTR, (NXDOMAIN, 0)),
        ] {
            let said = verdict(&client.ask(name, kind)?);
            ensure!(
                said == wanted,
                "{client:?} {name}: {said:?}, not {wanted:?}"
            );
        }
        node::asked(&upstream);
    }
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
