//! The command line. Flags win over the environment, both over the configuration file.

mod agent;
mod publish;

pub use agent::{AgentArgs, Listen};
pub use publish::{NatsArgs, PublishArgs};

use crate::config::DEFAULT_CLASS;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, sync::LazyLock};

/// The release, and the number by which `processes.refuse_builds` knows its libraries.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let build = nss_k8s_stub::BUILD;
    format!("{} (library build {build})", env!("CARGO_PKG_VERSION"))
});

/// Cluster names answered inside the process: the agent that publishes them, and what explains it.
#[derive(Debug, Parser)]
#[command(name = "nss-k8s", version = VERSION.as_str())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish the cluster's zone and keep it in step
    Agent(Box<AgentArgs>),
    /// Watch the API server for the agents of all nodes: put what they need into a bucket of NATS
    Publish(Box<PublishArgs>),
    /// Give each pod its directory: the driver of the inline volumes
    Csi(Box<crate::csi::CsiArgs>),
    /// Ask the published zone as a process would, and say why it answers so
    Query(QueryArgs),
    /// Say what nss-k8s would change for the programs of a cluster, and which options to set
    Preflight(crate::preflight::PreflightArgs),
    /// Say whether the driver may be removed: no pod has its volume; status 1 when one has
    Removable(crate::removal::RemovableArgs),
    /// Take a taint off nodes that have the driver; runs once in a cluster
    Untaint(crate::untaint::UntaintArgs),
    /// Print the published zone in master-file form (RFC 1035)
    Dump(DumpArgs),
    /// Say how the published zone is; status 1 when it is not live
    Status(StatusArgs),
    /// The kill switch: every process of the node passes from its next lookup on
    Disable(Place),
    /// Undo `disable`
    Enable(Place),
    /// Look at configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The pods that have a directory of their own: by hand, where nothing delivers them
    #[command(subcommand)]
    Pod(PodCommand),
}

/// `nss-k8s config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a file; status 1 when something is
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the JSON schema of the file
    Schema,
}

/// `nss-k8s pod`.
#[derive(Debug, Subcommand)]
pub enum PodCommand {
    /// Give a pod a directory: BASE/pod/ID
    Add {
        /// Any name that is unique on the node, such as the pod's uid
        id: String,
        /// The pod's namespace, which decides its class
        #[arg(long, short)]
        namespace: String,
        /// Where the zone is.
        #[command(flatten)]
        place: Place,
    },
    /// Take a pod's directory away
    Remove {
        /// As added
        id: String,
        /// Where the zone is.
        #[command(flatten)]
        place: Place,
    },
    /// Say which pods there are, their namespaces and classes
    List(Place),
}

/// Where the zone is.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The base directory: private/ and view/default/zone.v1 are below it
    #[arg(
        long,
        env = "NSS_K8S_BASE",
        default_value = "/run/nss-k8s",
        value_name = "BASE"
    )]
    pub dir: PathBuf,
}

/// One class's zone.
#[derive(Args, Clone, Debug)]
pub struct ViewArgs {
    /// Where the zone is.
    #[command(flatten)]
    pub place: Place,
    /// The class of pods whose zone it is, or a directory below BASE/view [default: default]
    #[arg(long)]
    pub class: Option<String>,
}

impl ViewArgs {
    /// The zone's file.
    pub fn zone_path(&self) -> PathBuf {
        let class = self.class.as_deref().unwrap_or(DEFAULT_CLASS);
        crate::switch::view_path(&self.place.dir, class)
    }

    /// The zone that pods of a namespace have, unless a class is given. An error: they have none.
    pub fn zone_path_of(&self, namespace: &str) -> anyhow::Result<PathBuf> {
        let base = &self.place.dir;
        let table = match self.class {
            Some(_) => None,
            // Only who may read what is private to the agent knows; `default` is everything.
            None => crate::table::Table::read(base).ok().flatten(),
        };
        let Some(table) = table else {
            return Ok(self.zone_path());
        };
        let hides = table
            .classes
            .values()
            .any(|entry| entry.view != entry.class);
        if !hides && table.entry(namespace).is_none() {
            // A laptop has no namespace to speak of.
            return Ok(self.zone_path());
        }
        let Some(entry) = table.entry(namespace) else {
            anyhow::bail!(
                "pods of namespace {namespace} have no zone here: it does not exist, or its view is \
                 not known yet (--class default shows everything)"
            );
        };
        Ok(crate::switch::view_path(base, &entry.view))
    }
}

/// `nss-k8s dump`.
#[derive(Args, Clone, Debug)]
pub struct DumpArgs {
    /// Which.
    #[command(flatten)]
    pub view: ViewArgs,
    /// Instead of the zone, the answers to external names that its processes find in memory
    #[arg(long)]
    pub external: bool,
}

/// `nss-k8s query`.
#[derive(Args, Clone, Debug)]
pub struct QueryArgs {
    /// As a program would write it; an address with `--type PTR`
    pub name: String,
    /// Which zone.
    #[command(flatten)]
    pub view: ViewArgs,
    /// Of the pod that asks: its search list, and what it may look up
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
    /// Ask with this resolv.conf instead of the one that kubelet would write
    #[arg(long, value_name = "FILE")]
    pub resolv_conf: Option<PathBuf>,
    /// Whose search list to walk
    #[arg(long, value_enum, default_value = "glibc")]
    pub libc: Libc,
    /// Both address types by default
    #[arg(long = "type", short = 't', value_enum, ignore_case = true)]
    pub record: Option<Record>,
    /// Show every candidate and why it does or does not win
    #[arg(long)]
    pub explain: bool,
    /// Ask for names outside the zone as a process would: from here, with this machine's network
    #[arg(long)]
    pub ask: bool,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// A libc whose resolver is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Libc {
    /// GNU.
    Glibc,
    /// musl.
    Musl,
}

/// A record type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Record {
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
    /// Ports.
    Srv,
    /// Reverse.
    Ptr,
}

/// `nss-k8s status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Which zone.
    #[command(flatten)]
    pub view: ViewArgs,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Lets a flag win.
fn set<T>(field: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *field = value;
    }
}

/// Lets a list of flags win.
fn set_all<T: Clone>(field: &mut Vec<T>, flags: &[T]) {
    if !flags.is_empty() {
        *field = flags.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
