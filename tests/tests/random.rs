//! Made-up resolv.conf files and names, differentially: some hundreds of each, other ones on every
//! seed. `NSS_K8S_SEED=<number>` chooses the seed, which a failure names.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    differential::agree,
    pod::{CLUSTER_DNS, Recipe},
    session::Door,
    shop,
};

/// Labels and runs of labels that names are put together from; "" makes empty labels and dots at
/// either end.
const LABELS: &[&str] = &[
    "api",
    "web",
    "shop",
    "db",
    "svc",
    "cluster",
    "local",
    "postgres",
    "postgres-0",
    "",
    "x",
    "_http",
    "_tcp",
    "API",
    "10",
    "1",
    "www",
    "example",
    "com",
    "pod",
    "10-1-2-3",
    "bare",
    "kube-system",
    "kube-dns",
    "alias",
    "legacy",
    "svc.cluster.local",
    "shop.svc.cluster.local",
    "db.svc.cluster.local",
    "cluster.local",
    "dns",
    "dns-version",
    "-",
    "a_b",
    "any",
];
/// Entries of search lists.
const SUFFIXES: &[&str] = &[
    "shop.svc.cluster.local",
    "svc.cluster.local",
    "cluster.local",
    "db.svc.cluster.local",
    "example.com",
    "Bare.Svc.cluster.local",
    "local",
    "nowhere.svc.cluster.local",
    "api.shop.svc.cluster.local",
];
/// Keywords that take a search list, and some that only look like it.
const KEYWORDS: &[&str] = &[
    "search",
    "search",
    "domain",
    " search",
    "searching",
    "#search",
];
/// Values of ndots, good and bad.
const NDOTS: &[&str] = &["0", "1", "2", "3", "5", "7", "", "x", "-1", "015"];
/// Further options.
const OPTIONS: &[&str] = &[
    "",
    " timeout:1",
    " attempts:1",
    " edns0",
    " rotate",
    " single-request",
    " use-vc",
    " trust-ad",
    " no-tld-query",
    " no-reload",
];
/// What stands between two words, and after the last.
const BLANKS: &[&str] = &[" ", "\t", "  "];
const TRAILING: &[&str] = &["", "", " ", "\t"];

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

    /// A resolv.conf whose only nameserver is the cluster's.
    fn resolv_conf(&mut self) -> String {
        let mut lines = vec![format!(
            "nameserver{}{CLUSTER_DNS}{}",
            self.among(BLANKS),
            self.among(TRAILING)
        )];
        for _ in 0..self.below(4) {
            let count = self.below(5);
            let entries: Vec<String> = (0..count)
                .map(|_| format!("{}{}", self.among(SUFFIXES), self.among(&["", "", "."])))
                .collect();
            let (keyword, between) = (self.among(KEYWORDS), self.among(BLANKS));
            let list = entries.join(self.among(BLANKS));
            lines.push(format!("{keyword}{between}{list}{}", self.among(TRAILING)));
        }
        for _ in 0..self.below(3) {
            let (ndots, option) = (self.among(NDOTS), self.among(OPTIONS));
            lines.push(format!(
                "options ndots:{ndots}{option}{}",
                self.among(TRAILING)
            ));
        }
        let first = self.below(lines.len());
        lines.swap(0, first);
        format!("{}{}", lines.join("\n"), self.among(&["\n", "", "\n\n"]))
    }

    /// One call for a made-up name; the null pointer's word is left out.
    fn call(&mut self) -> Option<String> {
        let count = 1 + self.below(6);
        let mut labels: Vec<&str> = (0..count).map(|_| self.among(LABELS)).collect();
        if self.below(3) == 0 {
            labels.push("");
        }
        let name = labels.join(".");
        if name.is_empty() || name == "-" {
            return None;
        }
        if self.below(5) == 0 {
            return Some(format!("host2 {name} {}", self.among(&["INET", "INET6"])));
        }
        let service = self.among(&["-", "80"]);
        let family = self.among(&["UNSPEC", "INET", "INET6"]);
        let socktype = self.among(&["0", "1", "2"]);
        let flags = self.among(&["0", "2", "0x22", "0x28", "0x20"]);
        Some(format!(
            "gai {name} {service} {family} {socktype} 0 {flags}"
        ))
    }
}

#[test]
fn made_up_names_and_files_agree_with_libc() -> Result<()> {
    let seed: u64 = match std::env::var("NSS_K8S_SEED") {
        Ok(text) => text.parse().context("NSS_K8S_SEED")?,
        Err(_) => 1,
    };
    let mut choices = Choices(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let zone = shop::publish()?;
    let mut decided = 0;
    for _ in 0..16 {
        let resolv_conf = choices.resolv_conf();
        let calls: Vec<String> = (0..250).filter_map(|_| choices.call()).collect();
        let recipe = Recipe {
            resolv_conf: resolv_conf.clone(),
            ..Recipe::default()
        };
        decided += agree(&zone, recipe, &[], &Door::OURS, &calls, 0)
            .with_context(|| format!("seed {seed}, resolv.conf {resolv_conf:?}"))?;
    }
    // Some files pass whole; if all did, nothing was tested.
    ensure!(
        decided > 100,
        "seed {seed}: the zone decided {decided} calls only"
    );
    Ok(())
}
