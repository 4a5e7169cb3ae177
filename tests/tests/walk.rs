//! The search list, differentially: whatever resolv.conf and the environment say, a name is walked
//! as the process's own libc walks it.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::Result;
use nss_k8s_tests::corpus;

#[test]
fn every_resolv_conf_is_walked_as_libc_walks_it() -> Result<()> {
    corpus::hold("walk.tsv", 1000)?;
    Ok(())
}

#[test]
fn the_environment_counts_as_libc_counts_it() -> Result<()> {
    corpus::hold("environment.tsv", 300)?;
    Ok(())
}

/// Names outside, servers that fail, answers in part.
#[test]
fn the_outside_world_is_asked_as_libc_asks_it() -> Result<()> {
    corpus::hold("outside.tsv", 1)?;
    Ok(())
}

#[test]
fn hosts_and_nsswitch_files_count_as_libc_counts_them() -> Result<()> {
    corpus::hold("files.tsv", 100)?;
    Ok(())
}
