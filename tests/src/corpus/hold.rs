//! Runs the files of the corpus, and holds what comes of it to them.

use super::{Corpus, Line, Room};
use crate::{
    artifacts,
    differential::{Asks, Report, Rig},
    node, recording,
    session::Door,
    shop, wire,
};
use anyhow::{Context, Result, ensure};
use std::env;

/// Runs the file of that name in `corpus/`: every case must come out as libc has it, from the
/// giver that stands there; so many of each door's from the zone.
///
/// With `NSS_K8S_RECORD=1` the file is written anew with who answers now (differences fail all the
/// same), and [`recording::QUESTIONS`] gets what libc asked the cluster's DNS.
pub fn hold(file: &str, decided: usize) -> Result<Report> {
    let report = run(file, Asks::Nobody)?;
    report.require(decided).with_context(|| recipe_of(file))?;
    Ok(report)
}

/// Runs what libc has to ask for, in the file of that name in `corpus/`, where processes ask
/// themselves: every case must come out as libc has it, from the giver that stands there; so many
/// at each door by our asking.
pub fn hold_asking(file: &str, asked: usize) -> Result<Report> {
    let report = run(file, Asks::Pod)?;
    report.require(0).with_context(|| recipe_of(file))?;
    for door in Door::OURS {
        let own = report.asked.get(&door).copied().unwrap_or(0);
        ensure!(
            own >= asked,
            "{file}: {door:?}: only {own} were asked by us"
        );
    }
    Ok(report)
}

/// The same where the agent asks, a server with the same script: only the rooms of these titles.
pub fn hold_node(file: &str, titles: &[&str], asked: usize) -> Result<Report> {
    let mut rooms = Corpus::load(&artifacts::fixture("corpus").join(file))?.rooms;
    rooms.retain(|room| titles.contains(&&*room.title));
    ensure!(rooms.len() == titles.len(), "{file}: no such room");
    rooms.iter_mut().for_each(Room::keep_open);
    // A refusal to one family is no answer of a forwarder's: libc asks (docs/decisions/0021).
    let kept = |line: &Line| !matches!(line, Line::Cases { template, .. } if template.contains("half-refuse"));
    rooms.iter_mut().for_each(|room| room.lines.retain(kept));
    let upstream = node::upstream(shop::world())?;
    let zone = node::agent(&upstream)?;
    let rig = Rig {
        asks: Asks::Node,
        ..Rig::new(&zone)?
    };
    let report = rig.run(&rooms)?;
    report.require(0).with_context(|| file.to_owned())?;
    for door in Door::OURS {
        let own = report.asked.get(&door).copied().unwrap_or(0);
        ensure!(own >= asked, "{file}: {door:?}: only {own} by the agent");
    }
    Ok(report)
}

fn recipe_of(file: &str) -> String {
    format!("{file} (who answers is written anew by NSS_K8S_RECORD=1; read the difference)")
}

fn run(file: &str, asks: Asks) -> Result<Report> {
    let corpus = Corpus::load(&artifacts::fixture("corpus").join(file))?;
    let records = env::var_os("NSS_K8S_RECORD").is_some();
    let mut rooms = corpus.rooms.clone();
    if asks != Asks::Nobody {
        rooms.iter_mut().for_each(Room::keep_open);
        rooms.retain(|room| !room.cases().is_empty());
    }
    let zone = shop::publish_asking(asks)?;
    let rig = Rig {
        asks,
        records,
        ..Rig::new(&zone)?
    };
    let report = rig.run(&rooms)?;
    if records {
        corpus.record(&report.givers, asks)?;
        recording::add_questions(&report.unrecorded)?;
    } else {
        let cases = corpus.rooms.iter().flat_map(Room::cases);
        let open = cases.filter(|case| case.who.is_none()).count();
        ensure!(open == 0, "{file}: nobody is named for {open} cases");
    }
    let missing = report.unrecorded.iter();
    let missing = missing.map(|(name, kind)| format!("{name}\t{}", wire::kind::to_text(*kind)));
    let missing: Vec<_> = missing.collect();
    ensure!(
        missing.is_empty(),
        "{file}: not recorded; these lines belong into {}:\n{}",
        recording::QUESTIONS,
        missing.join("\n")
    );
    Ok(report)
}
