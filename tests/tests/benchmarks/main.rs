//! docs/BENCHMARKS.md shows the committed results of docs/benchmarks: each table is that of a file
//! there, each picture is drawn from one. `make plots` writes both.

mod charts;
mod picture;
mod results;

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts::repository;
use results::Results;
use std::{fs, path::PathBuf};

/// Set by `make plots`: what differs is written, not reported.
const WRITE: &str = "NSS_K8S_PLOTS";

/// Every marked table holds what the file named by its mark holds, and every file has its table.
#[test]
fn tables_are_those_of_the_results() -> Result<()> {
    let path = repository().join("docs/BENCHMARKS.md");
    let text = fs::read_to_string(&path)?;
    let (mut shown, mut names) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        shown += line;
        shown.push('\n');
        let mark = line.strip_prefix("<!-- results: ");
        if let Some(name) = mark.and_then(|rest| rest.strip_suffix(" -->")) {
            shown += &read(name)?.markdown();
            shown.push('\n');
            names.push(name.to_owned());
            lines
                .by_ref()
                .find(|line| !line.starts_with('|'))
                .context("a table at the end")?;
        }
    }
    for entry in fs::read_dir(repository().join("docs/benchmarks"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".csv") {
            ensure!(names.iter().any(|known| known == name), "{name}: no table");
        }
    }
    keep(path, &text, &shown)
}

/// Every picture is what its results give today: one that is older than they are is found.
#[test]
fn pictures_are_those_of_the_results() -> Result<()> {
    let document = fs::read_to_string(repository().join("docs/BENCHMARKS.md"))?;
    for chart in charts::ALL {
        let drawn = picture::draw(chart, &read(chart.results)?)
            .with_context(|| format!("{}.svg", chart.name))?;
        let path = repository().join(format!("docs/benchmarks/{}.svg", chart.name));
        let committed = fs::read_to_string(&path).unwrap_or_default();
        keep(path, &committed, &drawn)?;
        let link = format!("(benchmarks/{}.svg)", chart.name);
        ensure!(document.contains(&link), "docs/BENCHMARKS.md: no {link}");
    }
    Ok(())
}

/// The results that a bench left.
fn read(name: &str) -> Result<Results> {
    let path = repository().join(format!("docs/benchmarks/{name}.csv"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Results::parse(&text).with_context(|| path.display().to_string())
}

/// Writes what is not as it should be, or reports it.
fn keep(path: PathBuf, committed: &str, wanted: &str) -> Result<()> {
    if std::env::var_os(WRITE).is_some() {
        fs::write(path, wanted)?;
        return Ok(());
    }
    ensure!(
        committed == wanted,
        "{} is not that of the results: make plots",
        path.display()
    );
    Ok(())
}
