//! What a walk comes to, by libc, resolv.conf and name.

use super::*;

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
