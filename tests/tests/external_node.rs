//! Names outside the zone, asked for by the agent (class `node`): what that costs a process and the
//! upstream, and what processes see when the agent or the upstream fails.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, compiled,
    dns::{Behavior, Fault, Script},
    node::{self, Node, SOCKET},
    outside::{self, ADDRESSES, NAME},
    pod::Pod,
    probe,
    reply::Reply,
    session::{Door, Session},
    shop,
    wire::kind,
    zonefile::{Agent, wait},
};
use std::{
    collections::BTreeMap,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Stdio},
    thread,
};

/// The world with records that outlive a test.
fn world() -> Script {
    shop::world().living(3600)
}

/// Whether the agent answered, or its answer was read in shared memory.
fn is_agents(reply: &Reply) -> bool {
    ["forwarder", "held"].contains(&&*reply.who())
}

/// Requires the right answer, from the agent or not.
fn require(reply: &Reply, from_agent: bool, when: &str) -> Result<()> {
    ensure!(
        reply.summary().starts_with(ADDRESSES) && is_agents(reply) == from_agent,
        "{when}: {} from {}",
        reply.summary(),
        reply.who()
    );
    Ok(())
}

/// What strace saw of one lookup in a fresh process.
fn traced(pod: &Pod, door: Door, name: &str) -> Result<Vec<String>> {
    let guests = artifacts::guests()?;
    let library = match door {
        Door::Nss => format!("LD_LIBRARY_PATH={}", guests.display()),
        _ => format!("LD_PRELOAD={}", artifacts::shim()?.display()),
    };
    let program = probe::program("lookup", door.libc())?;
    let output = pod
        .command("strace")
        .args(["-f", "-yy", "-s", "9", "-E", &library])
        .arg(program)
        .args(["gai", name, "-", "UNSPEC", "1", "0", "0"])
        .output()
        .context("strace: install it (make prepare)")?;
    let (said, seen) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    ensure!(
        output.status.success() && said.contains("2001:db8::84"),
        "{said}{seen}"
    );
    Ok(seen.lines().map(str::to_owned).collect())
}

/// A cold name is one connection to the agent and one write with both messages, and no packet.
#[test]
fn a_cold_name_costs_one_write() -> Result<()> {
    for door in Door::OURS {
        let name = "cold.example.com";
        let far = world().addresses(name, &["192.0.2.84", "2001:db8::84"]);
        let node = Node::start(door, far, Script::default())?;
        let lines = traced(&node.pod, door, name)?;
        let to_agent: Vec<&String> = lines
            .iter()
            .filter(|line| line.starts_with("connect(") && line.contains(SOCKET))
            .collect();
        ensure!(to_agent.len() == 1, "{door:?}: {to_agent:?}");
        let writes: Vec<&String> = lines
            .iter()
            .filter(|line| ["send", "write"].iter().any(|call| line.starts_with(call)))
            .filter(|line| line.contains("UNIX-STREAM") || line.contains("unix"))
            .collect();
        // Each message has its length, a header, the name, type and class; then the result.
        let both = format!("= {}", 2 * (2 + 12 + name.len() + 2 + 4));
        ensure!(
            writes.len() == 1 && writes[0].ends_with(&both),
            "{door:?}: {writes:?}, {both} expected"
        );
        let packets: Vec<&String> = lines
            .iter()
            .filter(|line| line.starts_with("connect(") && line.contains("htons(53)"))
            .collect();
        ensure!(packets.is_empty(), "{door:?}: {packets:?}");
        let mut asked: Vec<u16> = node.take_log().iter().map(|one| one.kind).collect();
        asked.sort_unstable();
        ensure!(asked == [kind::A, kind::AAAA], "{door:?}: {asked:?}");
        ensure!(
            node.pod.dns()?.take_log().is_empty(),
            "{door:?}: libc asked"
        );
    }
    Ok(())
}

