//! Walks with somebody to ask.

use super::*;
use crate::outcome::Said;

const ASKED: Outcome = Outcome::Asked(By::Upstream, Said::Answer(1));

fn script(entries: &[(&str, Asked)]) -> Script {
    entries
        .iter()
        .map(|(name, said)| ((*name).to_owned(), *said))
        .collect()
}

#[test]
fn an_external_name_costs_one_question() {
    let servers = script(&[("www.example.com", Asked::Answer { count: 1 })]);
    for libc in [Glibc, Musl] {
        let settings = settings(libc, KUBELETS);
        for name in ["www.example.com", "WWW.example.com", "www.example.com."] {
            let (outcome, canonical, asked) =
                look_up_asking(&settings, &shop(), &servers, name, Families::BOTH);
            assert_eq!(outcome, ASKED, "{libc:?} {name}");
            assert_eq!(canonical, name.trim_end_matches('.'));
            assert_eq!(asked, ["www.example.com"]);
        }
    }
}

#[test]
fn doubtful_names_are_asked_for_only_where_nothing_answers() {
    let below = "no.data.prod.svc.cluster.local";
    for libc in [Glibc, Musl] {
        let settings = settings(libc, KUBELETS);
        let look = |servers: &Script, name| {
            let (outcome, canonical, asked) =
                look_up_asking(&settings, &shop(), servers, name, Families::BOTH);
            (outcome, canonical, asked.join(" "))
        };
        // The zone's answer behind the doubt stands, and nobody is asked.
        let zone = (
            ANSWER,
            "db.data.svc.cluster.local".to_owned(),
            String::new(),
        );
        assert_eq!(look(&script(&[]), "db.data"), zone);
        let (outcome, _, asked) = look(&script(&[]), "no.data");
        assert_eq!(outcome, Outcome::Asked(By::Upstream, Said::NxDomain));
        assert_eq!(asked, format!("no.data {below}"));
        let (outcome, canonical, asked) =
            look(&script(&[(below, Asked::Answer { count: 1 })]), "no.data");
        assert_eq!((outcome, canonical.as_str()), (ASKED, below));
        assert_eq!(asked, format!("no.data {below}"));
    }
}

#[test]
fn a_miss_is_asked_for_in_its_place() {
    let servers = script(&[("missing.prod.svc.cluster.local", Asked::Answer { count: 1 })]);
    for libc in [Glibc, Musl] {
        let settings = settings(libc, KUBELETS);
        let look = |servers: &Script| {
            look_up_asking(&settings, &shop(), servers, "missing", Families::BOTH)
        };
        let (outcome, canonical, asked) = look(&servers);
        assert_eq!(
            (outcome, canonical.as_str(), asked.len()),
            (ASKED, "missing.prod.svc.cluster.local", 1)
        );
        // It is not there: the next candidate is in the zone.
        let (outcome, canonical, asked) = look(&script(&[]));
        assert_eq!(
            (outcome, canonical.as_str(), asked.len()),
            (ANSWER, "missing.svc.cluster.local", 1)
        );
    }
}

#[test]
fn an_alias_out_of_the_zone_is_followed() {
    for (said, expected) in [
        (Asked::Answer { count: 1 }, ASKED),
        // The name has a CNAME, so libc stops here, each in its way.
        (Asked::NxDomain, EXTERNAL),
        (Asked::ServFail, EXTERNAL),
        (Asked::NoReply, Outcome::Pass(Reason::NoReply)),
        (Asked::Room(100), Outcome::Room(100)),
    ] {
        let servers = script(&[("db.example", said)]);
        let (outcome, canonical, asked) = look_up_asking(
            &settings(Glibc, KUBELETS),
            &shop(),
            &servers,
            "out",
            Families::BOTH,
        );
        assert_eq!(
            (outcome, asked.join(" ").as_str()),
            (expected, "db.example")
        );
        assert!(outcome != ASKED || canonical == "db.example");
    }
}

#[test]
fn addresses_that_no_aaaa_asks_for_instead_are_not_told() {
    let servers = script(&[("www.example.com", Asked::Answer { count: 1 })]);
    let mut settings = settings(Glibc, &format!("{KUBELETS}options no-aaaa\n"));
    let look = |settings: &Settings, families| {
        let (outcome, _, asked) =
            look_up_asking(settings, &shop(), &servers, "www.example.com", families);
        (outcome, asked.len())
    };
    // Nobody knows whether this glibc heeds it.
    assert_eq!(look(&settings, Families::BOTH), (EXTERNAL, 0));
    let resolv_conf = settings.resolv_conf.as_mut().unwrap();
    resolv_conf.under_glibc(Some(36));
    assert_eq!(look(&settings, Families::BOTH), (ASKED, 1));
    let no_data = Outcome::Asked(By::Upstream, Said::NoData);
    assert_eq!(look(&settings, Families::V6), (no_data, 1));
}

