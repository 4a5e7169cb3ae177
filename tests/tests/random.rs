//! Made-up files, names and calls of every function, differentially under every libc: hundreds of
//! each, other ones on every seed. `NSS_K8S_SEED=<number>` chooses the seed, which a failure names.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    choices::Choices,
    corpus::Room,
    differential::{Asks, Report, Rig},
    libcs::Release,
    pod::{CLUSTER_DNS, HOSTS_LINE},
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
/// What lines of the hosts file begin with, and what is looked up in reverse.
const ADDRESSES: &[&str] = &[
    "10.96.1.10",
    "10.96.1.11",
    "10.244.1.11",
    "192.0.2.13",
    "192.0.2.81",
    "127.0.0.1",
    "::1",
    "fd00:96::11",
    "2001:db8::9",
    "::ffff:10.96.1.10",
];
/// Flags of getaddrinfo.
const FLAGS: &[&str] = &[
    "0", "0", "2", "0x22", "0x28", "0x20", "0x8", "0x18", "0x4", "0x1", "0x400", "0x3a",
];
/// nsswitch.conf files.
const HOSTS_LINES: &[&str] = &[
    HOSTS_LINE,
    HOSTS_LINE,
    "hosts: files k8s dns\n",
    "hosts: files dns\n",
    "hosts: files mdns4_minimal [NOTFOUND=return] dns\n",
    "hosts: files ldap k8s [!UNAVAIL=return] dns\n",
    "passwd: files\n",
];
/// Assignments; nothing: none.
const ENVIRONMENTS: &[&str] = &[
    "",
    "",
    "",
    "LOCALDOMAIN=shop.svc.cluster.local",
    "LOCALDOMAIN=",
    "RES_OPTIONS=ndots:2",
    "RES_OPTIONS=no-aaaa",
];
/// What stands between two words, and after the last.
const BLANKS: &[&str] = &[" ", "\t", "  "];
const TRAILING: &[&str] = &["", "", " ", "\t"];

/// Files, names and calls.
struct Made(Choices);

impl Made {
    /// A resolv.conf whose only nameserver is the cluster's.
    fn resolv_conf(&mut self) -> String {
        let mut lines = vec![format!(
            "nameserver{}{CLUSTER_DNS}{}",
            self.0.among(BLANKS),
            self.0.among(TRAILING)
        )];
        for _ in 0..self.0.below(4) {
            let count = self.0.below(5);
            let entries: Vec<String> = (0..count)
                .map(|_| format!("{}{}", self.0.among(SUFFIXES), self.0.among(&["", "", "."])))
                .collect();
            let (keyword, between) = (self.0.among(KEYWORDS), self.0.among(BLANKS));
            let list = entries.join(self.0.among(BLANKS));
            lines.push(format!(
                "{keyword}{between}{list}{}",
                self.0.among(TRAILING)
            ));
        }
        for _ in 0..self.0.below(3) {
            let (ndots, option) = (self.0.among(NDOTS), self.0.among(OPTIONS));
            lines.push(format!(
                "options ndots:{ndots}{option}{}",
                self.0.among(TRAILING)
            ));
        }
        let first = self.0.below(lines.len());
        lines.swap(0, first);
        format!("{}{}", lines.join("\n"), self.0.among(&["\n", "", "\n\n"]))
    }

    /// A hosts file of some lines, good and bad.
    fn hosts(&mut self) -> String {
        let mut lines = vec!["127.0.0.1 localhost".to_owned()];
        for _ in 0..self.0.below(7) {
            let count = 1 + self.0.below(3);
            let names: Vec<String> = (0..count).map(|_| self.name(3)).collect();
            let address = self.0.among(ADDRESSES);
            let (before, between) = (self.0.among(&["", "", " "]), self.0.among(BLANKS));
            let comment = self.0.among(&["", "", " # api", "#web"]);
            lines.push(format!(
                "{before}{address}{between}{}{comment}",
                names.join(" ")
            ));
        }
        // Of a last line without its end glibc's gethostbyaddr_r has been seen to return more bytes
        // than the file has.
        format!("{}\n", lines.join("\n"))
    }

    /// A name of at most so many runs of labels.
    fn name(&mut self, most: usize) -> String {
        let count = 1 + self.0.below(most);
        let mut labels: Vec<&str> = (0..count).map(|_| self.0.among(LABELS)).collect();
        if self.0.below(3) == 0 {
            labels.push("");
        }
        labels.join(".")
    }

