//! The failure table: whatever happens to the zone file or to the agent, a process sees what its
//! libc alone would have given it, or the last committed answer; never less.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::Script,
    namespace::{Namespaces, run},
    pod::{Pod, Recipe},
    session::{Door, Session},
    shop,
    writer::Published,
    zonefile,
};
use std::{
    ffi::CString,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, chown, symlink},
    },
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// What DNS says of `api`; the zone says 10.96.1.1.
const FROM_DNS: &str = "192.0.2.99";

/// A process that meets `directory` as its zone resolves as without us, for one of the reasons.
fn requires_pass(directory: Option<PathBuf>, reasons: &[&str]) -> Result<()> {
    let dns = Script::default().addresses("api.shop.svc.cluster.local", &[FROM_DNS]);
    let pod = Pod::start(Recipe {
        zone: directory,
        dns: Some(dns),
        ..Recipe::default()
    })?;
    for door in Door::OURS {
        let mut session = Session::start(&pod, door)?;
        // Twice: the second lookup of a warm process must not do worse.
        for _ in 0..2 {
            let reply = session.resolve("api", "INET")?;
            ensure!(
                reply.summary().starts_with(FROM_DNS) && reasons.contains(&reply.who().as_str()),
                "{door:?}: expected DNS's answer for {reasons:?}, got {} from {}",
                reply.summary(),
                reply.who()
            );
            ensure!(
                !pod.dns()?.take_log().is_empty(),
                "{door:?}: DNS was not asked"
            );
        }
    }
    Ok(())
}

/// A zone that would answer, its writer ended; `spoil` gets the path of its file.
fn spoiled(spoil: impl FnOnce(&Path) -> Result<()>) -> Result<TempDir> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.1"])?;
    let root = zone.end();
    spoil(&root.path().join("view/default/zone.v1"))?;
    Ok(root)
}

/// Spoils, and requires a pass for one of the reasons.
fn passes(reasons: &[&str], spoil: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let root = spoiled(spoil)?;
    requires_pass(Some(root.path().join("view/default")), reasons)
}

/// Writes changed bytes as a new file, as published files have no writable mode.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = fs::read(path)?;
    change(&mut bytes);
    fs::remove_file(path)?;
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))?;
    Ok(())
}

/// The control of all rows below: the same file unspoiled answers.
#[test]
fn an_unspoiled_copy_answers() -> Result<()> {
    let root = spoiled(|path| rewrite(path, |_| {}))?;
    let pod = Pod::start(Recipe {
        zone: Some(root.path().join("view/default")),
        ..Recipe::default()
    })?;
    for door in Door::OURS {
        let reply = Session::start(&pod, door)?.resolve("api", "INET")?;
        ensure!(
            reply.who() == "zone",
            "{door:?}: {} from {}",
            reply.summary(),
            reply.who()
        );
    }
    Ok(())
}

#[test]
fn no_agent_ever_ran() -> Result<()> {
    requires_pass(None, &["pass(zone-absent)"])?;
    passes(&["pass(zone-absent)"], |path| Ok(fs::remove_file(path)?))
}

#[test]
fn a_corrupt_file() -> Result<()> {
    const REASONS: &[&str] = &["pass(zone-corrupt)", "pass(zone-version)"];
    passes(REASONS, |path| rewrite(path, |bytes| bytes.fill(0xff)))?;
    passes(REASONS, |path| rewrite(path, |bytes| bytes.fill(0)))?;
    // Every byte of line 0 is under its checksum.
    passes(REASONS, |path| rewrite(path, |bytes| bytes[40] ^= 1))
}

/// An intact file of a later format: its major version, and a feature that must be understood.
#[test]
fn a_file_of_a_later_version() -> Result<()> {
    const REASON: &[&str] = &["pass(zone-version)"];
    passes(REASON, |path| rewrite(path, |bytes| bytes[8] = 2))?;
    passes(REASON, |path| rewrite(path, |bytes| bytes[12] = 1))
}

#[test]
fn a_truncated_file() -> Result<()> {
    // A whole zone is longer than a page; nothing, half a line, a line, a page.
    for length in [0, 40, 64, 4096] {
        passes(&["pass(zone-corrupt)", "pass(zone-untrusted)"], |path| {
            rewrite(path, |bytes| bytes.truncate(length))
        })
        .with_context(|| format!("{length} bytes"))?;
    }
    Ok(())
}

#[test]
fn a_foreign_owner() -> Result<()> {
    passes(&["pass(zone-untrusted)"], |path| {
        Ok(chown(path, Some(1234), Some(1234))?)
    })
}

#[test]
fn a_file_that_others_may_write() -> Result<()> {
    for mode in [0o464, 0o446] {
        passes(&["pass(zone-untrusted)"], |path| {
            Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
        })?;
    }
    Ok(())
}

#[test]
fn not_on_a_tmpfs() -> Result<()> {
    let root = spoiled(|_| Ok(()))?;
    let disk = tempfile::tempdir_in(artifacts::scratch("failures")?)?;
    fs::copy(
        root.path().join("view/default/zone.v1"),
        disk.path().join("zone.v1"),
    )?;
    fs::set_permissions(
        disk.path().join("zone.v1"),
        fs::Permissions::from_mode(0o444),
    )?;
    let path = CString::new(disk.path().as_os_str().as_bytes())?;
    // SAFETY: all zeros is a valid statfs, which the call then fills.
    let mut status: libc::statfs = unsafe { core::mem::zeroed() };
    // SAFETY: a terminated path and a valid buffer.
    ensure!(unsafe { libc::statfs(path.as_ptr(), &raw mut status) } == 0);
    ensure!(
        status.f_type != libc::TMPFS_MAGIC,
        "the build directory is itself a tmpfs"
    );
    requires_pass(Some(disk.path().to_owned()), &["pass(zone-untrusted)"])
}