#[test]
fn what_the_agent_refuses_is_libcs_to_ask() {
    let text = "search a.test\nnameserver 10.96.0.10\noptions ndots:5\n";
    let servers = script(&[("x.a.test", Asked::Refused)]);
    for (by, count) in [(By::Upstream, 2), (By::Forwarder, 1)] {
        let settings = settings(Glibc, text);
        let (outcome, _, asked) = look_up_by(by, &settings, &shop(), &servers, "x", Families::BOTH);
        assert_eq!(asked.len(), count, "{by:?}");
        let passes = outcome == Outcome::Pass(Reason::Refused);
        assert_eq!(passes, by == By::Forwarder, "{outcome:?}");
    }
}

#[test]
fn failures_count_as_each_libc_counts_them() {
    let text = "search a.test b.test\nnameserver 10.96.0.10\noptions ndots:5\n";
    let again = Outcome::Asked(By::Upstream, Said::Again);
    let no_data = Outcome::Asked(By::Upstream, Said::NoData);
    let nx = Outcome::Asked(By::Upstream, Said::NxDomain);
    let refused = Outcome::Pass(Reason::Refused);
    let yes = Asked::Answer { count: 1 };
    // x.a.test, x.b.test, x: glibc, musl
    let cases = [
        ([Asked::ServFail, yes, yes], ASKED, again),
        (
            [Asked::ServFail, Asked::NxDomain, Asked::NxDomain],
            again,
            again,
        ),
        (
            [Asked::ServFail, Asked::NoData, Asked::NxDomain],
            no_data,
            again,
        ),
        ([Asked::NoData, Asked::NxDomain, yes], ASKED, no_data),
        (
            [Asked::NxDomain, Asked::NxDomain, Asked::ServFail],
            again,
            again,
        ),
        ([Asked::Refused, yes, Asked::NxDomain], nx, refused),
        ([Asked::Refused, yes, yes], ASKED, refused),
        (
            [Asked::NxDomain, Asked::NxDomain, Asked::Refused],
            refused,
            refused,
        ),
        (
            [Asked::NoData, Asked::Refused, Asked::Refused],
            no_data,
            no_data,
        ),
    ];
    for (said, glibc, musl) in cases {
        let servers = script(&[("x.a.test", said[0]), ("x.b.test", said[1]), ("x", said[2])]);
        for (libc, expected) in [(Glibc, glibc), (Musl, musl)] {
            let settings = settings(libc, text);
            let (outcome, ..) = look_up_asking(&settings, &shop(), &servers, "x", Families::BOTH);
            assert_eq!(outcome, expected, "{libc:?} {said:?}");
        }
    }
}

#[test]
fn no_more_than_eight_names_are_asked_for() {
    let list: Vec<String> = (0..12).map(|number| format!("{number}.test")).collect();
    let text = format!(
        "search {}\nnameserver 10.96.0.10\noptions ndots:5\n",
        list.join(" ")
    );
    let (outcome, _, asked) = look_up_asking(
        &settings(Glibc, &text),
        &shop(),
        &script(&[]),
        "x",
        Families::BOTH,
    );
    assert_eq!((outcome, asked.len()), (EXTERNAL, 8));
}

#[test]
fn where_the_module_asks_the_shim_does_not() {
    let mut settings = settings(Glibc, KUBELETS);
    assert!(settings.asks_outside(Door::Shim) && settings.asks_outside(Door::Nss));
    settings.module_asks = true;
    assert!(!settings.asks_outside(Door::Shim) && settings.asks_outside(Door::Nss));
    settings.libc = Musl;
    assert!(settings.asks_outside(Door::Shim));
}

#[test]
fn failures_are_final_only_where_nobody_else_is_asked() {
    let mut settings = settings(Glibc, KUBELETS);
    let again = Outcome::Asked(By::Upstream, Said::Again);
    let no = Outcome::Asked(By::Upstream, Said::NxDomain);
    let pass = Outcome::Pass(Reason::Nsswitch);
    for (placement, of_again, of_no) in [
        (Placement::Certain, again, no),
        (Placement::NoIsFinal, pass, no),
        (Placement::AnswersOnly, pass, pass),
    ] {
        settings.placement = placement;
        assert_eq!(settings.place(Door::Shim, again), of_again, "{placement:?}");
        assert_eq!(settings.place(Door::Shim, no), of_no, "{placement:?}");
        assert_eq!(settings.place(Door::Nss, again), again);
        assert_eq!(settings.place(Door::Shim, ASKED), ASKED);
    }
}
