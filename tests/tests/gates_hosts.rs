//! Programs that a library for everybody meets: without a libc, static, with an old glibc, with a
//! `dlsym` that finds nothing. Each starts and resolves unharmed with our libraries in place.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{artifacts, compiled, libcs::Release, pod::Pod, probe::Libc, shop};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A service of the fixture, and its address; the pods have no DNS server.
const KNOWN: (&str, &str) = ("api", "10.96.1.10");

/// Compiles `tests/gates/<source>` with `flags` to `build/gates/<name>`.
fn compile(compiler: &str, source: &str, name: &str, flags: &[&str]) -> Result<PathBuf> {
    let program = artifacts::scratch("gates")?.join(name);
    // Tests run side by side: each writes a file of its own and moves it into place.
    let next = program.with_extension(std::process::id().to_string());
    let output = Command::new(compiler)
        .args(["-O1", "-Wall", "-Wextra", "-o"])
        .args([&next, &artifacts::fixture(&format!("gates/{source}"))])
        .args(flags)
        .output()
        .with_context(|| format!("{compiler}: install it (make prepare)"))?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::rename(next, &program)?;
    Ok(program)
}

/// Runs a program in a pod; it must end well. Its output, and what we noted on standard error.
fn run(mut command: Command) -> Result<(String, String)> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.env("NSS_K8S_DEBUG", "1").output()?;
    let (stdout, stderr) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
    ensure!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    Ok((stdout, stderr))
}

/// A command in the pod with these libraries preloaded.
fn preloaded(pod: &Pod, program: &Path, libraries: &[&Path]) -> Result<Command> {
    let mut command = pod.command(program.to_str().context("path")?);
    command.env("LD_PRELOAD", libraries.join(OsStr::new(":")));
    Ok(command)
}

/// `["a", "b"]` as one path list.
trait Join {
    fn join(&self, with: &OsStr) -> std::ffi::OsString;
}

impl Join for [&Path] {
    fn join(&self, with: &OsStr) -> std::ffi::OsString {
        let parts: Vec<&OsStr> = self.iter().map(|path| path.as_os_str()).collect();
        parts.join(with)
    }
}

#[test]
fn one_file_answers_glibc_and_musl() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let (name, address) = KNOWN;
    for (compiler, kind) in [
        ("gcc", "-pie"),
        ("gcc", "-no-pie"),
        ("musl-gcc", "-pie"),
        ("musl-gcc", "-no-pie"),
    ] {
        let code = if kind == "-pie" { "-fPIE" } else { "-fno-pie" };
        let file = format!("resolve-{compiler}{kind}");
        let program = compile(compiler, "resolve.c", &file, &[kind, code])?;
        let mut command = preloaded(&pod, &program, &[&artifacts::shim()?])?;
        command.args([
            name,
            "127.0.0.1",
            "localhost",
            "no-such-service.shop.svc.cluster.local.x.y",
        ]);
        let (output, notes) = run(command)?;
        ensure!(
            output.starts_with(&format!("{name} {address}\n")),
            "{compiler}: {output}"
        );
        ensure!(
            output.contains("127.0.0.1 127.0.0.1\nlocalhost 127.0.0.1\n"),
            "{output}"
        );
        ensure!(
            notes.contains("nss-k8s: getaddrinfo \"api\" -> zone\n"),
            "{compiler}: {notes}"
        );
        ensure!(
            notes.contains("\"127.0.0.1\" -> pass(numeric)\n"),
            "{compiler}: {notes}"
        );
    }
    Ok(())
}

#[test]
fn a_program_without_libc_starts() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let flags = ["-nostdlib", "-fPIE", "-pie", "-fno-stack-protector"];
    let program = compile("gcc", "no_libc.c", "no-libc", &flags)?;
    let interpreter = Command::new("readelf")
        .arg("-lW")
        .arg(&program)
        .output()?
        .stdout;
    ensure!(
        String::from_utf8(interpreter)?.contains("interpreter"),
        "the program must be loaded by ld.so, or nothing is preloaded"
    );
    let (output, _) = run(preloaded(&pod, &program, &[])?)?;
    ensure!(output == "started\nno getaddrinfo\n", "alone: {output}");
    let (output, _) = run(preloaded(&pod, &program, &[&artifacts::shim()?])?)?;
    ensure!(output == "started\nrefused\n", "preloaded: {output}");
    let (output, _) = run(preloaded(&pod, &program, &[&artifacts::module()?])?)?;
    ensure!(
        output == "started\nno getaddrinfo\n",
        "the module: {output}"
    );
    Ok(())
}

