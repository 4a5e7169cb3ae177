//! Made-up hosts files, differentially under every release of both libcs: addresses in their order,
//! canonical names and aliases. `NSS_K8S_SEED=<number>` chooses the seed, which a failure names.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
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

/// A xorshift generator: the same seed gives the same cases everywhere.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }

    fn among<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn file(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(12) {
            text.push_str(self.among(FRONTS));
            text.push_str(self.among(ADDRESSES));
            for _ in 0..self.below(5) {
                text.push_str(self.among(BLANKS));
                text.push_str(self.among(NAMES));
            }
            // Now and then a line that musl reads in two pieces, cut somewhere near here.
            if self.below(8) == 0 {
                text.push(' ');
                let filler = 470 + self.below(50);
                text.extend(std::iter::repeat_n('x', filler));
                text.push(' ');
                text.push_str(self.among(ADDRESSES));
                text.push(' ');
                text.push_str(self.among(NAMES));
            }
            text.push_str(self.among(COMMENTS));
            text.push_str(self.among(ENDS));
        }
        if self.below(3) == 0 {
            // An address alone would not do: behind it musl 1.2.3 reads what its buffer held before.
            text.push_str("10.0.0.3 z");
        }
        text
    }

    fn call(&mut self) -> String {
        let name = self.among(NAMES).replace('\u{e9}', "%c3%a9");
        let family = self.among(&["UNSPEC", "INET", "INET6"]);
        match self.below(11) {
            0 | 1 => format!("host2 {name} {}", self.among(&["INET", "INET6"])),
            2 => format!("host2r {name} {} 8000", self.among(&["INET", "INET6"])),
            3 | 4 => format!("addr {}", self.address()),
            5 => format!("addrr {} 8000", self.address()),
            6 => format!(
                "name {} 80 {}",
                self.address(),
                self.among(&["0", "2", "8"])
            ),
            _ => {
                let flags = self.among(&["0", "0x2", "0x8", "0x18", "0x20", "0x22"]);
                format!(
                    "gai {name} - {family} {} 0 {flags}",
                    self.among(&["0", "1"])
                )
            }
        }
    }

    /// One that a file may have, in the form that the probe reads.
    fn address(&mut self) -> &'static str {
        loop {
            let address = self.among(ADDRESSES);
            if address.parse::<std::net::IpAddr>().is_ok() {
                return address;
            }
        }
    }
}

#[test]
fn made_up_hosts_files_agree_with_libc() -> Result<()> {
    let seed: u64 = match std::env::var("NSS_K8S_SEED") {
        Ok(text) => text.parse().context("NSS_K8S_SEED")?,
        Err(_) => 1,
    };
    let mut choices = Choices(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
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
        let multi = choices.among(&["multi on\n", "multi on\n", "multi off\n"]);
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
