//! Processes that run while policies, labels and agents change.

use crate::world::{API, CLOSED, GOODS, OPEN, VAULT, World, bank, hidden, told};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    session::{Door, Session},
    zonefile::{Agent, wait},
};
use std::fs;

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
