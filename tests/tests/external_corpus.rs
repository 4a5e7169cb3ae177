//! The corpus again where processes ask for names outside the zone themselves: what libc had to ask
//! for comes out as libc has it from the same server, by our asking where the corpus says so.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::Result;
use nss_k8s_tests::corpus;

/// Names outside, servers that fail, answers in part.
#[test]
fn the_outside_world_is_asked_as_libc_asks_it() -> Result<()> {
    corpus::hold_asking("outside.tsv", 100)?;
    Ok(())
}

#[test]
fn candidates_outside_are_walked_as_libc_walks_them() -> Result<()> {
    corpus::hold_asking("walk.tsv", 200)?;
    corpus::hold_asking("environment.tsv", 50)?;
    Ok(())
}

#[test]
fn arguments_and_files_mean_what_libc_means() -> Result<()> {
    for file in [
        "files.tsv",
        "getaddrinfo.tsv",
        "families.tsv",
        "hostent.tsv",
    ] {
        corpus::hold_asking(file, 10)?;
    }
    Ok(())
}

/// Where the agent asks: it has asked the same server, and says what that says.
#[test]
fn the_agent_says_what_its_upstream_says() -> Result<()> {
    let rooms = ["whole answers", "names of an outer entry"];
    corpus::hold_node("outside.tsv", &rooms, 50)?;
    Ok(())
}

/// Reverse lookups and raw messages are still libc's to ask for.
#[test]
fn what_is_never_asked_by_us_is_libcs() -> Result<()> {
    for file in ["reverse.tsv", "resolver.tsv"] {
        corpus::hold_asking(file, 0)?;
    }
    Ok(())
}
