//! Directories of pods: what a pod mounts is decided by its namespace's class.
//!
//! ```text
//!   private/pods/<id>   {"namespace": "shop"}     written by who delivers, removed by it
//!   pod/<id>/zone.v1          link to view/<class>/zone.v1
//!   pod/<id>/external.v1      link to view/<class>/external.v1, if there is one
//!   pod/<id>/forward.sock     for classes that the node asks for: the socket is the identity
//! ```
//!
//! A pod of a namespace that is not known yet has an empty directory: its processes pass. The
//! directories outlive agents; what is in them is compared and put right, never made anew.

use crate::{
    cli::PodCommand,
    config::{Config, External},
    forward::{Class, Client, Service, Sockets},
    notice, parse,
    publish::{Namespaces, News},
    switch::published_classes,
    telemetry::Telemetry,
};
use anyhow::{Context, Result, ensure};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// Looked at without an event, too: files of classes come and go.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The files that a directory may hold.
const ZONE: &str = "zone.v1";
const HELD: &str = "external.v1";
const SOCKET: &str = "forward.sock";

/// What is known of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
}

/// Which sockets are served for whom; `None` while there is nobody to answer on them.
pub type Served<S> = Option<Arc<Sockets<S>>>;

/// A class's label of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: String,
}

/// The directories of pods below one base directory.
pub struct Pods<S> {
    base: PathBuf,
    sockets: watch::Receiver<Served<S>>,
    figures: Family<OfClass, Gauge>,
    complained: BTreeSet<String>,
}

impl<S: Service> Pods<S> {
    /// Makes the directories that are missing.
    pub fn open(
        base: &Path,
        sockets: watch::Receiver<Served<S>>,
        telemetry: &Telemetry,
    ) -> Result<Self> {
        for (path, mode) in [(registry(base), 0o700), (base.join("pod"), 0o755)] {
            let mut builder = fs::DirBuilder::new();
            let made = builder.recursive(true).mode(mode).create(&path);
            made.with_context(|| format!("cannot create {}", path.display()))?;
        }
        let figures = Family::<OfClass, Gauge>::default();
        telemetry.extend(|registry| {
            let help = "Pods with a directory, by class; waiting: the namespace is not known";
            registry.register("pods", help, figures.clone());
        });
        Ok(Self {
            base: base.to_owned(),
            sockets,
            figures,
            complained: BTreeSet::new(),
        })
    }

    /// Follows the registry, the configuration and the namespaces, until nobody configures.
    pub async fn run(mut self, mut config: watch::Receiver<Arc<Config>>, mut news: News) {
        let changed = Arc::new(Notify::new());
        let _watcher = notice::watch(&registry(&self.base), Arc::clone(&changed), LOOK_EVERY);
        loop {
            let current = Arc::clone(&config.borrow_and_update());
            let namespaces = news.namespaces.borrow_and_update().clone();
            let served = self.sockets.borrow_and_update().clone();
            self.look(&current, &namespaces, served.as_deref());
            tokio::select! {
                () = notice::change(&changed, LOOK_EVERY) => {}
                Ok(()) = news.namespaces.changed() => {}
                Ok(()) = self.sockets.changed() => {}
                ended = config.changed() => if ended.is_err() { return },
            }
        }
    }

