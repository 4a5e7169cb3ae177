//! `nss-k8s preflight`: what would change for programs of a cluster, and which options to set, in
//! plain words. It reads (API server or manifests) and never writes.
//!
//! ```text
//!   API server --api--\
//!                      Cluster --judge--> Finding... --report--> text, JSON, a configuration
//!   *.yaml --directory--/
//! ```

mod api;
mod cluster;
pub mod corefile;
mod directory;
mod finding;
mod judge;
mod report;

use crate::{config::Config, watch};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use report::Report;
use std::{path::PathBuf, process::ExitCode, time::Duration};
use tokio::time::timeout;

/// How long the API server may take for everything.
const PATIENCE: Duration = Duration::from_secs(120);
/// The exit status when nothing could be read.
const UNREADABLE: u8 = 3;

/// `nss-k8s preflight`. Exit status: 0 nothing has to be set, 1 options have to be set, 2 programs
/// would get other answers whatever is set, 3 something could not be read.
#[derive(Args, Clone, Debug)]
pub struct PreflightArgs {
    /// Judge the objects in the YAML files of this directory, instead of asking an API server
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig")]
    pub manifests: Option<PathBuf>,
    /// How to reach the API server; default: as a pod, else the user's own kubeconfig
    #[arg(long, env = "NSS_K8S_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The configuration that will be used: what it sets already is no warning
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to say it
    #[arg(long, value_enum, default_value = "text")]
    pub output: Output,
    /// Print only a configuration file with the options that the cluster needs
    #[arg(long)]
    pub print_config: bool,
}

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Reads, judges and prints.
pub fn preflight(args: &PreflightArgs) -> ExitCode {
    match judge(args) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("nss-k8s: {}", crate::report::one_line(error.as_ref()));
            ExitCode::from(UNREADABLE)
        }
    }
}

/// The exit status.
fn judge(args: &PreflightArgs) -> Result<u8> {
    let configuration = match &args.config {
        Some(file) => Config::read(file)?,
        // What the defaults do already needs no option, either.
        None => Config::default(),
    };
    let configuration = serde_json::to_value(configuration).context("the configuration")?;
    let cluster = match &args.manifests {
        Some(directory) => directory::read(directory)?,
        None => from_server(args)?,
    };
    let mut findings = judge::judge(&cluster);
    for finding in &mut findings {
        finding.is_set = !finding.settings.is_empty()
            && finding
                .settings
                .iter()
                .all(|setting| finding::holds(&configuration, setting));
    }
    let text = configuration_file(&findings)?;
    let report = Report::new(findings, cluster.gaps.into_iter().collect());
    if args.print_config {
        print!("{text}");
    } else if args.output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&report).context("JSON")?);
    } else {
        print!("{}", report.text());
    }
    Ok(report.status)
}

/// Asks the API server.
fn from_server(args: &PreflightArgs) -> Result<cluster::Cluster> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let client = watch::connect(args.kubeconfig.as_deref()).await?;
        timeout(PATIENCE, api::read(&client))
            .await
            .context("the API server takes too long")?
    })
}

/// The configuration that the findings ask for, checked as the agent will check it.
fn configuration_file(findings: &[finding::Finding]) -> Result<String> {
    let needed = finding::needed(findings);
    let mut text = "# What `nss-k8s preflight` found that this cluster needs.\n".to_owned();
    if needed.as_object().is_some_and(|fields| !fields.is_empty()) {
        text.push_str(&serde_saphyr::to_string(&needed).context("YAML")?);
    } else {
        text.push_str("{}\n");
    }
    Config::parse(&text).context("the options that were found do not go together")?;
    Ok(text)
}
