//! Directories of pods: what a pod mounts is decided by its namespace, by way of the table of classes.
//!
//! ```text
//!   private/pods/<id>   {"namespace": "shop", ..}  written by who delivers, removed by it
//!   pod/<id>/zone.v1          link to view/<view>/zone.v1
//!   pod/<id>/external.v1      link to view/<class>/external.v1, if there is one
//!   pod/<id>/forward.sock     for classes that the node asks for: the socket is the identity
//! ```
//!
//! A pod of a namespace that is not known yet has none of them: its processes pass. The
//! directories outlive agents; what is in them is compared and put right, never made anew. What
//! else is in them is left to who delivers.

mod place;
#[doc(hidden)]
pub mod proofs;

use crate::{
    cli::PodCommand,
    config::{Config, External},
    csi,
    forward::{Service, Sockets},
    notice, parse,
    publish::{Linked, News, Told},
    table::Table,
    telemetry::Telemetry,
};
use anyhow::{Context, Result, ensure};
use place::{Place, SOCKET, ZONE, fill, inode, make_directory, remove, serve, views_by_inode};
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
use tokio::sync::{Notify, mpsc, watch};

/// Looked at without an event, too: files of classes come and go.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is known of a pod; who delivers may write more.
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
    linked: mpsc::UnboundedSender<Linked>,
    /// What was said last.
    said: Option<Linked>,
    /// The table of the agent before this one.
    before: Table,
    figures: Family<OfClass, Gauge>,
    complained: BTreeSet<String>,
}

impl<S: Service> Pods<S> {
    /// Makes the directories that are missing.
    pub fn open(
        base: &Path,
        sockets: watch::Receiver<Served<S>>,
        linked: mpsc::UnboundedSender<Linked>,
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
            linked,
            said: None,
            // What cannot be read was said by the publisher.
            before: Table::read(base).ok().flatten().unwrap_or_default(),
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
            let told = news.table.borrow_and_update().clone();
            let served = self.sockets.borrow_and_update().clone();
            if let Some(linked) = self.look(&current, &told, served.as_deref()) {
                self.tell(linked);
            }
            tokio::select! {
                () = notice::change(&changed, LOOK_EVERY) => {}
                Ok(()) = news.table.changed() => {}
                Ok(()) = self.sockets.changed() => {}
                ended = config.changed() => if ended.is_err() { return },
            }
        }
    }

    /// Says what has changed in the directories; a zone that was left, every time.
    fn tell(&mut self, linked: Linked) {
        if self.said.as_ref() != Some(&linked) || !linked.left.is_empty() {
            // Who does not listen any more needs no word.
            let _ = self.linked.send(linked.clone());
            self.said = Some(linked);
        }
    }

    /// Puts every directory right; nothing is returned when it is not known which there are.
    fn look(
        &mut self,
        config: &Config,
        told: &Told,
        sockets: Option<&Sockets<S>>,
    ) -> Option<Linked> {
        let mut said = BTreeSet::new();
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        let classes: BTreeMap<&str, External> = config.all_classes().into_iter().collect();
        let mut wanted_sockets = BTreeSet::new();
        for (class, external) in &classes {
            let directory = self.base.join("view").join(class);
            let name = format!("class {class}");
            if *external == External::Node && directory.exists() {
                let path = directory.join(SOCKET);
                let place = Place::of_class(class);
                note(&mut said, &path, serve(sockets, &path, &place, &name));
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
                return None;
            }
        };
        let views = views_by_inode(&self.base);
        let mut linked = Linked::default();
        for (id, pod) in &pods {
            let directory = self.base.join("pod").join(id);
            let pod = match pod {
                Ok(pod) => pod,
                Err(why) => {
                    said.insert(format!("pod {id}: {why}"));
                    continue;
                }
            };
            linked.namespaces.insert(pod.namespace.clone());
            let held = inode(&directory.join(ZONE)).and_then(|inode| views.get(&inode));
            let place = match &told.table {
                Some(table) => table.entry(&pod.namespace).map(Place::of),
                // Until the namespaces are listed a directory stays as an earlier agent left it.
                None => held.map(|view| self.place_before(view)),
            };
            let place = place.filter(|place| classes.contains_key(place.class.as_str()));
            let counted = place.as_ref().map_or("waiting", |place| &place.class);
            *counts.entry(counted.to_owned()).or_default() += 1;
            let node = |place: &&Place| classes.get(place.class.as_str()) == Some(&External::Node);
            if let Some(place) = place.as_ref().filter(node) {
                let path = directory.join(SOCKET);
                let done = make_directory(&directory)
                    .and_then(|()| serve(sockets, &path, place, &format!("pod {id}")));
                note(&mut said, &path, done);
                wanted_sockets.insert(path);
            }
            let keep = told.table.is_none() && place.is_none();
            let filled = fill(&self.base, &directory, place.as_ref(), keep);
            if let Some(held) = held
                && place.as_ref().is_none_or(|place| place.view != *held)
                && !keep
                && filled.is_ok()
            {
                linked.left.insert(held.clone());
            }
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
            if !wanted_sockets.contains(&path) && told.table.is_some() {
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
        linked.generation = told.generation;
        Some(linked)
    }

    /// What goes with a view that an earlier agent published.
    fn place_before(&self, view: &str) -> Place {
        let before = self.before.entry_of_view(view);
        before.map_or_else(|| Place::of_class(view), Place::of)
    }

    /// Removes the directories of pods that are registered no more, but for the driver's.
    fn sweep(&self, pods: &BTreeMap<String, Result<Pod, String>>) -> io::Result<()> {
        for entry in fs::read_dir(self.base.join("pod"))? {
            let entry = entry?;
            // What begins with a dot is being made by who delivers.
            let known = entry
                .file_name()
                .to_str()
                .is_some_and(|id| id.starts_with('.') || pods.contains_key(id));
            // Registered since we looked: entries are written before directories are made.
            let known = known || registry(&self.base).join(entry.file_name()).exists();
            // The driver's, which removes it itself: a pod that runs may have it mounted.
            let found = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found?,
            };
            if !known && found.uid() != csi::OWNER {
                let removed = match found.is_dir() {
                    true => fs::remove_dir_all(entry.path()),
                    false => fs::remove_file(entry.path()),
                };
                match removed {
                    // Somebody else was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed?,
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
            let views = views_by_inode(&place.dir);
            for (id, pod) in pods {
                let zone = place.dir.join("pod").join(&id).join(ZONE);
                let class = inode(&zone).and_then(|inode| views.get(&inode));
                let class = class.map_or("(waiting)", String::as_str);
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

/// Remembers what went wrong where.
fn note(said: &mut BTreeSet<String>, path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        said.insert(format!("{}: {error}", path.display()));
    }
}

#[cfg(test)]
mod tests;
