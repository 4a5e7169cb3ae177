//! What root in a pod can do to its directory: nothing, and it holds nobody up.

use crate::{
    chart::{self, RELEASE},
    cluster,
    load::Load,
    pods::{Image, Namespace, Pod},
};
use anyhow::{Result, ensure};
use nss_k8s_tests::process::until_within;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a shell of root tries, one line each; every one must fail.
const ATTEMPTS: &[&str] = &[
    "echo x >> /run/nss-k8s/zone.v1",
    "truncate -s 0 /run/nss-k8s/zone.v1",
    "rm -f /run/nss-k8s/zone.v1",
    "mv /run/nss-k8s/zone.v1 /run/nss-k8s/zone.old",
    "cp /bin/true /run/nss-k8s/lib/preload/libnss_k8s_preload.so",
    "ln -sfn /tmp /run/nss-k8s/lib/preload",
    "touch /run/nss-k8s/new",
    "mkdir /run/nss-k8s/new",
    "chmod 666 /run/nss-k8s/zone.v1",
    "chown 1000 /run/nss-k8s/zone.v1",
    "ln /run/nss-k8s/zone.v1 /tmp/zone.v1",
    "echo /tmp/evil.so > /etc/ld.so.preload",
    "rm -f /etc/ld.so.preload",
    "umount /run/nss-k8s",
    "mount -o remount,bind,rw /run/nss-k8s",
    "perl -e 'use Fcntl; sysopen(F, \"/run/nss-k8s/zone.v1\", O_RDWR) or exit 1'",
];

/// Takes whatever lock and lease it can get on every file, says which, and holds them.
const HOLD: &str = r#"
use Fcntl qw(:DEFAULT :flock);
$| = 1;
for my $path (glob("/run/nss-k8s/* /run/nss-k8s/lib/*/* /run/nss-k8s/etc/*")) {
    next unless -f $path;
    open(my $file, "<", $path) or next;
    push @held, $file;
    print "flock $path\n" if flock($file, LOCK_EX | LOCK_NB);
    # F_SETLEASE (1024) of F_RDLCK (0) on a descriptor of its own.
    open(my $leased, "<", $path) or next;
    push @held, $leased;
    print "lease $path\n" if fcntl($leased, 1024, 0);
}
print "held\n";
$SIG{IO} = "IGNORE";
sleep 1 while 1;
"#;

/// Longer than anything should take, shorter than the kernel's 45 s for the break of a lease.
const NO_LEASE: Duration = Duration::from_secs(40);

/// A pod as root cannot write, replace or truncate anything of its directory.
#[test]
fn root_in_a_pod_changes_nothing() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let namespace = Namespace::create(&cluster, "rooted", &labels())?;
    let pod = namespace.start(&as_root(&namespace, "root"))?;
    for attempt in ATTEMPTS {
        let status = format!("( {attempt} ) >/dev/null 2>&1 && echo done || echo refused");
        let said = pod.exec(&["sh", "-c", &status])?;
        ensure!(said.trim() == "refused", "{attempt}: {said}");
    }
    // The attempts are such that succeed where they may: else refusals would show nothing.
    let control = pod.exec(&[
        "sh",
        "-c",
        "echo x > /tmp/a && truncate -s 0 /tmp/a && mv /tmp/a /tmp/b && rm /tmp/b && echo fine",
    ])?;
    ensure!(control.trim() == "fine", "{control}");
    let answer = pod.exec(&["getent", "ahostsv4", "web"])?;
    ensure!(answer.starts_with(&namespace.web), "getent: {answer}");
    namespace.delete()
}

/// Locks and leases of a root pod delay no answer, no news and no restart.
#[test]
fn locks_and_leases_of_root_hold_nobody_up() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let namespace = Namespace::create(&cluster, "leases", &labels())?;
    let load = Load::cluster_names(&namespace, "load", Image::Debian)?;
    let holder = namespace.start(&as_root(&namespace, "holder"))?;
    let hold = [
        "exec",
        &holder.name,
        "-n",
        &holder.namespace,
        "--",
        "perl",
        "-e",
        HOLD,
    ];
    let log = cluster.scratch("leases")?.join("holder.log");
    let _holding =
        nss_k8s_tests::process::Process::start(&mut cluster.kubectl_command(&hold), log.clone())?;
    cluster.until("the holder to hold", || {
        Ok(std::fs::read_to_string(&log)?
            .contains("held")
            .then_some(()))
    })?;
    let held = std::fs::read_to_string(&log)?;
    println!("leases: a pod's root got\n{held}");
    ensure!(
        held.contains("flock /run/nss-k8s/zone.v1"),
        "it got no lock:\n{held}"
    );

    // News reach the other pods, and the holder's own.
    news(&namespace, &load.pod, "news")?;
    // So they do after a restart, which opens everything anew.
    let began = Instant::now();
    cluster.kubectl(&["-n", RELEASE, "rollout", "restart", "daemonset/nss-k8s"])?;
    chart::ready(&cluster)?;
    println!("leases: restarted in {:.1?}", began.elapsed());
    ensure!(
        began.elapsed() < NO_LEASE,
        "the restart took {:?}",
        began.elapsed()
    );
    news(&namespace, &load.pod, "more-news")?;
    let held = std::fs::read_to_string(&log)?;
    ensure!(!held.contains("error"), "the holder ended: {held}");
    load.expect_no_failure()?;
    holder.delete()?;
    namespace.delete()
}

/// Makes a service and waits until a pod's processes have it, for less than the break of a lease takes.
fn news(namespace: &Namespace<'_>, pod: &Pod<'_>, service: &str) -> Result<()> {
    let address = namespace.service(service)?;
    until_within(NO_LEASE, &format!("{service} in {}", pod.name), || {
        let answer = pod.exec(&["sh", "-c", &format!("getent ahostsv4 {service} || true")])?;
        Ok(answer.starts_with(&address).then_some(()))
    })
}

/// Root may run there.
fn labels() -> Value {
    json!({"pod-security.kubernetes.io/enforce": "baseline", "nss-k8s.io/inject": "enabled"})
}

/// A pod of root, with the rights that containers have by default.
fn as_root(namespace: &Namespace<'_>, name: &str) -> Value {
    let program = Image::Debian.program("load");
    let mut manifest = namespace.manifest(name, Image::Debian, &[&program, "wait"]);
    manifest["spec"]["securityContext"] = json!({"runAsUser": 0});
    manifest["spec"]["containers"][0]["securityContext"] = json!({});
    manifest
}
