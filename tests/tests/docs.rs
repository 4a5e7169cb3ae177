//! The documents name tests; the tests must be there.

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts::repository;
use std::{fs, path::Path};

/// Every `file::test` in docs/COMPATIBILITY.md is a function of that file (`file::*`: the file).
#[test]
fn every_row_of_the_compatibility_table_names_a_test() -> Result<()> {
    let text = fs::read_to_string(repository().join("docs/COMPATIBILITY.md"))?;
    let mut rows = 0;
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
        rows += 1;
    }
    ensure!(rows >= 30, "only {rows} rows name a test");
    Ok(())
}

/// The text of `tests/tests/FILE.rs`, of `tests/tests/cluster/FILE.rs`, of `agent/tests/FILE.rs`, or
/// of every file in `tests/tests/FILE` or `agent/tests/FILE`.
fn source_of(file: &str) -> Result<String> {
    let folder: &Path = &repository().join("tests/tests");
    let name = format!("{file}.rs");
    let agent = repository().join("agent/tests");
    for place in [
        folder.join(&name),
        folder.join("cluster").join(&name),
        folder.join("node").join(&name),
        agent.join(&name),
    ] {
        if place.exists() {
            return Ok(fs::read_to_string(place)?);
        }
    }
    let mut text = String::new();
    for place in [folder.join(file), agent.join(file)] {
        for entry in fs::read_dir(place).into_iter().flatten() {
            let path = entry?.path();
            if path.is_file() {
                text += &fs::read_to_string(path)?;
            }
        }
    }
    ensure!(!text.is_empty(), "neither {name} nor a folder");
    Ok(text)
}