/// A static program is beyond the preloaded library, but a static glibc loads NSS modules: ours
/// then runs in a process that lends it nothing at all.
#[test]
fn a_static_program_resolves() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let (name, address) = KNOWN;
    let program = compile("gcc", "resolve.c", "resolve-static", &["-static", "-w"])?;
    let mut command = preloaded(&pod, &program, &[&artifacts::shim()?])?;
    command.args(["127.0.0.1", "localhost"]);
    let (output, _) = run(command)?;
    ensure!(
        output == "127.0.0.1 127.0.0.1\nlocalhost 127.0.0.1\n",
        "{output}"
    );
    let mut command = pod.command(program.to_str().context("path")?);
    command
        .env("LD_LIBRARY_PATH", artifacts::guests()?)
        .args([name, "localhost"]);
    let (output, _) = run(command)?;
    ensure!(
        output == format!("{name} {address}\nlocalhost 127.0.0.1\n"),
        "{output}"
    );
    Ok(())
}

#[test]
fn a_null_dlsym_is_survived() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let (name, address) = KNOWN;
    let flags = ["-shared", "-fPIC", "-nostdlib"];
    for compiler in ["gcc", "musl-gcc"] {
        let nothing = compile(
            compiler,
            "null_dlsym.c",
            &format!("null-dlsym-{compiler}.so"),
            &flags,
        )?;
        let program = compile(
            compiler,
            "resolve.c",
            &format!("resolve-null-{compiler}"),
            &[],
        )?;
        let mut command = preloaded(&pod, &program, &[&nothing, &artifacts::shim()?])?;
        command.args([name, "127.0.0.2"]);
        let (output, notes) = run(command)?;
        let expected = format!("{name} {address}\n127.0.0.2 127.0.0.2\n");
        ensure!(output == expected, "{compiler}: {output}{notes}");
        ensure!(
            notes.contains("\"127.0.0.2\" -> pass(numeric)\n"),
            "{compiler}: {notes}"
        );
    }
    Ok(())
}

/// pthread_cancel unwinds through our frames and runs the program's cleanup handlers.
#[test]
fn a_canceled_thread_cleans_up() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    for compiler in ["gcc", "musl-gcc"] {
        let name = format!("cancel-{compiler}");
        let program = compile(compiler, "cancel.c", &name, &["-pthread"])?;
        let (output, notes) = run(preloaded(&pod, &program, &[&artifacts::shim()?])?)?;
        ensure!(
            output == "passed 1\nservice 1\n",
            "{compiler}: {output}{notes}"
        );
        ensure!(
            notes.contains("\"www.example.com\" -> pass(external)"),
            "{compiler}: {notes}"
        );
    }
    Ok(())
}

/// Debian 11's own `getent` under its own loader: glibc 2.31, where `dlsym` is in libdl, which it
/// does not link.
#[test]
fn an_old_glibc_resolves() -> Result<()> {
    let (loader, libraries) = Release::Glibc231.unpacked()?.context("unpacked")?;
    let libraries = &*libraries;
    let getent = libraries.join("../../usr/bin/getent");
    let (name, address) = KNOWN;
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let ask = |path: &[&Path], preload: Option<&Path>, arguments: &[&str]| {
        let mut command = pod.command(loader.to_str().context("path")?);
        command
            .arg("--library-path")
            .arg(path.join(OsStr::new(":")));
        if let Some(preload) = preload {
            command.arg("--preload").arg(preload);
        }
        command.arg(&getent).args(arguments);
        run(command)
    };
    // The list of loaded objects is not asked for there either: the process would end.
    let flags = ["-DNO_LIST", "-nostdlib"];
    let mut shim = compiled::library("between", "no-list", Libc::Glibc, &flags)?.into_os_string();
    shim.push(":");
    shim.push(artifacts::shim()?);
    let shim = PathBuf::from(shim);
    let (output, notes) = ask(&[libraries], Some(&shim), &["ahostsv4", name])?;
    ensure!(output.starts_with(address), "{output}{notes}");
    ensure!(
        notes.contains("nss-k8s: getaddrinfo \"api\" -> zone\n"),
        "{notes}"
    );
    let (output, notes) = ask(&[libraries], Some(&shim), &["ahostsv4", "127.0.0.2"])?;
    ensure!(output.starts_with("127.0.0.2"), "{output}{notes}");
    ensure!(notes.contains("-> pass(numeric)\n"), "{notes}");
    let (output, notes) = ask(&[libraries, &artifacts::guests()?], None, &["ahosts", name])?;
    ensure!(output.starts_with(address), "{output}{notes}");
    ensure!(
        notes.contains("nss-k8s: _nss_k8s_gethostbyname4_r \"api\" -> zone\n"),
        "{notes}"
    );
    Ok(())
}
