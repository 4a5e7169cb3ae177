//! The walk over a table instead of a zone: what each libc's rules make of it. (With a real zone:
//! tests/zone.rs.)

use super::*;
use crate::resolv_conf::Surroundings;
use crate::sys::Libc::{Glibc, Musl};
use nss_k8s_zone::Ask;
use proptest::prelude::*;
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

#[test]
fn outcomes_by_libc() {
    // resolv.conf, name, families, glibc, musl
    let no_list = "nameserver 10.96.0.10\noptions ndots:5\n";
    let ndots_1 = KUBELETS.replace("ndots:5", "ndots:1");
    let ndots_0 = KUBELETS.replace("ndots:5", "ndots:0");
    let root = "search . prod.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:2\n";
    let tld = KUBELETS.replace("ndots:5", "ndots:5 no-tld-query");
    let foreign = KUBELETS.replace("10.96.0.10", "10.96.0.11");
    let second = format!("{KUBELETS}nameserver 1.1.1.1\n");
    let ask = Outcome::Pass(Reason::Ask(Ask::Miss));
    let below = Outcome::Pass(Reason::Ask(Ask::MissBelow));
    let foreign_pass = Outcome::Pass(Reason::Foreign);
    let malformed = Outcome::Pass(Reason::Malformed);
    let no_data = Outcome::NoData;
    let nx = Outcome::NxDomain;
    let both = Families::BOTH;
    let cases: &[(&str, &str, Families, Outcome, Outcome)] = &[
        (KUBELETS, "api", both, ANSWER, ANSWER),
        (
            KUBELETS,
            "dual",
            both,
            Outcome::Answer { count: 2 },
            Outcome::Answer { count: 2 },
        ),
        (KUBELETS, "dual", Families::V6, ANSWER, ANSWER),
        (KUBELETS, "API", both, ANSWER, ANSWER),
        (KUBELETS, "db.data.svc", both, ANSWER, ANSWER),
        (KUBELETS, "db.data", both, ANSWER, ANSWER),
        (KUBELETS, "api.prod.svc.cluster.local", both, ANSWER, ANSWER),
        (
            KUBELETS,
            "api.prod.svc.cluster.local.",
            both,
            ANSWER,
            ANSWER,
        ),
        // Relative only by its dot.
        (KUBELETS, "api.", both, EXTERNAL, EXTERNAL),
        (KUBELETS, "www.example.com", both, EXTERNAL, EXTERNAL),
        (KUBELETS, "www.example.com.", both, EXTERNAL, EXTERNAL),
        // No address of that family: glibc goes on, up to the name as it is.
        (KUBELETS, "api", Families::V6, EXTERNAL, no_data),
        (
            KUBELETS,
            "api.prod.svc.cluster.local",
            Families::V6,
            no_data,
            no_data,
        ),
        (
            KUBELETS,
            "api.prod.svc.cluster.local.",
            Families::V6,
            no_data,
            no_data,
        ),
        (KUBELETS, "empty", both, ANSWER, no_data),
        (KUBELETS, "nope.prod.svc.cluster.local", both, nx, nx),
        (KUBELETS, "nope.prod.svc.cluster.local.", both, nx, nx),
        (KUBELETS, "svc.cluster.local.", both, no_data, no_data),
        // The second candidate would answer, but the first is DNS's.
        (KUBELETS, "missing", both, ask, ask),
        // Below a service that is not there: no answer, but no end of the search either ...
        (KUBELETS, "db.data", both, ANSWER, ANSWER),
        // ... and no proof that the name is absent.
        (KUBELETS, "no.data", both, EXTERNAL, EXTERNAL),
        (
            KUBELETS,
            "no.data.prod.svc.cluster.local.",
            both,
            below,
            below,
        ),
        (
            KUBELETS,
            "no.data.prod.svc.cluster.local",
            both,
            below,
            below,
        ),
        (KUBELETS, "out", both, Outcome::Chase, Outcome::Chase),
        // As it is first; glibc tries the list even then.
        (&ndots_1, "db.data", both, EXTERNAL, EXTERNAL),
        (&ndots_1, "svc.cluster.local", both, no_data, no_data),
        (&ndots_1, "nope.svc.cluster.local", both, nx, nx),
        (&ndots_0, "api", both, EXTERNAL, EXTERNAL),
        // The root on the list stands for the name as it is; musl versions differ about it.
        (root, "api", both, EXTERNAL, malformed),
        (root, "two.prod", both, EXTERNAL, malformed),
        (no_list, "api", both, EXTERNAL, EXTERNAL),
        // A single label is not tried as it is, so that nothing is left to ask.
        (&tld, "nope", both, nx, EXTERNAL),
        (&tld, "nope.x", both, EXTERNAL, EXTERNAL),
        (&foreign, "api", both, foreign_pass, foreign_pass),
        (&second, "api", both, foreign_pass, foreign_pass),
    ];
    for (resolv_conf, name, families, glibc, musl) in cases {
        for (libc, expected) in [(Glibc, glibc), (Musl, musl)] {
            let (outcome, _, asked) =
                look_up(&settings(libc, resolv_conf), &shop(), name, *families);
            assert_eq!(outcome, *expected, "{libc:?} {name} {families:?} {asked:?}");
        }
    }
}