    /// Puts every directory right.
    fn look(&mut self, config: &Config, namespaces: &Namespaces, sockets: Option<&Sockets<S>>) {
        let mut said = BTreeSet::new();
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        let classes: BTreeMap<&str, External> = config.all_classes().into_iter().collect();
        let mut wanted_sockets = BTreeSet::new();
        for (class, external) in &classes {
            let directory = self.base.join("view").join(class);
            let name = format!("class {class}");
            if *external == External::Node && directory.exists() {
                let path = directory.join(SOCKET);
                note(&mut said, &path, serve(sockets, &path, class, &name));
                wanted_sockets.insert(path);
            } else if *external != External::Node {
                // Of an earlier agent; one of ours goes with those that are not wanted.
                let path = directory.join(SOCKET);
                note(&mut said, &path, remove(&path));
            }
        }
        let pods = match registered(&self.base) {
            Ok(pods) => pods,
            Err(error) => {
                note(&mut said, &registry(&self.base), Err(error));
                self.complain(said);
                return;
            }
        };
        for (id, pod) in &pods {
            let directory = self.base.join("pod").join(id);
            let pod = match pod {
                Ok(pod) => pod,
                Err(why) => {
                    said.insert(format!("pod {id}: {why}"));
                    continue;
                }
            };
            let class = match namespaces {
                Some(all) => all
                    .get(&pod.namespace)
                    .map(|labels| config.class_of(&pod.namespace, labels).to_owned()),
                // Until the namespaces are listed a directory stays as an earlier agent left it.
                None => class_by_link(&self.base, &directory)
                    .filter(|class| classes.contains_key(class.as_str())),
            };
            let counted = class.clone().unwrap_or_else(|| "waiting".to_owned());
            *counts.entry(counted).or_default() += 1;
            let node = class
                .as_deref()
                .filter(|class| classes.get(class) == Some(&External::Node));
            if let Some(class) = node {
                let path = directory.join(SOCKET);
                let done = make_directory(&directory)
                    .and_then(|()| serve(sockets, &path, class, &format!("pod {id}")));
                note(&mut said, &path, done);
                wanted_sockets.insert(path);
            }
            let keep = namespaces.is_none() && class.is_none();
            let filled = fill(&self.base, &directory, class.as_deref(), keep);
            note(&mut said, &directory, filled);
        }
        if let Some(sockets) = sockets {
            for path in sockets.paths() {
                if !wanted_sockets.contains(&path) {
                    sockets.remove(&path);
                }
            }
        }
        // A dead socket of an earlier agent, where none belongs.
        for id in pods.keys() {
            let path = self.base.join("pod").join(id).join(SOCKET);
            if !wanted_sockets.contains(&path) && namespaces.is_some() {
                note(&mut said, &path, remove(&path));
            }
        }
        note(&mut said, &self.base, self.sweep(&pods));
        for class in classes.keys().copied().chain(["waiting"]) {
            let class = class.to_owned();
            let count = counts.get(&class).copied().unwrap_or(0);
            self.figures.get_or_create(&OfClass { class }).set(count);
        }
        self.complain(said);
    }