/// A warm name costs no system call but what is looked at once a second, and nobody is asked.
#[test]
fn a_warm_name_costs_no_system_call() -> Result<()> {
    const CALLS: u32 = 300_000;
    /// In one second, of all lookups together: stat of files, the list of addresses, a route to
    /// each destination.
    const MOST: u32 = 60;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let node = Node::start(door, world(), Script::default())?;
        let mut session = Session::start(&node.pod, door)?;
        wait(|| Ok(session.resolve(NAME, "UNSPEC")?.who() == "held"))?;
        node.take_log();
        let output = node
            .pod
            .command("strace")
            .args(["-f", "-ttt", "-E"])
            .arg(format!("LD_PRELOAD={}", artifacts::shim()?.display()))
            .arg(probe::program("repeat", door.libc())?)
            .arg(CALLS.to_string())
            .args([format!("{NAME}/0/0"), format!("{NAME}/2/0")])
            .args(["four.example.com/2/0", "four.example.com./2/0x20"])
            .output()?;
        let text = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "{door:?}: {text}");
        let (mut calls, mut marks) = (BTreeMap::<String, u32>::new(), Vec::new());
        for line in text.lines() {
            let (time, rest) = line.split_once(' ').context(line.to_owned())?;
            let name = rest.split('(').next().unwrap_or(rest);
            if name == "getppid" {
                marks.push(time.parse::<f64>()?);
            } else if marks.len() == 1 {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        ensure!(marks.len() == 2, "{door:?}: {text}");
        // musl's allocator gives memory back now and then.
        calls.retain(|name, _| door == Door::ShimGlibc || !["mmap", "munmap"].contains(&&**name));
        let begun = (marks[1] - marks[0]).ceil() as u32 + 1;
        let all: u32 = calls.values().sum();
        println!("{door:?}: {begun} s, {calls:?}");
        ensure!(all <= MOST * begun, "{door:?}: in {begun} s {calls:?}");
        // What is not held yet is asked for once: four.example.com, by the first calls.
        let log = node.take_log();
        ensure!(log.iter().all(|one| one.name != NAME), "{door:?}: {log:?}");
        ensure!(
            node.pod.dns()?.take_log().is_empty(),
            "{door:?}: libc asked"
        );
    }
    Ok(())
}

/// A thousand processes at once, each with its first lookup: all get the answer, and the upstream is
/// asked as if it were one.
#[test]
fn a_thousand_processes_ask_at_once() -> Result<()> {
    const PROCESSES: usize = 1000;
    let door = Door::ShimGlibc;
    let node = Node::start(door, world(), world())?;
    let program = compiled::program("flow", "flow", door.libc(), &[])?;
    let mut children: Vec<Child> = Vec::new();
    for _ in 0..PROCESSES {
        let mut command = node.pod.command(program.to_str().context("path")?);
        door.open(&mut command, &artifacts::guests()?);
        command.args([NAME, "192.0.2.81", "once"]);
        children.push(command.stderr(Stdio::piped()).spawn()?);
    }
    let (mut right, mut agents) = (0, 0);
    for child in children {
        let output = child.wait_with_output()?;
        right += usize::from(output.status.success());
        let notes = String::from_utf8_lossy(&output.stderr);
        agents += usize::from(notes.contains("-> forwarder") || notes.contains("-> held"));
    }
    let log = node.take_log();
    println!(
        "{agents} of {PROCESSES} by the agent, {} upstream queries",
        log.len()
    );
    ensure!(right == PROCESSES, "{right} of {PROCESSES} were right");
    // On a busy machine some may run out of their share; libc answered them.
    ensure!(agents > PROCESSES / 2, "only {agents} by the agent");
    ensure!(log.len() == 1, "{log:?}");
    Ok(())
}

/// The agent stopped, its queue full, killed, its socket gone, and started again: libc answers what
/// is not held, and the same process asks the agent again when it is there.
#[test]
fn processes_live_through_what_happens_to_the_agent() -> Result<()> {
    outside::at_every_door(|door| {
        let far = (0..20).fold(world(), |world, number| {
            world.addresses(&format!("n{number}.example.com"), &ADDRESSES_OF)
        });
        let node = Node::start(door, far.clone(), far)?;
        let (mut agent, upstream, pod) = (node.agent, node.upstream, node.pod);
        let mut session = Session::start(&pod, door)?;
        // Each name is new to every memory.
        let mut names = (0..20).map(|number| format!("n{number}.example.com"));
        let mut next = || names.next().context("no more names");
        require(&session.resolve(&next()?, "UNSPEC")?, true, "at first")?;
        wait(|| Ok(session.resolve(NAME, "UNSPEC")?.who() == "held"))?;

        agent.signal(libc::SIGSTOP)?;
        let mut warm = Session::start(&pod, door)?;
        require(&session.resolve(&next()?, "UNSPEC")?, false, "stopped")?;
        require(&session.resolve(NAME, "UNSPEC")?, true, "held, stopped")?;
        require(&warm.resolve(NAME, "UNSPEC")?, true, "held, new, stopped")?;
        let waiting = fill(&agent.view().join(SOCKET))?;
        require(&warm.resolve(&next()?, "UNSPEC")?, false, "full")?;
        drop(waiting);
        agent.signal(libc::SIGCONT)?;
        returns(&mut session, "continued")?;

        let root = agent.end(libc::SIGKILL)?;
        let mut cold = Session::start(&pod, door)?;
        for session in [&mut session, &mut cold] {
            require(&session.resolve(&next()?, "UNSPEC")?, false, "killed")?;
        }
        let socket = root.path().join("base/view/default").join(SOCKET);
        std::fs::remove_file(&socket)?;
        let mut cold = Session::start(&pod, door)?;
        for session in [&mut session, &mut cold] {
            require(&session.resolve(&next()?, "UNSPEC")?, false, "gone")?;
        }
        agent = Agent::start_in(root, &[])?;
        returns(&mut session, "started again")?;
        returns(&mut cold, "started again")?;
        ensure!(!node::asked(&upstream).is_empty(), "nobody was asked");
        drop(agent);
        Ok(())
    })
}