#[test]
fn a_name_with_enough_dots_is_searched_for_after_all_by_glibc() {
    let zone = Table(BTreeMap::from([
        (
            "svc.cluster.local.prod.svc.cluster.local".to_owned(),
            Says::Yes,
        ),
        ("svc.cluster.local".to_owned(), Says::NoData),
    ]));
    let text = KUBELETS.replace("ndots:5", "ndots:2");
    let (outcome, canonical, asked) = look_up(
        &settings(Glibc, &text),
        &zone,
        "svc.cluster.local",
        Families::BOTH,
    );
    assert_eq!(outcome, ANSWER);
    assert_eq!(canonical, "svc.cluster.local.prod.svc.cluster.local");
    assert_eq!(
        asked,
        [
            "svc.cluster.local",
            "svc.cluster.local.prod.svc.cluster.local"
        ]
    );
    let (outcome, _, asked) = look_up(
        &settings(Musl, &text),
        &zone,
        "svc.cluster.local",
        Families::BOTH,
    );
    assert_eq!(outcome, Outcome::NoData);
    assert_eq!(asked, ["svc.cluster.local"]);
}

#[test]
fn the_first_error_wins_on_glibc() {
    // As it is first: NXDOMAIN; on the list NODATA, which does not count any more.
    let zone = Table(BTreeMap::from([(
        "x.y.cluster.local.svc.cluster.local".to_owned(),
        Says::NoData,
    )]));
    let text = KUBELETS.replace("ndots:5", "ndots:2");
    let (outcome, _, asked) = look_up(
        &settings(Glibc, &text),
        &zone,
        "x.y.cluster.local",
        Families::BOTH,
    );
    assert_eq!(outcome, Outcome::NxDomain);
    assert_eq!(asked.len(), 4);
    // On the list first: NODATA is remembered over the final NXDOMAIN.
    let (outcome, _, asked) = look_up(
        &settings(Glibc, KUBELETS),
        &zone,
        "x.y.cluster.local",
        Families::BOTH,
    );
    assert_eq!(outcome, Outcome::NoData);
    assert_eq!(asked.len(), 4);
}

#[test]
fn canonical_names_are_as_typed_and_as_written() {
    let text = "search Prod.SVC.cluster.local.\nnameserver 10.96.0.10\noptions ndots:5\n";
    let (outcome, canonical, asked) =
        look_up(&settings(Glibc, text), &shop(), "Api", Families::BOTH);
    assert_eq!(
        (outcome, canonical.as_str()),
        (ANSWER, "Api.Prod.SVC.cluster.local")
    );
    assert_eq!(asked, ["api.prod.svc.cluster.local"]);
    let (_, canonical, _) = look_up(
        &settings(Glibc, text),
        &shop(),
        "API.prod.svc.cluster.local.",
        Families::BOTH,
    );
    assert_eq!(canonical, "API.prod.svc.cluster.local");
    let (outcome, canonical, _) =
        look_up(&settings(Glibc, KUBELETS), &shop(), "out", Families::BOTH);
    assert_eq!(
        (outcome, canonical.as_str()),
        (Outcome::Chase, "db.example")
    );
}

#[test]
fn what_stands_before_the_walk() {
    let look =
        |settings: &Settings, name: &str, families| look_up(settings, &shop(), name, families).0;
    let mut aliases = settings(Glibc, KUBELETS);
    aliases.host_aliases = true;
    assert_eq!(
        look(&aliases, "api", Families::BOTH),
        Outcome::Pass(Reason::HostAliases)
    );
    assert_eq!(look(&aliases, "db.data", Families::BOTH), ANSWER);
    let mut unplaced = settings(Glibc, KUBELETS);
    unplaced.placement = Placement::Unplaced;
    assert_eq!(
        look(&unplaced, "api", Families::BOTH),
        Outcome::Pass(Reason::Nsswitch)
    );
    unplaced.libc = Musl;
    assert_eq!(look(&unplaced, "api", Families::BOTH), ANSWER);
    let mut answers_only = settings(Glibc, KUBELETS);
    answers_only.placement = Placement::AnswersOnly;
    assert_eq!(look(&answers_only, "api", Families::BOTH), ANSWER);
    let absent = "nope.svc.cluster.local.";
    assert_eq!(
        look(&answers_only, absent, Families::BOTH),
        Outcome::Pass(Reason::Nsswitch)
    );
    let unclear = settings(Glibc, "options ndots:-3\n");
    assert_eq!(
        look(&unclear, "api", Families::BOTH),
        Outcome::Pass(Reason::ResolvConf)
    );
    let no_aaaa = settings(Glibc, &format!("{KUBELETS}options no-aaaa\n"));
    let pass = Outcome::Pass(Reason::ResolvConf);
    assert_eq!(look(&no_aaaa, "api", Families::BOTH), ANSWER);
    assert_eq!(look(&no_aaaa, "dual", Families::BOTH), pass);
    assert_eq!(look(&no_aaaa, "dual", Families::V4), ANSWER);
    assert_eq!(look(&no_aaaa, "dual", Families::V6), pass);
}

