//! `nss-k8s-explain` inside pods: it says of a name what the libraries make of it there, and runs
//! where there is nothing but itself.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program; the ban is for the in-process crates"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    outside::{self, NAME},
    pod::Pod,
    session::{Door, Session},
    shop,
};
use std::{fs, os::unix::fs::DirBuilderExt, process::Output};

/// A pod that asks outside by itself: every source of an answer, with the program's status. What it
/// says is what the preload library does in the same pod.
#[test]
fn says_what_the_library_does() -> Result<()> {
    let (_zone, view) = outside::zone()?;
    let pod = Pod::start(outside::recipe(view, Door::ShimGlibc, shop::outside()))?;
    let mut session = Session::start(&pod, Door::ShimGlibc)?;
    let rows: [(&[&str], i32, &str, &[&str]); 6] = [
        (
            &["api"],
            0,
            "zone",
            &[
                "1. api.shop.svc.cluster.local  zone: 1 record",
                "10.96.1.10",
            ],
        ),
        (
            &[NAME],
            0,
            "upstream",
            &[
                "2. www.example.com.svc.cluster.local       zone: does not exist",
                "4. www.example.com                         upstream: 2 records",
                "192.0.2.81",
                "2001:db8::81",
            ],
        ),
        (
            &["nosuch.example.com."],
            1,
            "upstream(nxdomain)",
            &["upstream: does not exist"],
        ),
        (
            &["localhost"],
            0,
            "hosts",
            &["hosts file: the name is in it", "127.0.0.1"],
        ),
        (&["10.1.2.3"], 3, "pass(numeric)", &["libc (pass: numeric)"]),
        (
            &["nosuch.svc.cluster.local."],
            1,
            "nxdomain",
            &["answered by: zone: no such name"],
        ),
    ];
    for (arguments, status, giver, parts) in rows {
        let reply = session.resolve(arguments[0], "UNSPEC")?;
        ensure!(reply.who() == giver, "{arguments:?}: {}", reply.who());
        let (code, text) = explain(&pod, arguments)?;
        ensure!(code == status, "{arguments:?}: status {code}\n{text}");
        for part in parts {
            ensure!(
                text.contains(part),
                "{arguments:?}: {part:?} is not in\n{text}"
            );
        }
    }
    // Nobody is asked when that is not wanted.
    let _ = pod.dns()?.take_log();
    let (code, text) = explain(&pod, &["--no-ask", NAME])?;
    ensure!(
        code == 3 && text.contains("outside the zone") && text.contains("(pass: external)"),
        "{text}"
    );
    let log = pod.dns()?.take_log();
    ensure!(log.is_empty(), "somebody was asked: {log:?}");
    Ok(())
}

/// The rules are those of the libc that is named.
#[test]
fn walks_as_either_libc() -> Result<()> {
    let (_zone, view) = outside::zone()?;
    let pod = Pod::start(outside::recipe(view, Door::ShimMusl, shop::outside()))?;
    // With as many dots as ndots musl asks for the name as it is, and for nothing else.
    let name = "a.b.c.d.e.nosuch.example.com";
    let (_, glibc) = explain(&pod, &["--libc=glibc", name])?;
    let (_, musl) = explain(&pod, &["--libc=musl", name])?;
    ensure!(glibc.contains("  4. "), "{glibc}");
    ensure!(musl.contains("  1. ") && !musl.contains("  2. "), "{musl}");
    Ok(())
}

/// An image without any file, and without /proc: it runs and says that libc answers.
#[test]
fn runs_in_an_empty_image() -> Result<()> {
    let root = tempfile::tempdir()?;
    let place = root.path().join("explain");
    fs::copy(artifacts::explain()?, &place)?;
    fs::DirBuilder::new()
        .mode(0o755)
        .create(root.path().join("etc"))?;
    let inside = nss_k8s_tests::namespace::Namespaces::create(|| Ok(()))?;
    let output = inside
        .command("chroot")
        .arg(root.path())
        .args(["/explain", "api"])
        .output()?;
    let (code, text) = outcome(&output)?;
    ensure!(
        code == 3 && text.contains("no loader was found") && text.contains("(pass: zone-absent)"),
        "{code} {text}"
    );
    Ok(())
}

/// It needs no loader and no library.
#[test]
fn is_linked_statically() -> Result<()> {
    let output = std::process::Command::new("readelf")
        .args(["--dynamic", "--program-headers", "--wide"])
        .arg(artifacts::explain()?)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("LOAD"), "readelf: {text}");
    ensure!(
        !text.contains("(NEEDED)") && !text.contains("INTERP"),
        "{text}"
    );
    Ok(())
}

/// Status and text inside a pod.
fn explain(pod: &Pod, arguments: &[&str]) -> Result<(i32, String)> {
    let program = artifacts::explain()?;
    let mut command = pod.command(program.to_str().context("path")?);
    outcome(&command.args(arguments).output()?)
}

fn outcome(output: &Output) -> Result<(i32, String)> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(errors.is_empty(), "{errors}");
    let text = String::from_utf8(output.stdout.clone())?;
    Ok((output.status.code().context("killed")?, text))
}