    /// Removes the directories of pods that are registered no more.
    fn sweep(&self, pods: &BTreeMap<String, Result<Pod, String>>) -> io::Result<()> {
        for entry in fs::read_dir(self.base.join("pod"))? {
            let entry = entry?;
            let known = entry
                .file_name()
                .to_str()
                .is_some_and(|id| pods.contains_key(id));
            // Registered since we looked: entries are written before directories are made.
            let known = known || registry(&self.base).join(entry.file_name()).exists();
            if !known {
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
        }
        Ok(())
    }

    /// Logs what was not logged at the last look.
    fn complain(&mut self, said: BTreeSet<String>) {
        for text in said.difference(&self.complained) {
            tracing::warn!("{text}");
        }
        self.complained = said;
    }
}

/// `nss-k8s pod`: changes the registry; a running agent follows.
pub fn by_hand(command: PodCommand) -> Result<()> {
    match command {
        PodCommand::Add {
            id,
            namespace,
            place,
        } => {
            ensure!(is_id(&id), "{id:?} cannot name a directory");
            parse::label(&namespace)
                .map_err(|why| anyhow::anyhow!("namespace {namespace:?}: {why}"))?;
            add(&place.dir, &id, &Pod { namespace })
                .with_context(|| format!("cannot write to {}", registry(&place.dir).display()))?;
            println!("{}", place.dir.join("pod").join(id).display());
        }
        PodCommand::Remove { id, place } => {
            ensure!(is_id(&id), "{id:?} cannot name a directory");
            let path = registry(&place.dir).join(&id);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        PodCommand::List(place) => {
            let path = registry(&place.dir);
            let pods = registered(&place.dir)
                .with_context(|| format!("cannot read {}", path.display()))?;
            for (id, pod) in pods {
                let class = class_by_link(&place.dir, &place.dir.join("pod").join(&id));
                let class = class.unwrap_or_else(|| "(waiting)".to_owned());
                match pod {
                    Ok(pod) => println!("{id} {} {class}", pod.namespace),
                    Err(why) => println!("{id} (unreadable: {why}) {class}"),
                }
            }
        }
    }
    Ok(())
}

/// Registers a pod, in one step.
pub fn add(base: &Path, id: &str, pod: &Pod) -> io::Result<()> {
    let directory = registry(base);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    let new = directory.join(format!(".{id}.{}", std::process::id()));
    fs::write(&new, serde_json::to_string(pod)? + "\n")?;
    fs::rename(new, directory.join(id))
}

/// Where pods are registered.
pub fn registry(base: &Path) -> PathBuf {
    base.join("private/pods")
}

/// The registered pods, or why one cannot be read.
fn registered(base: &Path) -> io::Result<BTreeMap<String, Result<Pod, String>>> {
    let mut pods = BTreeMap::new();
    for entry in fs::read_dir(registry(base))? {
        let entry = entry?;
        // What begins with a dot is being written.
        let name = entry.file_name().into_string();
        let Some(id) = name.ok().filter(|id| is_id(id)) else {
            continue;
        };
        let text = match fs::read_to_string(entry.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text.map_err(|error| error.to_string()),
        };
        let pod = text.and_then(|text| {
            let pod: Pod = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            parse::label(&pod.namespace).map(|()| pod)
        });
        pods.insert(id, pod);
    }
    Ok(pods)
}

/// Whether a text may name a pod: a file name that is not hidden.
pub(crate) fn is_id(text: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(sound)
}

/// Makes a pod's directory hold what its class has; nothing without a class, or what is there when
/// it is to be kept.
fn fill(base: &Path, directory: &Path, class: Option<&str>, keep: bool) -> io::Result<()> {
    make_directory(directory)?;
    if keep {
        return Ok(());
    }
    for file in [HELD, ZONE] {
        let source = class.map(|class| base.join("view").join(class).join(file));
        let target = directory.join(file);
        let wanted = source.as_ref().and_then(|source| inode(source));
        if wanted.is_none() {
            remove(&target)?;
        } else if let Some(source) = source
            && inode(&target) != wanted
        {
            let new = directory.join(format!(".{file}"));
            remove(&new)?;
            fs::hard_link(source, &new)?;
            fs::rename(new, target)?;
        }
    }
    Ok(())
}

/// The class whose zone a directory holds.
fn class_by_link(base: &Path, directory: &Path) -> Option<String> {
    let held = inode(&directory.join(ZONE))?;
    let mut classes = published_classes(base).into_iter();
    classes.find(|class| inode(&base.join("view").join(class).join(ZONE)) == Some(held))
}

/// Serves a socket as long as there is somebody to answer.
fn serve<S: Service>(
    sockets: Option<&Sockets<S>>,
    path: &Path,
    class: &str,
    name: &str,
) -> io::Result<()> {
    let client = Client {
        class: Class::new(class),
        name: name.into(),
    };
    sockets.map_or(Ok(()), |sockets| sockets.add(path, client))
}

/// The identity of a file.
fn inode(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Makes a directory that everybody may read.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Removes a file that may be gone.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Remembers what went wrong where.
fn note(said: &mut BTreeSet<String>, path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        said.insert(format!("{}: {error}", path.display()));
    }
}

#[cfg(test)]
mod tests;