#[test]
fn under_nss_the_line_was_walked_already() {
    let mut unplaced = settings(Glibc, KUBELETS);
    unplaced.placement = Placement::Unplaced;
    let query = Query {
        name: b"api",
        families: Families::BOTH,
        door: Door::Nss,
    };
    let mut room = [Address::UNSPECIFIED; 1];
    let outcome = resolve(
        &unplaced,
        &shop(),
        &query,
        &mut room,
        &mut { Name::EMPTY },
        &mut |_| {},
    );
    assert_eq!((outcome, room), (ANSWER, [V4]));
}

#[test]
fn candidates_that_are_no_names_end_the_walk() {
    let long = format!("{}.{}", "a".repeat(60), "b".repeat(60));
    let entry = ["c".repeat(60), "d".repeat(60), "cluster.local".to_owned()].join(".");
    for entry in [
        entry.as_str(),
        "a..cluster.local",
        "..",
        "caf\u{e9}.cluster.local",
    ] {
        let text = format!("search {entry}\nnameserver 10.96.0.10\noptions ndots:5\n");
        for libc in [Glibc, Musl] {
            let (outcome, _, _) = look_up(&settings(libc, &text), &shop(), &long, Families::BOTH);
            assert_eq!(
                outcome,
                Outcome::Pass(Reason::Malformed),
                "{libc:?} {entry}"
            );
        }
    }
}

/// The libcs' rules as facts about sequences: the candidates in order, then what their answers
/// come to. Written apart from the walk, on `String`s.
fn oracle(libc: Libc, ndots: usize, list: &[&str], zone: &Table, name: &str) -> Outcome {
    let dots = name.matches('.').count();
    let as_it_is = name.strip_suffix('.').unwrap_or(name).to_owned();
    let mut candidates = vec![];
    let as_it_is_first = dots >= ndots || name.ends_with('.');
    if as_it_is_first {
        candidates.push(as_it_is.clone());
    }
    if !name.ends_with('.') && (libc == Glibc || dots < ndots) {
        candidates.extend(list.iter().map(|entry| format!("{name}.{entry}")));
    }
    if !as_it_is_first {
        candidates.push(as_it_is);
    }
    let mut noes = vec![];
    let mut doubt = None;
    for candidate in candidates {
        let mut room = [Address::UNSPECIFIED; 2];
        let mut target = Name::EMPTY;
        let found = zone.addresses(candidate.as_bytes(), Families::BOTH, &mut room, &mut target);
        match found {
            Found::NoData if libc == Musl => return doubt.unwrap_or(Outcome::NoData),
            Found::NoData => noes.push(Outcome::NoData),
            Found::NxDomain => noes.push(Outcome::NxDomain),
            Found::Answer { count } => return Outcome::Answer { count },
            Found::Chase => return Outcome::Chase,
            Found::Ask(ask @ Ask::MissBelow) => {
                doubt = Some(Outcome::Pass(Reason::Ask(ask)));
                noes.push(Outcome::NxDomain);
            }
            Found::Ask(ask) => return Outcome::Pass(Reason::Ask(ask)),
            _ => return EXTERNAL,
        }
    }
    if let Some(doubt) = doubt {
        doubt
    } else if as_it_is_first {
        noes[0]
    } else if noes.contains(&Outcome::NoData) {
        Outcome::NoData
    } else {
        Outcome::NxDomain
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_walk_is_what_the_rules_say(
        says in proptest::collection::btree_map(
            "(a|b|a\\.b)(\\.x|\\.y)?\\.cluster\\.local",
            prop_oneof![
                Just(Says::Yes), Just(Says::Dual), Just(Says::NoData), Just(Says::Chase), Just(Says::Ask), Just(Says::AskBelow)
            ],
            0..8,
        ),
        list in proptest::collection::vec(
            prop_oneof![
                Just("x.cluster.local"), Just("y.cluster.local"), Just("cluster.local"), Just("example")
            ],
            0..4,
        ),
        name in "(a|b|a\\.b)(\\.x|\\.y)?(\\.cluster\\.local)?\\.?",
        ndots in 0_usize..6,
        is_musl in any::<bool>(),
    ) {
        let libc = if is_musl { Musl } else { Glibc };
        let zone = Table(says);
        let text =
            format!("search {}\nnameserver 10.96.0.10\noptions ndots:{ndots}\n", list.join(" "));
        let (outcome, _, asked) = look_up(&settings(libc, &text), &zone, &name, Families::BOTH);
        prop_assert_eq!(outcome, oracle(libc, ndots, &list, &zone, &name), "{:?}", asked);
    }
}
