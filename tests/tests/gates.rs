//! What the two objects may and may not contain, read from the files themselves, and what they are
//! made of.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::artifacts;
use std::{collections::BTreeSet, env, fs, path::Path, path::PathBuf, process::Command};

/// An object, its own name, how large it may be on disk (docs/decisions/0034), and what it must
/// export: this and nothing else.
struct Guest {
    path: PathBuf,
    name: &'static str,
    most_bytes: u64,
    exports: &'static [&'static str],
}

/// The two objects, built and not older than their sources.
fn guests() -> Result<[Guest; 2]> {
    Ok([
        Guest {
            path: artifacts::module()?,
            name: "libnss_k8s.so.2",
            most_bytes: 96 * 1024,
            exports: &[
                "_nss_k8s_gethostbyaddr2_r",
                "_nss_k8s_gethostbyaddr_r",
                "_nss_k8s_gethostbyname2_r",
                "_nss_k8s_gethostbyname3_r",
                "_nss_k8s_gethostbyname4_r",
                "_nss_k8s_gethostbyname_r",
            ],
        },
        Guest {
            path: artifacts::shim()?,
            name: "libnss_k8s_preload.so",
            most_bytes: 136 * 1024,
            exports: &[
                "__res_nquery",
                "__res_nquerydomain",
                "__res_nsearch",
                "__res_query",
                "__res_querydomain",
                "__res_search",
                "getaddrinfo",
                "gethostbyaddr",
                "gethostbyaddr_r",
                "gethostbyname",
                "gethostbyname2",
                "gethostbyname2_r",
                "gethostbyname_r",
                "getnameinfo",
                "res_nquery",
                "res_nquerydomain",
                "res_nsearch",
                "res_query",
                "res_querydomain",
                "res_search",
            ],
        },
    ])
}

/// Nothing is required of the process, nothing runs when it is loaded, nothing is thread-local.
#[test]
fn nothing_is_needed_and_nothing_runs() -> Result<()> {
    const FORBIDDEN: [&str; 11] = [
        "(NEEDED)",
        "(INIT)",
        "(INIT_ARRAY)",
        "(PREINIT_ARRAY)",
        "(FINI)",
        "(FINI_ARRAY)",
        "(RELR)",
        "(TEXTREL)",
        "(VERNEED)",
        "(RPATH)",
        "(RUNPATH)",
    ];
    for guest in guests()? {
        let dynamic = readelf(&["-dW"], &guest.path)?;
        for entry in FORBIDDEN {
            ensure!(
                !dynamic.contains(entry),
                "{}: {entry}\n{dynamic}",
                guest.name
            );
        }
        let soname = format!("Library soname: [{}]", guest.name);
        ensure!(
            dynamic.contains(&soname),
            "{}: no {soname}\n{dynamic}",
            guest.name
        );
        ensure!(
            dynamic.contains("NODELETE"),
            "{}: unloadable\n{dynamic}",
            guest.name
        );
        let segments = readelf(&["-lW"], &guest.path)?;
        ensure!(
            !segments.contains("TLS"),
            "{}: thread-local\n{segments}",
            guest.name
        );
        let stack = line(&segments, "GNU_STACK")?;
        ensure!(
            stack.contains(" RW ") && !stack.contains("RWE"),
            "{}: {stack}",
            guest.name
        );
        for load in segments
            .lines()
            .filter(|line| line.trim_start().starts_with("LOAD"))
        {
            ensure!(!load.contains("RWE"), "{}: {load}", guest.name);
        }
    }
    Ok(())
}

/// Exactly the intended functions, and only weak imports.
#[test]
fn exports_are_exact_and_imports_weak() -> Result<()> {
    for guest in guests()? {
        let mut exports = BTreeSet::new();
        for row in readelf(&["--dyn-syms", "-W"], &guest.path)?.lines() {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let [number, _, _, _, binding, _, section, name, ..] = fields[..] else {
                continue;
            };
            if number == "Num:" || binding == "LOCAL" {
                continue;
            }
            match section {
                "UND" => ensure!(binding == "WEAK", "{}: strong import {name}", guest.name),
                _ => {
                    exports.insert(name.to_owned());
                }
            }
        }
        let intended: BTreeSet<String> = guest.exports.iter().map(ToString::to_string).collect();
        ensure!(exports == intended, "{} exports {exports:?}", guest.name);
    }
    Ok(())
}

/// pthread_cancel runs the host's cleanup handlers through our frames.
#[test]
fn unwind_tables_are_there() -> Result<()> {
    for guest in guests()? {
        let sections = readelf(&["-SW"], &guest.path)?;
        let table = line(&sections, " .eh_frame ")?;
        let size = table.split_whitespace().rev().nth(5).context("size")?;
        ensure!(
            usize::from_str_radix(size, 16)? > 256,
            "{}: {table}",
            guest.name
        );
        line(&sections, " .eh_frame_hdr ")?;
    }
    Ok(())
}

/// A process with a shadow stack loses it for good when it loads an object without this note.
#[test]
#[cfg(target_arch = "x86_64")]
fn shadow_stacks_are_allowed() -> Result<()> {
    for guest in guests()? {
        let notes = readelf(&["-nW"], &guest.path)?;
        ensure!(notes.contains("SHSTK"), "{}: {notes}", guest.name);
    }
    Ok(())
}

#[test]
fn objects_are_small() -> Result<()> {
    for guest in guests()? {
        let (size, most) = (fs::metadata(&guest.path)?.len(), guest.most_bytes);
        ensure!(size <= most, "{}: {size} bytes, at most {most}", guest.name);
    }
    Ok(())
}

/// What goes into other people's processes is listed by hand: a new dependency is a decision.
#[test]
fn dependency_trees_are_the_golden_ones() -> Result<()> {
    for package in ["nss-k8s-nss", "nss-k8s-shim"] {
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["tree", "--locked", "-e", "normal", "--prefix", "depth"])
            .args([
                "--format",
                " {p} features={f}",
                "--no-dedupe",
                "-p",
                package,
            ])
            .current_dir(artifacts::repository())
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let tree = String::from_utf8(output.stdout)?;
        // Versions change with Cargo.lock, paths with the machine: neither is the decision.
        let names: Vec<String> = tree.lines().map(without_version).collect();
        let golden = artifacts::fixture(&format!("gates/{package}.tree"));
        let expected = fs::read_to_string(&golden).with_context(|| golden.display().to_string())?;
        let got = names.join("\n");
        ensure!(got == expected.trim_end(), "{}:\n{got}", golden.display());
    }
    Ok(())
}

/// `2 libc v0.2.1 (path) features=std` becomes `2 libc features=std`.
fn without_version(row: &str) -> String {
    let kept = |word: &&str| !word.starts_with('v') && !word.starts_with('(');
    row.split_whitespace()
        .filter(kept)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What readelf says of a file.
fn readelf(arguments: &[&str], path: &Path) -> Result<String> {
    let output = Command::new("readelf")
        .env("LC_ALL", "C")
        .args(arguments)
        .arg(path)
        .output()
        .context("readelf: install binutils (make prepare)")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The first line with `mark` in it.
fn line<'t>(text: &'t str, mark: &str) -> Result<&'t str> {
    match text.lines().find(|line| line.contains(mark)) {
        Some(line) => Ok(line),
        None => bail!("no {mark} in\n{text}"),
    }
}
