//! Made-up hosts files, differentially under every release of both libcs: addresses in their order,
//! canonical names and aliases. `NSS_K8S_SEED=<number>` chooses the seed, which a failure names.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    choices::Choices,
    libcs::Release,
    pod::{Pod, Recipe},
    probe::Libc,
    reply::Reply,
    session::{Door, Session},
    shop,
};

/// What stands first on a line.
const ADDRESSES: &[&str] = &[
    "10.0.0.1",
    "10.0.0.2",
    "192.0.2.7",
    "10.244.0.9",
    "127.0.0.1",
    "127.0.0.5",
    "169.254.1.1",
    "::1",
    "fd00::1",
    "fd00::2",
    "2001:db8::1",
    "fe80::1",
    "fe80::1%lo",
    "::ffff:10.0.0.9",
    "::10.0.0.9",
    "0.0.0.0",
    "::",
    "10.1",
    "010.0.0.1",
    "0x7f.1",
    "10.0.0.256",
    "1.2.3.4.5",
    "nonsense",
    "a",
];
/// Few, so that they meet.
const NAMES: &[&str] = &[
    "a",
    "b",
    "A",
    "B",
    "c",
    "a.b",
    "a.",
    "a_b",
    "api",
    "API",
    "localhost",
    "db-0",
    "-d",
    "caf\u{e9}",
    "10.0.0.1",
    "web.shop",
];
const BLANKS: &[&str] = &[" ", " ", "\t", "  ", " \t", "\u{b}", "\u{c}", "\r"];
const COMMENTS: &[&str] = &["", "", "", "", "#", " # a b", "#a", " #", "\t# 10.0.0.3 a"];
const ENDS: &[&str] = &["\n", "\n", "\n", "\n", "\r\n", " \n", "\n\n"];
const FRONTS: &[&str] = &["", "", "", "", "", "", " ", "\t", "#", "# "];

/// Files, names and calls.
struct Made(Choices);

impl Made {
    fn file(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.0.below(12) {
            text.push_str(self.0.among(FRONTS));
            text.push_str(self.0.among(ADDRESSES));
            for _ in 0..self.0.below(5) {
                text.push_str(self.0.among(BLANKS));
                text.push_str(self.0.among(NAMES));
            }
            // Now and then a line that musl reads in two pieces, cut somewhere near here.
            if self.0.below(8) == 0 {
                text.push(' ');
                let filler = 470 + self.0.below(50);
                text.extend(std::iter::repeat_n('x', filler));
                text.push(' ');
                text.push_str(self.0.among(ADDRESSES));
                text.push(' ');
                text.push_str(self.0.among(NAMES));
            }
            text.push_str(self.0.among(COMMENTS));
            text.push_str(self.0.among(ENDS));
        }
        if self.0.below(3) == 0 {
            // An address alone would not do: behind it musl 1.2.3 reads what its buffer held before.
            text.push_str("10.0.0.3 z");
        }
        text
    }

    fn call(&mut self) -> String {
        let name = self.0.among(NAMES).replace('\u{e9}', "%c3%a9");
        let family = self.0.among(&["UNSPEC", "INET", "INET6"]);
        match self.0.below(11) {
            0 | 1 => format!("host2 {name} {}", self.0.among(&["INET", "INET6"])),
            2 => format!("host2r {name} {} 8000", self.0.among(&["INET", "INET6"])),
            3 | 4 => format!("addr {}", self.address()),
            5 => format!("addrr {} 8000", self.address()),
            6 => format!(
                "name {} 80 {}",
                self.address(),
                self.0.among(&["0", "2", "8"])
            ),
            _ => {
                let flags = self.0.among(&["0", "0x2", "0x8", "0x18", "0x20", "0x22"]);
                format!(
                    "gai {name} - {family} {} 0 {flags}",
                    self.0.among(&["0", "1"])
                )
            }
        }
    }

    /// One that a file may have, in the form that the probe reads.
    fn address(&mut self) -> &'static str {
        loop {
            let address = self.0.among(ADDRESSES);
            if address.parse::<std::net::IpAddr>().is_ok() {
                return address;
            }
        }
    }
}

#[test]
fn made_up_hosts_files_agree_with_libc() -> Result<()> {
    let mut choices = Made(Choices::seeded(1)?);
    let seed = choices.0.seed;
    let zone = shop::publish()?;
    let pod = Pod::start(Recipe {
        nsswitch: "hosts: files dns\n".into(),
        zone: Some(zone.view()),
        dns: Some(shop::script()),
        ..Recipe::default()
    })?;
    let mut answered = 0;
    for _ in 0..24 {
        let hosts = choices.file();
        let multi = choices
            .0
            .among(&["multi on\n", "multi on\n", "multi off\n"]);
        let calls: Vec<_> = (0..60).map(|_| choices.call()).collect();
        pod.replace("hosts", &hosts)?;
        pod.replace("host.conf", multi)?;
        for release in Release::ALL {
            answered += compare(&pod, release, &calls)
                .with_context(|| format!("seed {seed}, {multi:?}, {hosts:?}"))?;
        }
    }
    ensure!(
        answered > 500,
        "seed {seed}: the file answered {answered} calls only"
    );
    Ok(())
}

/// Makes every call with the library and without; how many the hosts file answered in the process.
fn compare(pod: &Pod, release: Release, calls: &[String]) -> Result<usize> {
    let door = match release.libc() {
        Libc::Glibc => Door::ShimGlibc,
        Libc::Musl => Door::ShimMusl,
    };
    let guests = artifacts::guests()?;
    let mut ours = Session::start_under(pod, door, release, &guests, &[])?;
    let mut reference = Session::start_under(pod, door.reference(), release, &guests, &[])?;
    let mut answered = 0;
    for call in calls {
        let (got, expected) = (ours.ask(call)?, reference.ask(call)?);
        let is_ours = got.who() == "hosts";
        answered += usize::from(is_ours);
        // What DNS answers is shuffled; the file is not.
        let seen = if is_ours { exactly } else { Reply::shape };
        ensure!(
            seen(&got) == seen(&expected),
            "{}: {call} from {}:\n libc: {}\n ours: {}",
            release.as_str(),
            got.who(),
            seen(&expected),
            seen(&got)
        );
    }
    Ok(answered)
}

/// Everything, with the addresses in their order.
fn exactly(reply: &Reply) -> String {
    let entries: Vec<_> = reply.entries.iter().map(|entry| &entry.address).collect();
    format!("{} {entries:?} {:?}", reply.shape(), reply.addresses)
}