    /// One call of any function; the null pointer's word is left out.
    fn call(&mut self) -> Option<String> {
        let address = self.0.among(ADDRESSES);
        let name = self.name(6);
        if name.is_empty() || name == "-" {
            return None;
        }
        let family = self.0.among(&["UNSPEC", "INET", "INET6"]);
        let either = self.0.among(&["INET", "INET6"]);
        let size = self
            .0
            .among(&["0", "32", "64", "100", "200", "1024", "9000"]);
        let flags = self.0.among(FLAGS);
        let service = self.0.among(&["-", "-", "80", "http", "nosuch", "65536"]);
        let kind = self
            .0
            .among(&["0 0", "1 0", "2 0", "3 0", "1 6", "0 17", "5 0", "1 17"]);
        // What the model has records of.
        let question = self.0.among(&["1", "28"]);
        Some(match self.0.below(18) {
            0 => format!("host {name}"),
            1 => format!("host2 {name} {either}"),
            2 => format!("hostr {name} {size}"),
            3 => format!("host2r {name} {either} {size}"),
            4 => format!("addr {address}"),
            5 => format!("addrr {address} {size}"),
            6 => format!(
                "name {address} 80 {}",
                self.0.among(&["0", "1", "2", "8", "0x10"])
            ),
            7 => format!("gai {name} {service} null"),
            // musl 1.2.3 makes a broken query of an empty label here, and waits for its answer.
            8 if !name.contains("..") => format!("res_query {name} {question} 4096"),
            9 if !name.contains("..") => format!("res_search {name} {question} 4096"),
            _ => format!("gai {name} {service} {family} {kind} {flags}"),
        })
    }
}

#[test]
fn made_up_names_files_and_calls_agree_with_libc() -> Result<()> {
    let (seed, report) = agree(1, Asks::Nobody, 16, 200)?;
    for release in Release::ALL {
        let count = report.compared.get(&release).copied().unwrap_or(0);
        ensure!(
            count >= 300,
            "seed {seed}: {release:?} compared {count} calls"
        );
    }
    // Some files pass whole; if all did, nothing was tested.
    report.require(100)
}

/// The same in processes that ask for names outside the zone themselves.
#[test]
fn made_up_calls_agree_with_libc_where_processes_ask() -> Result<()> {
    let (seed, report) = agree(2, Asks::Pod, 8, 120)?;
    report.require(20)?;
    for door in Door::OURS {
        let asked = report.asked.get(&door).copied().unwrap_or(0);
        ensure!(asked >= 20, "seed {seed}: {door:?} asked {asked} times");
    }
    Ok(())
}

/// Compares so many rooms of so many calls, while `asks`; the seed, and what came of it.
fn agree(usual: u64, asks: Asks, rooms: usize, calls: usize) -> Result<(u64, Report)> {
    let mut choices = Made(Choices::seeded(usual)?);
    let seed = choices.0.seed;
    let mut made = Vec::new();
    for number in 0..rooms {
        let calls: Vec<String> = (0..calls).filter_map(|_| choices.call()).collect();
        let (resolv_conf, hosts) = (choices.resolv_conf(), choices.hosts());
        let nsswitch = choices.0.among(HOSTS_LINES);
        let environment = choices.0.among(ENVIRONMENTS);
        let title = format!(
            "seed {seed}, room {number}: resolv.conf {resolv_conf:?}, hosts {hosts:?}, \
             {nsswitch:?}, {environment:?}"
        );
        let mut room = Room::made_up(&title, calls);
        room.set("resolv.conf", &resolv_conf);
        room.set("hosts", &hosts);
        // Where the usual line stands, each door has the line under which it asks.
        if asks == Asks::Nobody || nsswitch != HOSTS_LINE {
            room.set("nsswitch", nsswitch);
        }
        if !environment.is_empty() {
            room.set("environment", environment);
        }
        made.push(room);
    }
    let zone = shop::publish_asking(asks)?;
    // The model answers whatever nobody could record.
    let rig = Rig {
        reference: shop::world(),
        asks,
        ..Rig::new(&zone)?
    };
    Ok((seed, rig.run(&made)?))
}
