//! What a process can see of us besides the answer: errno, h_errno, its output, its memory.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    artifacts, compiled,
    host::{Host, KNOWN, run},
    probe::Libc,
    session::Door,
    writer::Published,
};
use std::{fs, path::Path, process::Command};

/// What `errors` prints behind a door, without notes; standard error must stay empty.
fn errors(host: &Host, door: Door) -> Result<String> {
    let program = compiled::program("errors", "errors", door.libc(), &[])?;
    let mut command = host.behind(door, &program)?;
    command.env_remove("NSS_K8S_DEBUG").args(KNOWN);
    let (text, notes) = run(command)?;
    ensure!(notes.is_empty(), "{door:?}: {notes}");
    Ok(text)
}

/// Each entry point returns what libc's returns, and sets h_errno where it is said to do so: on
/// failure, and not in getaddrinfo and the `_r` functions (libc may leave something there; we do
/// not). Where there is an answer errno stays what it was, or is what libc makes of it.
#[test]
fn every_entry_point_leaves_errno_and_sets_h_errno_as_libc_does() -> Result<()> {
    let host = Host::lit()?;
    let exports = artifacts::exports(&artifacts::shim()?)?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let (ours, alone) = (errors(&host, door)?, errors(&host, door.reference())?);
        let program = compiled::program("errors", "errors", door.libc(), &[])?;
        let mut command = host.behind(door, &program)?;
        command.args(KNOWN);
        let (_, notes) = run(command)?;
        let (mut found, mut missing) = (0, 0);
        for (our, its) in ours.lines().zip(alone.lines()) {
            let (our, its) = (words(our)?, words(its)?);
            let [function, kind, code, errno, h_errno] = our;
            let sets_h_errno = !function.ends_with("_r") && !function.starts_with("get")
                || function.starts_with("gethostby") && !function.ends_with("_r");
            ensure!(
                [function, kind, code] == its[..3],
                "{door:?}: {our:?}, libc alone: {its:?}"
            );
            if code != "0" {
                missing += 1;
                ensure!(
                    !sets_h_errno || h_errno == its[4],
                    "{door:?}: {our:?}, libc alone: {its:?}"
                );
            } else if kind == "found" && exports.contains(function) {
                found += 1;
                let from_zone = |note: &str| {
                    note.starts_with(&format!("nss-k8s: {function} ")) && note.ends_with("-> zone")
                };
                ensure!(
                    notes.lines().any(from_zone),
                    "{door:?} {function}: not from the zone\n{notes}"
                );
                ensure!(
                    errno == "untouched" || errno == its[3],
                    "{door:?}: {our:?}, libc alone: {its:?}"
                );
            }
        }
        ensure!(
            ours.lines().count() == alone.lines().count() && found >= 7 && missing >= 18,
            "{door:?}: {found} answers, {missing} failures\n{ours}"
        );
    }
    Ok(())
}

/// Function, kind, code, errno and h_errno of a line.
fn words(line: &str) -> Result<[&str; 5]> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [function, kind, code, "errno", errno, "h_errno", h_errno] => {
            Ok([function, kind, code, errno, h_errno])
        }
        _ => bail!("{line}"),
    }
}

/// With a zone that is absent, cut short, garbage or not readable: libc's answers, and not a word
/// on either output.
#[test]
fn nothing_is_printed_over_a_bad_zone() -> Result<()> {
    let good = Published::live()?;
    let file = fs::read(good.view().join("zone.v1"))?;
    let mut garbage = file.clone();
    for (index, byte) in garbage.iter_mut().enumerate().skip(64) {
        *byte = u8::try_from(index * 37 % 251).unwrap_or(7);
    }
    let cut = file.get(..5000).context("a short zone")?.to_vec();
    let host = Host::lit()?;
    host.pod
        .replace("nsswitch.conf", nss_k8s_tests::pod::HOSTS_LINE)?;
    for (what, bytes) in [
        ("absent", None),
        ("empty", Some(Vec::new())),
        ("cut", Some(cut)),
        ("garbage", Some(garbage)),
        ("zeros", Some(vec![0; 1 << 20])),
    ] {
        let directory = tempfile::Builder::new().tempdir_in("/dev/shm")?;
        if let Some(bytes) = bytes {
            fs::write(directory.path().join("zone.v1"), bytes)?;
        }
        for door in Door::OURS {
            let program = compiled::program("errors", "errors", door.libc(), &[])?;
            let outcome = |door: Door| -> Result<(String, String)> {
                let mut command = host.behind(door, &program)?;
                command
                    .env_remove("NSS_K8S_DEBUG")
                    .env("NSS_K8S_DIR", directory.path())
                    .args(KNOWN);
                run(command)
            };
            let codes = |text: &str| -> Vec<String> {
                let first = |line: &str| line.split(" errno ").next().map(str::to_owned);
                text.lines().filter_map(first).collect()
            };
            let ((ours, notes), (alone, _)) = (outcome(door)?, outcome(door.reference())?);
            ensure!(
                notes.is_empty() && codes(&ours) == codes(&alone),
                "{door:?} {what}: {notes}{ours}libc alone: {alone}"
            );
            // It was that zone that was looked at, and left.
            let mut command = host.behind(door, &program)?;
            command.env("NSS_K8S_DIR", directory.path()).args(KNOWN);
            let (_, notes) = run(command)?;
            ensure!(
                notes.contains("\"api\" -> pass(zone-") && !notes.contains("-> zone"),
                "{door:?} {what}: {notes}"
            );
        }
    }
    Ok(())
}

/// A program built with AddressSanitizer, the shim preloaded after its runtime: no bad access, and
/// no list that nobody frees. The control loses one, and LeakSanitizer says so.
#[test]
fn an_address_sanitizer_finds_nothing() -> Result<()> {
    let host = Host::dark()?;
    let flags = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"];
    let program = compiled::program("errors", "errors-asan", Libc::Glibc, &flags)?;
    let leaks = compiled::program("leak", "leak-asan", Libc::Glibc, &flags)?;
    let output = Command::new("gcc")
        .arg("-print-file-name=libasan.so")
        .output()?;
    let runtime = String::from_utf8(output.stdout)?;
    let runtime = Path::new(runtime.trim()).canonicalize()?;
    let sanitized = |program: &Path, last: &str| -> Result<Command> {
        let mut command = host.preloaded(program, &[runtime.clone(), artifacts::shim()?])?;
        command
            .env_remove("NSS_K8S_DEBUG")
            .env("ASAN_OPTIONS", "detect_leaks=1:exitcode=66")
            .args(KNOWN)
            .arg(last);
        Ok(command)
    };
    let (text, notes) = run(sanitized(&program, "50")?)?;
    ensure!(text.is_empty() && notes.is_empty(), "{text}{notes}");
    let output = sanitized(&leaks, "1")?.output()?;
    let notes = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(66) && notes.contains("LeakSanitizer"),
        "the lost list was not noticed: {output:?}"
    );
    // Under the module, which writes into libc's buffers alone.
    let mut command = host.behind(Door::Nss, &program)?;
    command
        .env_remove("NSS_K8S_DEBUG")
        .env("ASAN_OPTIONS", "detect_leaks=1:exitcode=66")
        .args(KNOWN)
        .arg("20");
    let (text, notes) = run(command)?;
    ensure!(text.is_empty() && notes.is_empty(), "NSS: {text}{notes}");
    Ok(())
}
