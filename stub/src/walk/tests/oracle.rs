//! The walk against the rules as facts about sequences, on made-up zones.

use super::*;
use proptest::prelude::*;

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
