//! The walk over a table instead of a zone: what each libc's rules make of it. (With a real zone:
//! tests/zone.rs.)

mod asking;
mod before;
mod oracle;
mod outcomes;

use super::*;
use crate::nsswitch::Placement;
use crate::outcome::Door;
use crate::resolv_conf::Surroundings;
use crate::sys::Libc::{Glibc, Musl};
use nss_k8s_zone::Ask;
use std::collections::BTreeMap;

/// What the table says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// 10.0.0.1, owned by the name itself.
    Yes,
    /// fd00::1 and 10.0.0.1.
    Dual,
    NoData,
    Chase,
    Ask,
    AskBelow,
}

/// Names with what is said of them; others are NXDOMAIN under cluster.local, else outside.
struct Table(BTreeMap<String, Says>);

const V4: Address = Address::v4([10, 0, 0, 1]);
const V6: Address = Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const CLUSTER_DNS: Address = Address::v4([10, 96, 0, 10]);

impl ZoneView for Table {
    fn trusts_nameserver(&self, nameserver: &Address) -> bool {
        *nameserver == CLUSTER_DNS
    }

    fn addresses(
        &self,
        name: &[u8],
        families: Families,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Found {
        let name = core::str::from_utf8(name).unwrap();
        assert!(canonical.is_empty());
        let records: &[Address] = match self.0.get(name) {
            Some(Says::Yes) => &[V4],
            Some(Says::Dual) => &[V6, V4],
            Some(Says::NoData) => &[],
            Some(Says::Chase) => {
                assert!(canonical.push(b"db.example"));
                return Found::Chase;
            }
            Some(Says::Ask) => return Found::Ask(Ask::Miss),
            Some(Says::AskBelow) => return Found::Ask(Ask::MissBelow),
            None if format!(".{name}").ends_with(".cluster.local") => return Found::NxDomain,
            None => return Found::Outside,
        };
        let records = records
            .iter()
            .filter(|record| families.contains(record.family));
        match records
            .zip(room)
            .map(|(record, room)| *room = *record)
            .count()
        {
            0 => Found::NoData,
            count => Found::Answer { count },
        }
    }
}

const KUBELETS: &str = "search prod.svc.cluster.local svc.cluster.local cluster.local\n\
    nameserver 10.96.0.10\noptions ndots:5\n";

fn settings(libc: Libc, resolv_conf: &str) -> Settings {
    let surroundings = Surroundings {
        host_name: Some(b"shop-0"),
        ..Surroundings::default()
    };
    Settings {
        libc,
        resolv_conf: ResolvConf::parse(libc, resolv_conf.as_bytes(), &surroundings),
        placement: Placement::Certain,
        host_aliases: false,
        module_asks: false,
    }
}

fn shop() -> Table {
    let entries = [
        ("api.prod.svc.cluster.local", Says::Yes),
        ("dual.prod.svc.cluster.local", Says::Dual),
        ("prod.svc.cluster.local", Says::NoData),
        ("svc.cluster.local", Says::NoData),
        ("empty.prod.svc.cluster.local", Says::NoData),
        ("empty.svc.cluster.local", Says::Yes),
        ("out.prod.svc.cluster.local", Says::Chase),
        ("missing.prod.svc.cluster.local", Says::Ask),
        ("missing.svc.cluster.local", Says::Yes),
        ("two.prod.svc.cluster.local", Says::Yes),
        ("db.data.prod.svc.cluster.local", Says::AskBelow),
        ("db.data.svc.cluster.local", Says::Yes),
        ("no.data.prod.svc.cluster.local", Says::AskBelow),
    ];
    Table(
        entries
            .into_iter()
            .map(|(name, says)| (name.to_owned(), says))
            .collect(),
    )
}

/// What servers say of names; of others that they do not exist.
type Script = BTreeMap<String, Asked>;

/// One lookup with servers to ask: its outcome, the canonical name, and the names that servers were
/// asked for.
fn look_up_asking(
    settings: &Settings,
    zone: &Table,
    script: &Script,
    name: &str,
    families: Families,
) -> (Outcome, String, Vec<String>) {
    look_up_by(By::Upstream, settings, zone, script, name, families)
}

/// The same by somebody else.
fn look_up_by(
    by: By,
    settings: &Settings,
    zone: &Table,
    script: &Script,
    name: &str,
    families: Families,
) -> (Outcome, String, Vec<String>) {
    let mut room = [Address::UNSPECIFIED; 8];
    let mut canonical = Name::EMPTY;
    let mut asked = Vec::new();
    let query = Query {
        name: name.as_bytes(),
        families,
        door: Door::Nss,
    };
    let mut errands = Errands::new();
    errands.willing = true;
    let outcome = loop {
        let (room, trace) = (&mut room, &mut |_: Step<'_>| {});
        let outcome = resolve(
            settings,
            zone,
            &query,
            &mut errands,
            room,
            &mut canonical,
            trace,
        );
        let Some(wanted) = errands.wanted() else {
            break outcome;
        };
        let wanted = String::from_utf8(wanted.as_bytes().to_vec()).unwrap();
        let said = script.get(&wanted).copied().unwrap_or(Asked::NxDomain);
        asked.push(wanted);
        let lookup = Lookup {
            libc: settings.libc,
            resolv_conf: settings.resolv_conf.as_ref().unwrap(),
            question: &Question::new(&query).unwrap(),
        };
        canonical.clear();
        if let Some(end) = errands.learn(&lookup, by, said, &mut canonical) {
            break end;
        }
    };
    let canonical = String::from_utf8(canonical.as_bytes().to_vec()).unwrap();
    (outcome, canonical, asked)
}

/// One lookup: its outcome, the canonical name, and the candidates that were asked for.
fn look_up(
    settings: &Settings,
    zone: &Table,
    name: &str,
    families: Families,
) -> (Outcome, String, Vec<String>) {
    let mut room = [Address::UNSPECIFIED; 8];
    let mut canonical = Name::EMPTY;
    let mut asked = Vec::new();
    let query = Query {
        name: name.as_bytes(),
        families,
        door: Door::Shim,
    };
    let outcome = resolve(
        settings,
        zone,
        &query,
        &mut Errands::new(),
        &mut room,
        &mut canonical,
        &mut |step| {
            asked.push(String::from_utf8(step.candidate.to_vec()).unwrap());
        },
    );
    (
        outcome,
        String::from_utf8(canonical.as_bytes().to_vec()).unwrap(),
        asked,
    )
}

const ANSWER: Outcome = Outcome::Answer { count: 1 };
const EXTERNAL: Outcome = Outcome::Pass(Reason::External);
