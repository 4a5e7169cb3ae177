//! A constant load of lookups inside a pod, and what became of each.

use crate::{
    packets::Packets,
    pods::{Image, Namespace, Pod},
};
use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::process::until_within;
use std::time::Duration;

/// Between two rounds over all names.
const INTERVAL: &str = "20";
/// Lookups after which a load without a failure says something.
const ENOUGH: u64 = 200;

/// A pod whose only work is to look names up (`tests/probes/load.c`).
pub(crate) struct Load<'a> {
    /// The pod.
    pub(crate) pod: Pod<'a>,
    /// The DNS packets of its network, counted since soon after its start.
    pub(crate) packets: Packets,
}

/// How far a load got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Lookups made.
    pub(crate) lookups: u64,
    /// Of them with a wrong result.
    pub(crate) failures: u64,
    /// Rounds in processes that started for them.
    pub(crate) processes: u64,
    /// The longest lookup, in microseconds.
    pub(crate) slowest: u64,
}

impl<'a> Load<'a> {
    /// Starts one over the usual cluster names: short, with the namespace, full, and one that does not exist.
    pub(crate) fn cluster_names(
        namespace: &Namespace<'a>,
        name: &str,
        image: Image,
    ) -> Result<Self> {
        let (web, space) = (&namespace.web, &namespace.name);
        Self::start(
            namespace,
            name,
            image,
            &[
                format!("web={web}"),
                format!("web.{space}={web}"),
                format!("web.{space}.svc.cluster.local={web}"),
                "kubernetes.default=10.96.0.1".into(),
                "absent.absent-namespace.svc.cluster.local.=none".into(),
            ],
        )
    }

    /// Starts one over cluster names that are found at the first candidate of their search list: these need no packet
    /// however long the agent is away, while misses are left to DNS after 30 s without it.
    pub(crate) fn hits(namespace: &Namespace<'a>, name: &str, image: Image) -> Result<Self> {
        let (web, space) = (&namespace.web, &namespace.name);
        Self::start(
            namespace,
            name,
            image,
            &[
                format!("web={web}"),
                format!("web.{space}.svc.cluster.local.={web}"),
                "kubernetes.default.svc.cluster.local.=10.96.0.1".into(),
            ],
        )
    }

    /// Starts one over names of the rest of the world.
    pub(crate) fn outside_names(
        namespace: &Namespace<'a>,
        name: &str,
        image: Image,
    ) -> Result<Self> {
        let address = crate::coredns::OUTSIDE_ADDRESS;
        Self::start(
            namespace,
            name,
            image,
            &[
                format!("www.outside.test={address}"),
                format!("api.outside.test.={address}"),
            ],
        )
    }

    /// Starts one over `wishes`, as `load.c` takes them, and waits for its first rounds.
    pub(crate) fn start(
        namespace: &Namespace<'a>,
        name: &str,
        image: Image,
        wishes: &[String],
    ) -> Result<Self> {
        let program = image.program("load");
        let mut command = vec![program.as_str(), INTERVAL];
        command.extend(wishes.iter().map(String::as_str));
        let pod = namespace.start(&namespace.manifest(name, image, &command))?;
        let packets = Packets::count(&pod)?;
        let load = Self { pod, packets };
        load.advance(1)?;
        Ok(load)
    }

    /// What it counted last, not older than about a second.
    pub(crate) fn count(&self) -> Result<Count> {
        let log = self.pod.log()?;
        let line = log.lines().rfind(|line| line.starts_with("lookups "));
        line.map_or_else(|| Ok(Count::default()), parse)
    }

    /// The lines of its failed lookups.
    pub(crate) fn failures(&self) -> Result<Vec<String>> {
        let log = self.pod.log()?;
        let lines = log.lines().filter(|line| line.starts_with("failure "));
        Ok(lines.map(str::to_owned).collect())
    }

    /// Waits until it has made so many more lookups than now.
    pub(crate) fn advance(&self, lookups: u64) -> Result<Count> {
        self.reach(self.count()?.lookups + lookups)
    }

    /// Waits until it has made so many lookups in all.
    fn reach(&self, lookups: u64) -> Result<Count> {
        let what = format!("{lookups} lookups in {}", self.pod.name);
        until_within(Duration::from_secs(120), &what, || {
            let count = self.count()?;
            Ok((count.lookups >= lookups).then_some(count))
        })
    }

    /// Fails if any lookup did, after it made some more: a load that stands still proves nothing.
    pub(crate) fn expect_no_failure(&self) -> Result<Count> {
        self.no_failure_since(self.count()?)
    }

    fn no_failure_since(&self, before: Count) -> Result<Count> {
        let count = self.reach(before.lookups + ENOUGH)?;
        let failures = self.failures()?;
        ensure!(
            failures.is_empty() && count.failures == 0,
            "{}: {count:?}\n{}",
            self.pod.name,
            failures.join("\n")
        );
        Ok(count)
    }

    /// The same, and no DNS packet has left the pod since packets are counted: all of it was answered in process.
    pub(crate) fn expect_silence(&self) -> Result<Count> {
        self.silence_since(self.count()?)
    }

    fn silence_since(&self, before: Count) -> Result<Count> {
        let count = self.no_failure_since(before)?;
        let seen = self.packets.seen()?;
        ensure!(
            seen.is_empty(),
            "{}: {seen:?} DNS packets during {count:?}",
            self.pod.name
        );
        Ok(count)
    }
}

/// [`Load::expect_silence`] of several, which make their lookups at the same time.
pub(crate) fn expect_silence<'a, 'b: 'a>(
    loads: impl IntoIterator<Item = &'a Load<'b>>,
) -> Result<()> {
    let loads = loads.into_iter().map(|load| Ok((load, load.count()?)));
    for (load, before) in loads.collect::<Result<Vec<_>>>()? {
        load.silence_since(before)?;
    }
    Ok(())
}

fn parse(line: &str) -> Result<Count> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [
        "lookups",
        lookups,
        "failures",
        failures,
        "processes",
        processes,
        "slowest",
        slowest,
    ] = fields[..]
    else {
        bail!("not a report: {line}");
    };
    let number = |text: &str| text.parse().with_context(|| line.to_owned());
    Ok(Count {
        lookups: number(lookups)?,
        failures: number(failures)?,
        processes: number(processes)?,
        slowest: number(slowest)?,
    })
}
