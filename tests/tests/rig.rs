//! The differential rig itself: that it compares what it says, against what is known to be true,
//! and that its list of differences is the one that users read.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    corpus::{self, Corpus, Room},
    differences,
    differential::{Asks, Rig},
    libcs::Release,
    recording::{Recording, Recordings, query},
    session::Door,
    shop,
    wire::{self, kind},
};
use std::{collections::BTreeMap, fs};

/// The releases are the ones that they are taken for.
#[test]
fn every_libc_is_the_one_it_is_called() -> Result<()> {
    for release in Release::ALL {
        let said = release.says()?;
        ensure!(
            said.contains(&format!("ersion {}", release.as_str())),
            "{release:?} says {said}"
        );
    }
    Ok(())
}

/// Each libc has hundreds of cases (`--nocapture` shows how many), and each case names who answers at
/// each of its doors.
#[test]
fn the_corpus_is_large_and_complete() -> Result<()> {
    let mut cases = BTreeMap::<Release, usize>::new();
    for file in corpus::FILES {
        let corpus = Corpus::load(&artifacts::fixture("corpus").join(file))?;
        for room in &corpus.rooms {
            for case in room.cases() {
                ensure!(case.who.is_some(), "{file}: {}: {}", room.title, case.call);
                for release in room.releases() {
                    for (door, givers) in Door::OURS.iter().zip(case.who.iter().flatten()) {
                        ensure!(
                            door.libc() != release.libc() || givers.contains_key(&release),
                            "{file}: {}: {}: nobody for {door:?}",
                            room.title,
                            case.call
                        );
                    }
                    *cases.entry(release).or_default() += 1;
                }
            }
        }
    }
    for release in Release::ALL {
        let count = cases.get(&release).copied().unwrap_or(0);
        println!("{release:?}: {count} cases");
        ensure!(count >= 300, "{release:?}: {count} cases");
    }
    Ok(())
}

/// The list of known differences is that of docs/COMPATIBILITY.md, and each still occurs.
#[test]
fn every_known_difference_is_documented_and_occurs() -> Result<()> {
    let text = fs::read_to_string(artifacts::repository().join("docs/COMPATIBILITY.md"))?;
    let (_, table) = text
        .split_once("## Differences from libc\n")
        .context("no chapter")?;
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut documented: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let mut known: Vec<&str> = differences::ALL.iter().map(|one| one.id).collect();
    documented.sort_unstable();
    known.sort_unstable();
    ensure!(documented == known, "{documented:?} is not {known:?}");

    for asks in [Asks::Nobody, Asks::Pod] {
        let here = || differences::ALL.iter().filter(|one| one.asks == asks);
        let rooms: Vec<Room> = here()
            .map(|one| {
                let mut room = Room::made_up(one.id, [one.example.to_owned()]);
                if let Some((name, value)) = one.setting {
                    room.set(name, value);
                }
                room
            })
            .collect();
        let zone = shop::publish_asking(asks)?;
        let rig = Rig {
            asks,
            ..Rig::new(&zone)?
        };
        let report = rig.run(&rooms)?;
        report.require(0)?;
        for one in here() {
            ensure!(
                report.excused.contains_key(one.id),
                "{} did not occur",
                one.id
            );
        }
    }
    Ok(())
}

/// What the model of the cluster's DNS, which answers made-up cases, says otherwise than CoreDNS:
/// the names, the types, and why.
const MODEL_DIFFERS: &[(&str, &[u16], &str)] = &[
    ("dns.cluster.local", ADDRESSES, RFC_8020),
    ("dns-version.cluster.local", ADDRESSES, RFC_8020),
    ("_tcp.web.shop.svc.cluster.local", ADDRESSES, RFC_8020),
    (
        "x.10-1-2-3.shop.pod.cluster.local",
        ADDRESSES,
        "CoreDNS ignores labels left of a pod's name; the model has no such name, as our zone",
    ),
];
const RFC_8020: &str = "names lie below it, so it exists, says the model as our zone does";
const ADDRESSES: &[u16] = &[kind::A, kind::AAAA];

/// The model and the recordings say the same to every recorded question for what the model holds:
/// addresses, and the pointers of reverse names.
#[test]
fn the_model_says_what_coredns_said() -> Result<()> {
    let model = shop::script();
    let mut differences = Vec::new();
    let mut same = 0;
    let recordings = Recordings::load()?;
    for recorded in recordings.iter() {
        let reverse = recorded.name.ends_with(".arpa");
        let held = match recorded.kind {
            kind::A | kind::AAAA => true,
            kind::PTR => reverse,
            _ => false,
        };
        if !held {
            continue;
        }
        let excused = MODEL_DIFFERS
            .iter()
            .any(|(name, kinds, _)| *name == recorded.name && kinds.contains(&recorded.kind));
        let question = wire::parse(&query(1, &recorded.name, recorded.kind))?;
        let message = model.answer(&question, 65_535).context("no answer")?;
        let said = Recording::from_message(&message)?;
        let equal = said.code == recorded.code && owners(&said) == owners(recorded);
        ensure!(!(equal && excused), "{}: no difference", recorded.name);
        same += usize::from(equal);
        if !equal && !excused {
            differences.push(format!("CoreDNS: {recorded}\n  model: {said}"));
        }
    }
    differences.sort_unstable();
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    ensure!(same > 500, "only {same} were compared");
    Ok(())
}

/// The answers, without their times to live.
fn owners(recording: &Recording) -> Vec<(&str, u16, &str)> {
    let answers = recording.sections[0].iter();
    let parts = answers.map(|one| (one.owner.as_str(), one.kind, one.data.as_str()));
    let mut all: Vec<_> = parts.collect();
    all.sort_unstable();
    all
}
