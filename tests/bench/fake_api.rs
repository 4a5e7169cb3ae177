//! An API server of a made-up cluster, for benches and for trying things by hand.
//!
//! `fake-api KUBECONFIG SERVICES [RATE [headless]]` writes KUBECONFIG and serves SERVICES services of 15 endpoints until
//! its standard input ends. RATE things happen each second, with `headless` only to slices of headless services. Every
//! ten seconds it says what was asked of it.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program for the machine that runs it, never for another process"
)]

use anyhow::{Context, Result, bail};
use nss_k8s_tests::{
    fake_api::{FakeApi, Request},
    scale::{Changes, Cluster, Mix, Shape},
};
use std::{
    fs,
    io::{Read, stdin},
    process, thread,
    time::Duration,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (path, services, rate, mix) = match words.as_slice() {
        [path, services] => (path, services, "0", Mix::ALL),
        [path, services, rate] => (path, services, *rate, Mix::ALL),
        [path, services, rate, "headless"] => (path, services, *rate, Mix::HEADLESS),
        _ => bail!("usage: fake-api KUBECONFIG SERVICES [RATE [headless]]"),
    };
    let cluster = Cluster::new(Shape::of(services.parse().context("SERVICES")?));
    let rate: u32 = rate.parse().context("RATE")?;
    let api = FakeApi::start(cluster.clone())?;
    fs::write(path, api.kubeconfig())?;
    println!("{}", api.address());
    thread::spawn(|| {
        // Whatever comes, or nothing any more.
        let _ = stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    let mut changes = Changes::new(cluster, mix);
    loop {
        match rate {
            0 => thread::park_timeout(Duration::from_secs(10)),
            _ => api.happen(&mut changes, rate, Duration::from_secs(10), |_, _| {}),
        }
        let asked = api.asked();
        let count = |request| {
            asked
                .iter()
                .filter(|asked| asked.request == request)
                .count()
        };
        println!(
            "pages {}, streamed lists {}, watches {}, connections {}, bytes {}",
            count(Request::Page),
            count(Request::StreamedList),
            count(Request::Watch),
            api.connections(),
            api.sent()
        );
    }
}
