//! What stands before the walk, and candidates that end it.

use super::*;

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
    // Where the version is known, the option is obeyed or means nothing.
    let under = |minor| {
        let mut settings = no_aaaa.clone();
        settings
            .resolv_conf
            .as_mut()
            .unwrap()
            .under_glibc(Some(minor));
        settings
    };
    assert_eq!(look(&under(36), "dual", Families::BOTH), ANSWER);
    assert_eq!(look(&under(36), "dual", Families::V6), EXTERNAL);
    let absolute = "dual.prod.svc.cluster.local.";
    assert_eq!(look(&under(36), absolute, Families::V6), Outcome::NoData);
    assert_eq!(look(&under(36), absent, Families::V6), Outcome::NxDomain);
    let both = Outcome::Answer { count: 2 };
    assert_eq!(look(&under(35), "dual", Families::BOTH), both);
    assert_eq!(look(&under(35), "dual", Families::V6), ANSWER);
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
        &mut Errands::new(),
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
