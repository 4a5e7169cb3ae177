//! The walk against the rules as facts about sequences, on made-up zones.

use super::*;
use proptest::prelude::*;

/// What becomes of one candidate.
enum Fate {
    /// The lookup ends.
    End(Outcome),
    /// SERVFAIL, REFUSED, NODATA, NXDOMAIN.
    Failed,
    Refused,
    Empty,
    Absent,
}

/// The libcs' rules as facts about sequences: the candidates in order, then what their answers
/// come to. Written apart from the walk, on `String`s. Without a script nobody is asked.
fn oracle(
    libc: Libc,
    ndots: usize,
    list: &[&str],
    (zone, script): (&Table, Option<&Script>),
    name: &str,
) -> Outcome {
    let dots = name.matches('.').count();
    let as_it_is = name.strip_suffix('.').unwrap_or(name).to_owned();
    let as_it_is_first = dots >= ndots || name.ends_with('.');
    let mut on_list = vec![];
    if !name.ends_with('.') && (libc == Glibc || dots < ndots) {
        on_list.extend(list.iter().map(|entry| format!("{name}.{entry}")));
    }
    let mut doubtful = false;
    for asks_doubts in [false, true] {
        let mut fate = |candidate: &str| fate(zone, script, candidate, asks_doubts, &mut doubtful);
        let end = match libc {
            Glibc => glibc(&mut fate, as_it_is_first, &as_it_is, &on_list),
            Musl => musl(&mut fate, as_it_is_first, &as_it_is, &on_list),
        };
        match end {
            Fate::End(outcome) => return outcome,
            _ if doubtful && script.is_none() => return Outcome::Pass(Reason::Ask(Ask::MissBelow)),
            _ if doubtful && !asks_doubts => {}
            Fate::Refused => return Outcome::Pass(Reason::Refused),
            Fate::Failed => return Outcome::Again,
            Fate::Empty => return Outcome::NoData,
            Fate::Absent => return Outcome::NxDomain,
        }
    }
    unreachable!("the second round ends")
}

/// What the zone and the servers say of one candidate.
fn fate(
    zone: &Table,
    script: Option<&Script>,
    candidate: &str,
    asks_doubts: bool,
    doubtful: &mut bool,
) -> Fate {
    let mut room = [Address::UNSPECIFIED; 2];
    let mut target = Name::EMPTY;
    let found = zone.addresses(candidate.as_bytes(), Families::BOTH, &mut room, &mut target);
    let (asks_for, why) = match found {
        Found::NoData => return Fate::Empty,
        Found::NxDomain => return Fate::Absent,
        Found::Answer { count } => return Fate::End(Outcome::Answer { count }),
        Found::Ask(Ask::MissBelow) if !asks_doubts => {
            *doubtful = true;
            return Fate::Absent;
        }
        Found::Ask(ask) => (candidate, Outcome::Pass(Reason::Ask(ask))),
        Found::Chase => ("db.example", Outcome::Chase),
        _ => (candidate, EXTERNAL),
    };
    let Some(script) = script else {
        return Fate::End(why);
    };
    match script.get(asks_for).copied().unwrap_or(Asked::NxDomain) {
        Asked::Answer { count } => Fate::End(Outcome::Answer { count }),
        Asked::NoReply => Fate::End(Outcome::Pass(Reason::NoReply)),
        Asked::Unusable => Fate::End(Outcome::Pass(Reason::Unusable)),
        Asked::Room(count) => Fate::End(Outcome::Room(count)),
        _ if why == Outcome::Chase => Fate::End(EXTERNAL),
        Asked::NoData => Fate::Empty,
        Asked::NxDomain => Fate::Absent,
        Asked::ServFail => Fate::Failed,
        Asked::Refused => Fate::Refused,
    }
}

