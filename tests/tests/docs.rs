//! The documents name tests; the tests must be there.

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts::repository;
use std::{fs, path::Path};

/// Every `file::test` in docs/COMPATIBILITY.md is a function of that file (`file::*`: the file).
#[test]
fn every_row_of_the_compatibility_table_names_a_test() -> Result<()> {
    let named = named_tests(&document("COMPATIBILITY.md")?)?;
    ensure!(named >= 30, "only {named} tests are named");
    Ok(())
}

/// Every event of the table of failures in docs/ARCHITECTURE.md names the tests that hold what a
/// process sees then, and they are there.
#[test]
fn every_row_of_the_failure_table_names_a_test() -> Result<()> {
    let text = document("ARCHITECTURE.md")?;
    let (_, table) = text.split_once("| An event |").context("no table")?;
    let rows: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    // One for each event that the design lists: no row goes unnoticed.
    ensure!(rows.len() >= 10, "only {} rows", rows.len());
    for row in rows {
        let tests = row.split(" | ").nth(2).context("no column of tests")?;
        ensure!(named_tests(tests)? > 0, "no test: {row}");
    }
    Ok(())
}

/// The text of a file in docs/.
fn document(name: &str) -> Result<String> {
    Ok(fs::read_to_string(repository().join("docs").join(name))?)
}

/// How many tests a text names, each of which is there.
fn named_tests(text: &str) -> Result<usize> {
    let mut named = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        let Some((file, test)) = quoted.split_once("::") else {
            continue;
        };
        let source = source_of(file).with_context(|| format!("no tests in a file {file}.rs"))?;
        let function = format!("fn {test}(");
        ensure!(
            test == "*" || source.contains(&function),
            "{quoted}: no such test"
        );
        named += 1;
    }
    Ok(named)
}

/// The folders of tests: the first that has the file counts. The last is for names that are paths.
const FOLDERS: [&str; 5] = [
    "tests/tests",
    "tests/tests/cluster",
    "tests/tests/node",
    "agent/tests",
    "",
];

/// The text of `FILE.rs` and of every file in the folder FILE, in one of the folders of tests.
fn source_of(file: &str) -> Result<String> {
    for folder in FOLDERS {
        let place = repository().join(folder).join(file);
        let mut text = String::new();
        append(&place.with_added_extension("rs"), &mut text)?;
        for entry in fs::read_dir(place).into_iter().flatten() {
            append(&entry?.path(), &mut text)?;
        }
        if !text.is_empty() {
            return Ok(text);
        }
    }
    anyhow::bail!("neither {file}.rs nor a folder")
}

/// Adds the text of a file, if there is one.
fn append(path: &Path, text: &mut String) -> Result<()> {
    if path.is_file() {
        *text += &fs::read_to_string(path)?;
    }
    Ok(())
}