const ADDRESSES_OF: [&str; 2] = ["192.0.2.81", "2001:db8::81"];

/// Waits until the agent answers the process again: what is not in DNS is nowhere held yet.
fn returns(session: &mut Session, when: &str) -> Result<()> {
    let mut number = 0;
    wait(|| {
        number += 1;
        let name = format!("absent-{}-{number}.example.com.", session.id());
        Ok(session.resolve(&name, "INET")?.who() == "forwarder(nxdomain)")
    })
    .with_context(|| when.to_owned())
}

/// Connections that fill the queue of a socket which nobody accepts from.
fn fill(socket: &Path) -> Result<Vec<UnixStream>> {
    let (path, mut waiting) = (socket.to_owned(), Vec::new());
    loop {
        // One that has to wait waits on a thread of its own, and is the last.
        let path = path.clone();
        let (send, receive) = std::sync::mpsc::channel();
        thread::spawn(move || send.send(UnixStream::connect(path)));
        match receive.recv_timeout(std::time::Duration::from_millis(200)) {
            Ok(stream) => waiting.push(stream?),
            Err(_) => return Ok(waiting),
        }
        ensure!(waiting.len() < 10_000, "the queue is never full");
    }
}

/// Processes whose question is with the upstream when the agent dies get libc's answer.
#[test]
fn the_agent_is_killed_in_the_middle() -> Result<()> {
    outside::at_every_door(|door| {
        let slow = "slow.example.com";
        let near = world().addresses(slow, &ADDRESSES_OF);
        let far = near.clone().behavior(slow, Behavior::Spoiled(Fault::Hang));
        let node = Node::start(door, far, near)?;
        let mut sessions = Vec::new();
        for _ in 0..10 {
            let mut session = Session::start(&node.pod, door)?;
            require(&session.resolve(NAME, "UNSPEC")?, true, "before")?;
            sessions.push(session);
        }
        node.take_log();
        thread::scope(|scope| {
            let mut lookups = Vec::new();
            for session in &mut sessions {
                lookups.push(scope.spawn(move || session.resolve(slow, "UNSPEC")));
            }
            wait(|| Ok(!node.take_log().is_empty()))?;
            node.agent.signal(libc::SIGKILL)?;
            for lookup in lookups {
                let reply = lookup.join();
                let reply = reply.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                require(&reply, false, "killed")?;
            }
            Ok(())
        })
    })
}

/// The upstream dies: what was asked before is served stale, after its time to live, where libc would
/// have nothing.
#[test]
fn a_dead_upstream_leaves_stale_answers() -> Result<()> {
    outside::at_every_door(|door| {
        let name = "stale.example.com.";
        let far = shop::world().addresses(name.trim_end_matches('.'), &ADDRESSES_OF);
        let node = Node::start(door, far.living(1), shop::world())?;
        let mut session = Session::start(&node.pod, door)?;
        require(&session.resolve(name, "UNSPEC")?, true, "fresh")?;
        node.take_log();
        let dead = Behavior::Spoiled(Fault::Hang);
        node.upstream
            .follow(shop::world().behavior(name.trim_end_matches('.'), dead));
        // Asked anew, and in vain: what it has is then past its time.
        wait(|| {
            require(&session.resolve(name, "UNSPEC")?, true, "stale")?;
            Ok(!node.take_log().is_empty())
        })?;
        require(&session.resolve(name, "UNSPEC")?, true, "stale")?;
        ensure!(node.pod.dns()?.take_log().is_empty(), "libc asked");
        Ok(())
    })
}

/// What may not be kept is not: a record with a time to live of 0 is asked for each time.
#[test]
fn a_time_to_live_of_zero_is_asked_for_each_time() -> Result<()> {
    const TIMES: usize = 5;
    for door in Door::OURS {
        let node = Node::start(door, shop::world().living(0), Script::default())?;
        let mut session = Session::start(&node.pod, door)?;
        for _ in 0..TIMES {
            let reply = session.resolve(NAME, "INET")?;
            ensure!(
                reply.summary().starts_with("192.0.2.81") && reply.who() == "forwarder",
                "{door:?}: {} from {}",
                reply.summary(),
                reply.who()
            );
        }
        let log = node.take_log();
        ensure!(log.len() == TIMES, "{door:?}: {log:?}");
    }
    Ok(())
}
