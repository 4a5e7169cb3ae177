//! The `nss-k8s` binary: reads the command line, the rest is in the library.

use clap::Parser;
use nss_k8s_agent::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    nss_k8s_agent::command::execute(Cli::parse())
}
