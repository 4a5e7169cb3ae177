//! Runs one subcommand. Errors are one line on stderr; status 1, and 2 for wrong usage (clap).

use crate::{
    cli::{Cli, Command, ConfigCommand, PublishArgs},
    config::{Config, ConfigError},
    csi::{self, CsiArgs, CsiCommand},
    fanout, pods,
    report::one_line,
    run, status, switch,
};
use anyhow::{Context, Result};
use std::{io::IsTerminal, path::Path, process::ExitCode};
use tracing_subscriber::EnvFilter;

/// What is logged unless `RUST_LOG` says otherwise. The watches report failed requests themselves.
const LOG_FILTER: &str = "info,kube_client::client::builder=off";

/// Runs what the command line asks for.
pub fn execute(cli: Cli) -> ExitCode {
    if !matches!(
        cli.command,
        Command::Agent(_) | Command::Csi(_) | Command::Publish(_)
    ) {
        die_of_closed_pipes();
    }
    let result = match cli.command {
        Command::Agent(args) => agent(*args),
        Command::Publish(args) => publish(*args),
        Command::Csi(args) => csi(*args),
        Command::Query(args) => crate::query::query(&args),
        Command::Preflight(args) => Ok(crate::preflight::preflight(&args)),
        Command::Untaint(args) => crate::untaint::untaint(&args),
        Command::Removable(args) => crate::removal::removable(&args),
        Command::Dump(args) => crate::dump::dump(&args),
        Command::Status(args) => status::status(&args),
        Command::Disable(place) => switch::turn(&place.dir, true).map(|()| ExitCode::SUCCESS),
        Command::Enable(place) => switch::turn(&place.dir, false).map(|()| ExitCode::SUCCESS),
        Command::Config(ConfigCommand::Check { file }) => check(&file),
        Command::Config(ConfigCommand::Schema) => {
            print!("{}", Config::schema());
            Ok(ExitCode::SUCCESS)
        }
        Command::Pod(command) => pods::by_hand(command).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("nss-k8s: {}", one_line(error.as_ref()));
        ExitCode::FAILURE
    })
}

/// Says whether a file is a configuration.
fn check(file: &Path) -> Result<ExitCode> {
    match Config::read(file) {
        Ok(_) => {
            println!("{}: a sound configuration", file.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(ConfigError::Sense(findings)) => {
            for finding in findings {
                eprintln!("nss-k8s: {}: {finding}", file.display());
            }
            Ok(ExitCode::FAILURE)
        }
        Err(error @ ConfigError::Text(_)) => {
            eprintln!("nss-k8s: {}: {}", file.display(), one_line(&error));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

/// Lets a closed pipe end this process quietly, as it ends other tools (`nss-k8s dump | head`).
fn die_of_closed_pipes() {
    // SAFETY: the default action of SIGPIPE runs no code of ours, and no other thread exists yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Runs the agent on a small runtime: a node has better uses for its cores.
fn agent(args: crate::cli::AgentArgs) -> Result<ExitCode> {
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(run::run(args));
    // Tasks in the middle of a request are not waited for.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

/// Runs the publisher on one thread: it waits most of the time.
fn publish(args: PublishArgs) -> Result<ExitCode> {
    log();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(fanout::publish(args));
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

/// Runs the driver of pods' volumes on one thread: it is small, and does one thing at a time.
fn csi(args: CsiArgs) -> Result<ExitCode> {
    if let Some(CsiCommand::Probe { endpoint }) = &args.command {
        return csi::probe(endpoint).map(|()| ExitCode::SUCCESS);
    }
    log();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(csi::run(args)).map(|()| ExitCode::SUCCESS)
}

/// Logs to standard error, as `RUST_LOG` says.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
