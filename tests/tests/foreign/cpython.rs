//! CPython's own tests of its socket module: every single test ends as it does with libc alone.

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{artifacts, namespace::run, pod::Pod, session::Door, shop};
use std::{collections::HashMap, path::Path, thread};

/// The module, without the one class of tests that meets itself when several processes run it: the
/// ports of AF_VSOCK are the machine's, whatever network namespace one is in.
const MODULE: [&str; 2] = ["test.test_socket", "-ThreadedVSOCKSocketStreamTest"];

/// The parts of the package `test` that the modules import, from Debian's two packages of it.
const PARTS: [&str; 3] = ["__init__.py", "support", "test_socket.py"];

#[test]
fn test_socket_passes_exactly_as_with_libc_alone() -> Result<()> {
    let suite = tempfile::tempdir()?;
    assemble(suite.path())?;
    let zone = shop::publish()?;
    let pod = shop::lit_pod(&zone)?;
    let observe = |door: Door, names: &[&str]| outcomes(&pod, door, suite.path(), names);
    let doors = [Door::PlainGlibc, Door::ShimGlibc, Door::Nss];
    // Most of the time they wait.
    let [libc, shim, nss] = thread::scope(|scope| {
        doors
            .map(|door| scope.spawn(move || observe(door, &MODULE)))
            .map(|thread| match thread.join() {
                Ok(outcomes) => outcomes,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    });
    let libc = libc?;
    let passed = libc.values().filter(|outcome| *outcome == "ok").count();
    ensure!(passed >= 400, "libc alone: only {passed} tests pass");
    for (door, ours) in [(Door::ShimGlibc, shim?), (Door::Nss, nss?)] {
        let mut different: Vec<&str> = libc
            .keys()
            .chain(ours.keys())
            .filter(|name| libc.get(*name) != ours.get(*name))
            .map(String::as_str)
            .collect();
        different.sort_unstable();
        different.dedup();
        if different.is_empty() {
            continue;
        }
        // Some depend on the time that something takes, or on ports. What differs because of us
        // differs each time.
        for attempt in 1.. {
            let libc = observe(Door::PlainGlibc, &different)?;
            let ours = observe(door, &different)?;
            if libc == ours {
                break;
            }
            ensure!(attempt < 3, "{door:?}: {ours:#?}\nlibc alone: {libc:#?}");
        }
    }
    Ok(())
}

/// Runs tests; what each came to. Behind a door of ours we must have been asked.
fn outcomes(
    pod: &Pod,
    door: Door,
    suite: &Path,
    names: &[&str],
) -> Result<HashMap<String, String>> {
    let script = artifacts::fixture("tests/foreign/outcomes.py");
    let mut command = pod.command("/usr/bin/python3");
    door.open(&mut command, &artifacts::guests()?);
    let output = command
        .arg(script)
        .args(names)
        .env("PYTHONPATH", suite)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(suite)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let notes = String::from_utf8_lossy(&output.stderr);
    let outcomes: HashMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
        .collect();
    ensure!(
        output.status.success() && !outcomes.is_empty(),
        "{door:?}: {}\n{text}{notes}",
        output.status
    );
    ensure!(
        names != MODULE.as_slice() || notes.contains("nss-k8s: ") == (door != Door::PlainGlibc),
        "{door:?}: not the door that it should be:\n{notes}"
    );
    Ok(outcomes)
}

/// Makes the package `test` below `folder`.
fn assemble(folder: &Path) -> Result<()> {
    let package = folder.join("test");
    std::fs::create_dir(&package)?;
    let unpacked = artifacts::unpacked("libpython3.11-testsuite")?;
    for part in PARTS {
        let from = [Path::new("/"), &unpacked]
            .map(|root| root.join("usr/lib/python3.11/test").join(part))
            .into_iter()
            .find(|path| path.exists())
            .with_context(|| format!("{part}: neither installed nor unpacked"))?;
        let from = from.to_str().context("path")?;
        run("cp", &["-r", from, package.to_str().context("path")?])?;
    }
    Ok(())
}