/// glibc: everything is tried but what stands behind a refusal on the list; of the errors the one of
/// the name as it is wins if that came first, then "no data", then "failed", then the last.
fn glibc(
    fate: &mut dyn FnMut(&str) -> Fate,
    as_it_is_first: bool,
    as_it_is: &str,
    on_list: &[String],
) -> Fate {
    let mut first = None;
    if as_it_is_first {
        match fate(as_it_is) {
            end @ Fate::End(_) => return end,
            other => first = Some(other),
        }
    }
    let mut seen = vec![];
    for candidate in on_list {
        match fate(candidate) {
            end @ Fate::End(_) => return end,
            other => seen.push(other),
        }
        if matches!(seen.last(), Some(Fate::Refused)) {
            break;
        }
    }
    if let Some(first) = first {
        return first;
    }
    let last = match fate(as_it_is) {
        end @ Fate::End(_) => return end,
        last => last,
    };
    if seen.iter().any(|fate| matches!(fate, Fate::Empty)) {
        Fate::Empty
    } else if seen.iter().any(|fate| matches!(fate, Fate::Failed)) {
        Fate::Failed
    } else {
        last
    }
}

/// musl: the first that is not absent ends the list.
fn musl(
    fate: &mut dyn FnMut(&str) -> Fate,
    as_it_is_first: bool,
    as_it_is: &str,
    on_list: &[String],
) -> Fate {
    if !as_it_is_first {
        for candidate in on_list {
            match fate(candidate) {
                Fate::Absent => {}
                other => return other,
            }
        }
    }
    fate(as_it_is)
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
        let expected = oracle(libc, ndots, &list, (&zone, None), &name);
        prop_assert_eq!(outcome, expected, "{:?}", asked);
    }

    #[test]
    fn with_servers_to_ask_it_is_what_the_rules_say(
        says in proptest::collection::btree_map(
            "(a|b|a\\.b)(\\.x|\\.y)?\\.cluster\\.local",
            prop_oneof![
                Just(Says::Yes), Just(Says::NoData), Just(Says::Chase), Just(Says::Ask), Just(Says::AskBelow)
            ],
            0..8,
        ),
        script in proptest::collection::btree_map(
            "db\\.example|(a|b|a\\.b)(\\.x|\\.y)?(\\.cluster\\.local|\\.example|\\.test)?",
            prop_oneof![
                Just(Asked::Answer { count: 1 }), Just(Asked::NoData), Just(Asked::NxDomain),
                Just(Asked::ServFail), Just(Asked::ServFail), Just(Asked::Refused), Just(Asked::NoReply),
            ],
            0..12,
        ),
        list in proptest::collection::vec(
            prop_oneof![
                Just("x.cluster.local"), Just("cluster.local"), Just("example"), Just("test")
            ],
            0..5,
        ),
        name in "(a|b|a\\.b)(\\.x|\\.y)?(\\.cluster\\.local)?\\.?",
        ndots in 0_usize..6,
        is_musl in any::<bool>(),
    ) {
        let libc = if is_musl { Musl } else { Glibc };
        let zone = Table(says);
        let text =
            format!("search {}\nnameserver 10.96.0.10\noptions ndots:{ndots}\n", list.join(" "));
        let settings = settings(libc, &text);
        let (outcome, canonical, asked) =
            look_up_asking(&settings, &zone, &script, &name, Families::BOTH);
        let expected = oracle(libc, ndots, &list, (&zone, Some(&script)), &name);
        prop_assert_eq!(outcome.plain(), expected, "{:?}", asked);
        let is_answer = matches!(expected, Outcome::Answer { .. });
        prop_assert!(!is_answer || !canonical.is_empty());
        // Each candidate once, however often the walk was run; the list may name one twice.
        let mut distinct = list.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let mut once = asked.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert!(once.len() == asked.len() || distinct.len() < list.len(), "{:?}", asked);
        // Who was asked shows, unless the zone answered after all.
        let shows = matches!(outcome, Outcome::Asked(..) | Outcome::Pass(_) | Outcome::Answer { .. });
        prop_assert!(asked.is_empty() || shows, "{:?} {:?}", outcome, asked);
    }
}
