//! systemd's `test-nss-hosts` loads a module and calls every entry point of it, with every family
//! and with a buffer of a given size. It prints and hardly asserts: what it prints is compared.

use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{artifacts, pod::Pod, session::Door, shop};
use std::{collections::HashMap, thread};

/// What it is told to look up: nothing that the module would pass on to DNS.
const WORDS: [&str; 8] = [
    "web",
    "web.shop",
    "API.shop.svc.cluster.local.",
    "six.shop.svc.cluster.local.",
    "postgres.db",
    "api.nowhere.svc.cluster.local.",
    "10.96.1.10",
    "fd00:96::11",
];
/// Room for everything.
const AMPLE: usize = 4096;
/// No answer here needs more.
const ENOUGH: usize = 512;
/// `enum nss_status` as it is printed.
const TOO_SMALL: &str = "NSS_STATUS_TRYAGAIN";
/// The same.
const SUCCESS: &str = "NSS_STATUS_SUCCESS";

/// What one call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    status: String,
    /// Of failures, both numbers; nss_dns leaves them alone when it succeeds.
    errors: String,
    /// Names, aliases and addresses; the last sorted, since both sides shuffle them.
    answer: Vec<String>,
}

/// Every call of one run, by the entry point without the module's name and its arguments.
type Calls = HashMap<String, Call>;

/// The module says what glibc's own `dns` module says of a server with the same data.
#[test]
fn test_nss_hosts_prints_what_it_prints_of_dns() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::lit_pod(&zone)?;
    let dns = calls(&pod, "dns", AMPLE)?;
    let asked = pod.dns()?.take_log();
    ensure!(!asked.is_empty(), "dns asked nothing");
    let ours = calls(&pod, "k8s", AMPLE)?;
    ensure!(pod.dns()?.take_log().is_empty(), "the module asked DNS");
    // Ten for each name, two for each address.
    ensure!(
        ours.len() == 64 && dns.len() == ours.len(),
        "{} calls, dns {}",
        ours.len(),
        dns.len()
    );
    for (call, reference) in &dns {
        let got = ours.get(call).with_context(|| call.clone())?;
        // Of a family that is none dns says NO_DATA, and we NO_RECOVERY as nss-resolve does; the
        // next source is asked in either case.
        let same_errors = got.errors == reference.errors || got.status == "NSS_STATUS_UNAVAIL";
        ensure!(
            got.status == reference.status && got.answer == reference.answer && same_errors,
            "{call}: {got:#?}\ndns: {reference:#?}"
        );
    }
    Ok(())
}

/// With a buffer of any size a call either has the whole answer or wants a larger one, in the way
/// that makes glibc call again.
#[test]
fn test_nss_hosts_with_every_size_of_buffer() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let whole = calls(&pod, "k8s", AMPLE)?;
    let answered = whole.values().filter(|call| call.status == SUCCESS).count();
    ensure!(
        answered == 29,
        "{answered} calls have an answer: {whole:#?}"
    );
    let sizes: Vec<usize> = (1..=ENOUGH).collect();
    let runs: Vec<Result<Vec<Calls>>> = thread::scope(|scope| {
        let (pod, halves) = (&pod, sizes.chunks(ENOUGH / 2));
        let run = move |half: &[usize]| half.iter().map(|size| calls(pod, "k8s", *size)).collect();
        let threads: Vec<_> = halves.map(|half| scope.spawn(move || run(half))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    });
    let runs = runs.into_iter().collect::<Result<Vec<_>>>()?.concat();
    for (call, wanted) in &whole {
        let mut fits_from = None;
        for (size, run) in sizes.iter().zip(&runs) {
            let got = run.get(call).with_context(|| format!("{call}: {size}"))?;
            if got.status == TOO_SMALL {
                ensure!(
                    got.errors == "errno=34/ERANGE h_errno=-1" && fits_from.is_none(),
                    "{call} with {size} octets, fits from {fits_from:?}: {got:?}"
                );
            } else {
                ensure!(got == wanted, "{call} with {size} octets: {got:?}");
                fits_from = fits_from.or(Some(*size));
            }
        }
        let succeeds = wanted.status == SUCCESS;
        ensure!(
            fits_from.is_some_and(|size| size > 1) == succeeds,
            "{call} fits from {fits_from:?}: {wanted:?}"
        );
    }
    Ok(())
}

/// Runs it on one module with buffers of one size.
fn calls(pod: &Pod, module: &str, size: usize) -> Result<Calls> {
    let unpacked = artifacts::unpacked;
    let program = unpacked("systemd-tests")?.join("usr/lib/systemd/tests/test-nss-hosts");
    let library = unpacked("libsystemd-shared")?.join("usr/lib/x86_64-linux-gnu/systemd");
    let guests = artifacts::guests()?;
    let mut command = pod.command(program.to_str().context("path")?);
    Door::Nss.open(&mut command, &guests);
    command
        .env_remove("NSS_K8S_DEBUG")
        .env(
            "LD_LIBRARY_PATH",
            format!("{}:{}", guests.display(), library.display()),
        )
        .env("SYSTEMD_TEST_NSS_BUFSIZE", size.to_string())
        .arg(module)
        .args(WORDS);
    let output = command.output()?;
    ensure!(output.status.success(), "{module} {size}: {output:?}");
    parse(&String::from_utf8_lossy(&output.stderr), module)
}

/// Takes apart what it printed: a line with the call and its status, one with the error numbers,
/// and one for each part of the answer.
fn parse(text: &str, module: &str) -> Result<Calls> {
    let start = format!("_nss_{module}_");
    let mut calls = Calls::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix(&start) {
            let (call, status) = line.split_once(" → status=").context(line.to_owned())?;
            last = call.to_owned();
            let new = Call {
                status: status.into(),
                errors: String::new(),
                answer: Vec::new(),
            };
            ensure!(calls.insert(last.clone(), new).is_none(), "{call}: twice");
            continue;
        }
        let words = line.trim();
        let Some(call) = calls.get_mut(&last).filter(|_| !words.is_empty()) else {
            continue;
        };
        if let Some((_, errors)) = words
            .split_once("errno=")
            .filter(|_| call.errors.is_empty())
        {
            if call.status != SUCCESS {
                // Without the words for h_errno, and the time to live behind them.
                let (numbers, _) = errors.rsplit_once('/').context(line.to_owned())?;
                call.errors = format!("errno={numbers}");
            }
        } else if line.starts_with("        ") {
            match words.split_once("\" ") {
                // Of several tuples libc reads the name of the first, and only there dns gives one.
                Some((name, address)) if last.starts_with("gethostbyname4_r") => {
                    if call.answer.is_empty() {
                        call.answer.push(format!("{name}\""));
                    }
                    call.answer.push(address.into());
                }
                _ => call.answer.push(words.into()),
            }
        } else {
            bail!("{line}: unexpected");
        }
    }
    for call in calls.values_mut() {
        call.answer.sort_unstable();
    }
    Ok(calls)
}
