//! `nss-k8s status`: how the published zone is, from its file alone.

use crate::{cli::StatusArgs, publish::unix_now, switch::Switch};
use anyhow::{Context, Result};
use nss_k8s_zone::{Address, Dump, External, Family, MissPolicy, Now, PodMode, State};
use serde::Serialize;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::ExitCode,
};

/// Everything that is said; the fields of the JSON form.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    /// FNV-1a of the view's name: how `nss-k8s-explain` calls it inside a pod.
    view: String,
    state: &'static str,
    /// Processes are served.
    live: bool,
    apex: String,
    /// Seconds.
    alive_age: u64,
    /// Seconds; `None`: never.
    synced_age: Option<u64>,
    /// Seconds since the last change.
    updated_age: Option<u64>,
    serial: u64,
    epoch: u64,
    namespaces: u64,
    services: u64,
    slices: u64,
    bytes: u64,
    used_bytes: u64,
    incomplete: bool,
    /// `nss-k8s disable` is in force.
    switched_off: bool,
    config: ConfigReport,
}

/// The configuration that processes see.
#[derive(Debug, Serialize)]
struct ConfigReport {
    cluster_dns: Vec<String>,
    accept_any_nameserver: bool,
    miss_policy: &'static str,
    pods: &'static str,
    endpoint_slices: &'static str,
    ptr_authoritative: bool,
    ttl: u32,
    stale_after: u32,
    dead_after: u32,
    disabled_permille: u16,
    refused_builds: Vec<u64>,
    excepted_suffixes: Vec<String>,
    /// Who asks for names outside the zone.
    external: &'static str,
    /// Answers for such names lie beside the zone.
    holds_external: bool,
    /// Libc answers; ours is only compared.
    shadow: bool,
    /// Rewritten, blocked and guarded names.
    rules: usize,
}

/// Prints the report; failure when processes are not served.
pub fn status(args: &StatusArgs) -> Result<ExitCode> {
    let path = args.view.zone_path();
    let dump = Dump::open(&path)?;
    let switched_off = Switch::new(&args.view.place.dir).is_off();
    let report = report(path.display().to_string(), &dump, switched_off, unix_now());
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).context("JSON")?);
    } else {
        print(&report);
    }
    Ok(if report.live {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Gathers the report.
fn report(file: String, dump: &Dump, switched_off: bool, now: Now) -> Report {
    let age = |then: Now| (then.0 != 0).then(|| now.0.saturating_sub(then.0));
    let config = dump.config();
    let figures = dump.statistics();
    let alive_age = now.0.saturating_sub(dump.alive().0);
    let live = dump.state() == State::Live && alive_age <= u64::from(config.dead_after);
    Report {
        file,
        view: format!("{:08x}", dump.view()),
        state: state_word(dump.state()),
        live,
        apex: dump.apex().to_owned(),
        alive_age,
        synced_age: age(dump.synced()),
        updated_age: age(dump.updated()),
        serial: figures.serial,
        epoch: figures.epoch,
        namespaces: figures.namespaces,
        services: figures.services,
        slices: figures.slices,
        bytes: figures.bytes,
        used_bytes: figures.used_bytes,
        incomplete: figures.incomplete,
        switched_off,
        config: ConfigReport {
            cluster_dns: config
                .cluster_dns
                .iter()
                .map(|a| ip(a).to_string())
                .collect(),
            accept_any_nameserver: config.accept_any_nameserver,
            miss_policy: match config.miss_policy {
                MissPolicy::Ask => "ask",
                MissPolicy::NxDomain => "nxdomain",
            },
            pods: match config.pod_mode {
                PodMode::Disabled => "disabled",
                PodMode::Insecure => "insecure",
            },
            endpoint_slices: if config.endpoints_held {
                "all"
            } else {
                "headless"
            },
            ptr_authoritative: config.ptr_authoritative,
            ttl: config.ttl,
            stale_after: config.stale_after,
            dead_after: config.dead_after,
            disabled_permille: config.disabled_permille,
            refused_builds: config.refused_builds.clone(),
            excepted_suffixes: config.excepted_suffixes.clone(),
            external: match config.external {
                External::Off => "off",
                External::Pod => "pod",
                External::Node => "node",
            },
            holds_external: config.holds_external,
            shadow: config.shadow,
            rules: config.rules.len(),
        },
    }
}

/// The report as text.
fn print(report: &Report) {
    let age = |age: Option<u64>| age.map_or_else(|| "never".to_owned(), |s| format!("{s} s ago"));
    let config = &report.config;
    println!("zone      {} ({})", report.apex, report.file);
    println!("view      {}", report.view);
    println!(
        "state     {}{}",
        report.state,
        if report.live { "" } else { ": processes pass" }
    );
    if report.switched_off {
        println!("switch    off (nss-k8s disable)");
    }
    println!("alive     {}", age(Some(report.alive_age)));
    println!("synced    {}", age(report.synced_age));
    println!("changed   {}", age(report.updated_age));
    println!("serial    {} (epoch {})", report.serial, report.epoch);
    println!(
        "holds     {} namespaces, {} services, {} endpoint slices{}",
        report.namespaces,
        report.services,
        report.slices,
        if report.incomplete {
            " (index incomplete: misses ask DNS)"
        } else {
            ""
        }
    );
    println!(
        "size      {} bytes, {} in use",
        report.bytes, report.used_bytes
    );
    let servers = match config.cluster_dns.as_slice() {
        _ if config.accept_any_nameserver => "any name server is accepted".to_owned(),
        [] => "none: every process passes".to_owned(),
        servers => servers.join(" "),
    };
    println!("servers   {servers}");
    println!(
        "config    miss-policy={} pods={} endpoint-slices={} ttl={} stale-after={} dead-after={}{}{}",
        config.miss_policy,
        config.pods,
        config.endpoint_slices,
        config.ttl,
        config.stale_after,
        config.dead_after,
        if config.ptr_authoritative {
            " ptr-authoritative"
        } else {
            ""
        },
        if config.disabled_permille == 0 {
            String::new()
        } else {
            format!(" disabled-permille={}", config.disabled_permille)
        },
    );
    println!(
        "outside   external={}{}{}",
        config.external,
        if config.holds_external {
            " held-answers"
        } else {
            ""
        },
        match config.rules {
            0 => String::new(),
            rules => format!(" rules={rules}"),
        },
    );
    if config.shadow {
        println!("shadow    libc answers; what the zone says is compared and counted");
    }
    for suffix in &config.excepted_suffixes {
        println!("except    {suffix}");
    }
}

/// The word for a state.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Init => "init",
        State::Syncing => "syncing",
        State::Live => "live",
        State::Superseded => "superseded",
        State::Disabled => "disabled",
    }
}

/// A zone's address as the standard library's.
pub fn ip(address: &Address) -> IpAddr {
    let [a, b, c, d, ..] = address.octets;
    match address.family {
        Family::V4 => Ipv4Addr::new(a, b, c, d).into(),
        Family::V6 => Ipv6Addr::from(address.octets).into(),
    }
}