#[test]
fn something_that_is_no_file() -> Result<()> {
    const REASONS: &[&str] = &["pass(zone-untrusted)", "pass(zone-absent)"];
    passes(REASONS, |path| {
        let beside = path.with_file_name("elsewhere");
        fs::rename(path, &beside)?;
        Ok(symlink("elsewhere", path)?)
    })?;
    passes(REASONS, |path| {
        fs::remove_file(path)?;
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: a terminated path.
        ensure!(unsafe { libc::mkfifo(path.as_ptr(), 0o444) } == 0);
        Ok(())
    })?;
    passes(REASONS, |path| {
        fs::remove_file(path)?;
        Ok(fs::create_dir(path)?)
    })
}

#[test]
fn an_agent_that_is_stopped_killed_or_ended() -> Result<()> {
    let answers = |pod: &Pod, what: &str| -> Result<()> {
        for door in Door::OURS {
            // A new process: it must still find and trust the file.
            let reply = Session::start(pod, door)?.resolve("postgres.db", "INET")?;
            ensure!(reply.who() == "zone", "{what}, {door:?}: {}", reply.who());
        }
        Ok(())
    };
    for signal in [libc::SIGSTOP, libc::SIGKILL, libc::SIGTERM] {
        let agent = shop::publish()?;
        let pod = shop::dark_pod(&agent)?;
        let mut warm = Session::start(&pod, Door::ShimGlibc)?;
        ensure!(warm.resolve("api", "INET")?.who() == "zone");
        if signal == libc::SIGSTOP {
            agent.signal(signal)?;
            answers(&pod, "stopped")?;
            ensure!(warm.resolve("api", "INET")?.who() == "zone");
            agent.signal(libc::SIGCONT)?;
            continue;
        }
        let root = agent.end(signal)?;
        answers(&pod, "ended")?;
        ensure!(warm.resolve("api", "INET")?.who() == "zone");
        // The next agent goes on with the same file, and the same processes follow it.
        let agent = zonefile::Agent::start_in(root, &[])?;
        answers(&pod, "started again")?;
        agent.write_manifest("late.yaml", &shop::cluster_ip("late", "10.96.9.9"))?;
        zonefile::wait(|| {
            Ok(warm
                .resolve("late", "INET")?
                .summary()
                .starts_with("10.96.9.9"))
        })?;
    }
    Ok(())
}

#[test]
fn a_broken_manifest_loses_nothing() -> Result<()> {
    let agent = shop::publish()?;
    agent.write_manifest("late.yaml", &shop::cluster_ip("late", "10.96.9.1"))?;
    let pod = shop::dark_pod(&agent)?;
    let mut sessions = Vec::new();
    for door in Door::OURS {
        sessions.push(Session::start(&pod, door)?);
    }
    for session in &mut sessions {
        zonefile::wait(|| Ok(session.resolve("late", "INET")?.who() == "zone"))?;
    }
    agent.write_manifest("late.yaml", "kind: Service\n  metadata: [\n")?;
    zonefile::wait(|| Ok(agent.log().contains("late.yaml")))?;
    for session in &mut sessions {
        for name in ["late", "api", "web"] {
            let reply = session.resolve(name, "INET")?;
            ensure!(reply.who() == "zone", "{name}: {}", reply.who());
        }
    }
    agent.write_manifest("late.yaml", &shop::cluster_ip("late", "10.96.9.2"))?;
    for session in &mut sessions {
        zonefile::wait(|| {
            Ok(session
                .resolve("late", "INET")?
                .summary()
                .starts_with("10.96.9.2"))
        })?;
    }
    Ok(())
}

/// A tmpfs without room: the writer says so, and every name keeps its last committed answer.
#[test]
fn a_full_tmpfs_loses_nothing() -> Result<()> {
    let root = zonefile::directory()?;
    let path = root.path().to_str().context("path")?;
    // A small tmpfs in a namespace of its own, reached through a descriptor of its directory.
    let small = Namespaces::create(|| {
        run(
            "mount",
            &["-t", "tmpfs", "-o", "mode=0755,size=1536k", "small", path],
        )
    })?;
    small.with_mounts(|| {
        let mut zone = Published::live_in(zonefile::directory_in(root.path())?)?;
        zone.put("api", &["10.96.1.1"])?;
        let pod = Pod::start(Recipe {
            zone: Some(zone.view()),
            ..Recipe::default()
        })?;
        let mut warm = Session::start(&pod, Door::ShimGlibc)?;
        ensure!(warm.resolve("api", "INET")?.who() == "zone");
        let mut number = 0_u32;
        let refused = loop {
            let address = std::net::Ipv4Addr::from(0x0a80_0000 + number).to_string();
            match zone.put(&format!("service-{number}"), &[&address]) {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
            ensure!(number < 1_000_000, "it is never full: nothing was tested");
        };
        ensure!(format!("{refused:#}").contains("space"), "{refused:#}");
        for door in Door::OURS {
            let mut cold = Session::start(&pod, door)?;
            for name in [
                "api".to_owned(),
                "service-0".into(),
                format!("service-{}", number - 1),
            ] {
                let reply = cold.resolve(&name, "INET")?;
                ensure!(reply.who() == "zone", "{door:?} {name}: {}", reply.who());
            }
        }
        ensure!(warm.resolve("api", "INET")?.who() == "zone");
        Ok(())
    })
}
