//! Unmodified programs in a pod without any DNS server: what they print came out of the zone.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

mod files;
mod processes;
mod start;

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, http,
    pod::{Pod, Recipe},
    session::Door,
    shop,
};
use std::process::Output;

/// The two doors that a glibc program can come through.
const GLIBC_DOORS: [Door; 2] = [Door::Nss, Door::ShimGlibc];

/// Runs a program behind a door, as root or as another user.
fn output(pod: &Pod, door: Door, user: Option<u32>, line: &[&str]) -> Result<Output> {
    let [program, arguments @ ..] = line else {
        anyhow::bail!("no program")
    };
    let mut command = match user {
        Some(user) => pod.command_as(program, user),
        None => pod.command(program),
    };
    door.open(&mut command, &artifacts::guests()?);
    command.args(arguments);
    command.output().with_context(|| (*program).to_owned())
}

/// Requires what it prints, and that a name was answered from the zone by a note of ours.
fn require(output: &Output, wanted: &str, from_zone: bool, what: &str) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stdout);
    let notes = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && text.contains(wanted) && notes.contains("-> zone") == from_zone,
        "{what}: {}, expected {wanted}, printed\n{text}{notes}",
        output.status
    );
    Ok(())
}

#[test]
fn getent_python_and_curl_resolve() -> Result<()> {
    let zone = shop::publish()?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        addresses: vec!["10.96.1.10".into(), "fd00:96::11".into()],
        ..Recipe::default()
    })?;
    let _api = http::Server::start(pod.namespaces(), "10.96.1.10:80", "hello from api\n")?;
    let _web = http::Server::start(pod.namespaces(), "[fd00:96::11]:8080", "hello from web\n")?;
    let python = "import socket\n\
                  for name in 'api', 'postgres-0.postgres.db': print(socket.gethostbyname(name))\n\
                  print(sorted({a[4][0] for a in socket.getaddrinfo('web', 80)}))";
    let lines: [(&[&str], &str); 6] = [
        (
            &["getent", "ahosts", "api"],
            "10.96.1.10      STREAM api.shop.svc.cluster.local",
        ),
        (
            &["getent", "ahostsv6", "web"],
            "fd00:96::11     STREAM web.shop.svc.cluster.local",
        ),
        (
            &["getent", "hosts", "six"],
            "fd00:96::12     six.shop.svc.cluster.local",
        ),
        (
            &["/usr/bin/python3", "-c", python],
            "10.96.1.10\n10.244.1.10\n['10.96.1.11', 'fd00:96::11']",
        ),
        (&["curl", "-sS", "http://api/"], "hello from api"),
        (
            &["curl", "-sS", "-6", "http://web.shop:8080/"],
            "hello from web",
        ),
    ];
    for door in GLIBC_DOORS {
        for (line, wanted) in lines {
            for user in [None, Some(1234)] {
                let what = format!("{door:?} {line:?} as {user:?}");
                require(&output(&pod, door, user, line)?, wanted, true, &what)?;
            }
        }
    }
    Ok(())
}
