//! `nss-k8s-explain NAME`: says inside a pod what the libraries make of a name there, and why. It
//! reads the same files as they do, with the same code, and needs nothing of the image: it is linked
//! statically (`make explain`), so that it can be copied into any container. `nss-k8s-explain --shadow`
//! adds up what running processes counted while their view was in shadow.
//!
//! ```text
//!   /etc/{resolv.conf,nsswitch.conf,hosts,host.conf} --\
//!   /run/nss-k8s/{zone,external}.v1 --------------------+--> stub --> every candidate, and who answered
//!   nameservers, forward.sock -------------------------/
//! ```
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program, unlike the libraries in other people's processes"
)]

mod arguments;
mod image;
mod report;
mod shadow;

use arguments::{Arguments, Task, USAGE};
use nss_k8s_stub::{
    Address, BUILD, Door, Name, Outcome, Query,
    explain::{self, Asking, Etc, Facts},
    sys::Libc,
};
use report::Report;
use std::{
    env,
    ffi::{CString, OsString},
    io::Write,
    os::unix::ffi::OsStringExt,
    process::ExitCode,
};

/// Where every pod finds its zone, unless `NSS_K8S_DIR` says otherwise.
const DIRECTORY: &str = "/run/nss-k8s";
/// The most addresses that one name can have.
const ROOM: usize = nss_k8s_zone::MAX_ADDRESSES;
/// The exit status when libc would answer instead.
const PASS: u8 = 3;

/// 0: addresses; 1: there are none; 2: wrong usage; 3: libc answers. See [`shadow::report`] for its own.
fn main() -> ExitCode {
    let arguments = match Task::read(env::args().skip(1)) {
        Ok(Task::Explain(arguments)) => arguments,
        Ok(Task::Shadow(processes)) => {
            let (text, status) = shadow::report(&processes);
            print(&text);
            return status;
        }
        Ok(Task::Help) => {
            print(USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(Task::Version) => {
            let version = env!("CARGO_PKG_VERSION");
            print(&format!(
                "nss-k8s-explain {version} (library build {BUILD})\n"
            ));
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("nss-k8s-explain: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (libc, how) = match arguments.libc {
        Some(libc) => (libc, "as told".to_owned()),
        None => image::libc(),
    };
    let mut report = Report::default();
    report.line(format!("{} ({}, {how})", arguments.name, image::word(libc)));
    let outcome = explain(&arguments, libc, &mut report);
    print(&report.text());
    match outcome {
        Outcome::Answer { .. } | Outcome::Hosts { .. } => ExitCode::SUCCESS,
        Outcome::NoData | Outcome::NxDomain | Outcome::Again => ExitCode::FAILURE,
        _ => ExitCode::from(PASS),
    }
}

/// Files, hosts file, candidates, in the order in which the preload library takes them.
fn explain(arguments: &Arguments, libc: Libc, report: &mut Report) -> Outcome {
    if env::var_os("NSS_K8S_DISABLE").is_some_and(|value| !value.is_empty() && value != "0") {
        report.line("NSS_K8S_DISABLE is set: libc answers".to_owned());
        return Outcome::Pass(nss_k8s_stub::Reason::Disabled);
    }
    let Some(etc) = Etc::read(libc) else {
        report.line("the files of /etc cannot be read now: libc answers".to_owned());
        return Outcome::Pass(nss_k8s_stub::Reason::ResolvConf);
    };
    let settings = etc.settings();
    report.settings(settings);
    let query = Query {
        name: arguments.name.as_bytes(),
        families: arguments.families,
        door: Door::Shim,
    };
    let mut room = vec![Address::UNSPECIFIED; ROOM];
    let mut canonical = Name::EMPTY;
    if let Some(outcome) = etc.hosts(&query, &mut room, &mut canonical) {
        report.hosts(outcome);
        report.end(outcome, &room, &canonical);
        return outcome;
    }
    let zone = zone_path();
    report.line(format!("  zone file {}", zone.to_string_lossy()));
    if let Ok(facts) = Facts::read(&zone) {
        report.facts(facts);
    }
    let asking = if arguments.asks {
        Asking::AsConfigured
    } else {
        Asking::Nobody
    };
    let outcome = explain::lookup(
        settings,
        &zone,
        &query,
        asking,
        &mut room,
        &mut canonical,
        |event| report.note(event),
    );
    report.candidates();
    report.end(outcome, &room, &canonical);
    outcome.plain()
}

/// Where this process finds its zone.
fn zone_path() -> CString {
    let directory = env::var_os("NSS_K8S_DIR").filter(|value| !value.is_empty());
    let mut path = directory.unwrap_or_else(|| OsString::from(DIRECTORY));
    path.push("/zone.v1");
    // What comes from the environment has no NUL byte.
    CString::new(path.into_vec()).unwrap_or_default()
}

/// Prints; a closed pipe is nobody's problem.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
