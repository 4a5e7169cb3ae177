//! A directory of ordinary Kubernetes YAML instead of an API server. Every change leads to a full
//! list of what all files say; the model turns it into differences.

mod yaml;

pub(crate) use yaml::values;

use crate::{
    config::{Config, Selector},
    model::{Event, ObjectKey, Source},
    notice,
    parse::{Verdict, excerpt},
    publish::Message,
    telemetry::Telemetry,
};
use anyhow::{Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, mpsc, watch};
use yaml::Labeled;

/// The kinds of objects that a directory brings; each is a source of its own.
pub const SOURCES: [Source; 3] = [Source::Namespaces, Source::Services, Source::Slices];

/// Looked at without an event, too: not every file system reports every change.
const RESCAN_EVERY: Duration = Duration::from_secs(10);

/// Files above this are refused, so that a mistake does not eat the node's memory.
const MAX_FILE: u64 = 64 << 20;

/// Follows a directory for ever; only a closed outbox ends it.
pub async fn run(
    mut directory: Directory,
    mut config: watch::Receiver<Arc<Config>>,
    outbox: mpsc::Sender<Message>,
    telemetry: Arc<Telemetry>,
) -> Result<()> {
    let changed = Arc::new(Notify::new());
    let _watcher = notice::watch(&directory.path, Arc::clone(&changed), RESCAN_EVERY);
    loop {
        directory.selector = config.borrow_and_update().kubernetes.labels.clone();
        match tokio::task::block_in_place(|| directory.scan()) {
            Ok(scan) => {
                for complaint in &scan.complaints {
                    tracing::warn!("{complaint}");
                }
                for (kind, reason) in &scan.skipped {
                    telemetry.skipped(kind, reason);
                }
                for (source, event) in scan.events {
                    if matches!(event, Event::Done { .. }) {
                        telemetry.listed(source.as_str(), "files");
                    }
                    outbox.send(Message::Event(source, event, None)).await?;
                }
            }
            Err(error) => {
                tracing::error!("{error:#}; what was published stays");
                for source in SOURCES {
                    telemetry.watch_error(source.as_str(), "directory");
                    outbox.send(Message::Broken(source)).await?;
                }
            }
        }
        tokio::select! {
            () = notice::change(&changed, RESCAN_EVERY) => {}
            changed = config.changed() => changed.context("nobody configures any more")?,
        }
    }
}

/// The files of one directory, and what they said when they were last readable.
pub struct Directory {
    path: PathBuf,
    /// Which services and slices are served, by their labels.
    selector: Option<Selector>,
    files: BTreeMap<PathBuf, File>,
    complained: BTreeSet<String>,
}

/// One file's last readable state.
#[derive(Default)]
struct File {
    /// Of the content; `None`: not read yet.
    hash: Option<u64>,
    /// Objects by document.
    parsed: Vec<(usize, Labeled)>,
    /// What is wrong with its text, by document.
    errors: Vec<String>,
    /// Some of its text has never been readable.
    uncertain: bool,
}

/// The outcome of one look at the directory.
#[derive(Debug, Default)]
pub struct Scan {
    /// A complete list per source.
    pub events: Vec<(Source, Event)>,
    /// What is wrong and was not said before.
    pub complaints: Vec<String>,
    /// Kind and reason of what is new among the objects that are not served.
    pub skipped: Vec<(&'static str, &'static str)>,
}

impl Directory {
    /// A directory that can be listed.
    pub fn open(path: &Path) -> Result<Self> {
        fs::read_dir(path)
            .with_context(|| format!("cannot read the manifests in {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            selector: None,
            files: BTreeMap::new(),
            complained: BTreeSet::new(),
        })
    }

    /// Reads what changed and lists everything.
    pub fn scan(&mut self) -> Result<Scan> {
        let context = || format!("cannot read the manifests in {}", self.path.display());
        let mut present = BTreeSet::new();
        for entry in fs::read_dir(&self.path).with_context(context)? {
            let path = entry.with_context(context)?.path();
            if is_manifest(&path) {
                present.insert(path);
            }
        }
        self.files.retain(|path, _| present.contains(path));
        for path in present {
            let file = self.files.entry(path.clone()).or_default();
            file.read(&path);
        }
        Ok(self.list())
    }

    /// Everything that the files say, each object from the first file that names it.
    fn list(&mut self) -> Scan {
        let mut scan = Scan::default();
        let mut said = BTreeSet::new();
        let mut certain = true;
        let mut owners: HashMap<ObjectKey, (&Path, usize)> = HashMap::new();
        let mut say =
            |scan: &mut Scan, text: String, skipped: Option<(&'static str, &'static str)>| {
                if !self.complained.contains(&text) && !said.contains(&text) {
                    scan.complaints.push(text.clone());
                    scan.skipped.extend(skipped);
                }
                said.insert(text);
            };
        scan.events
            .extend(SOURCES.map(|source| (source, Event::Init)));
        for (path, file) in &self.files {
            let shown = path.display();
            certain &= !file.uncertain;
            for error in &file.errors {
                say(
                    &mut scan,
                    format!("{shown}: {error}"),
                    Some(("File", "malformed")),
                );
            }
            for (document, Labeled { parsed, labels }) in &file.parsed {
                let is_selected = |selector: &Selector| match parsed.key() {
                    Some(ObjectKey::Service(_) | ObjectKey::Slice { .. }) => {
                        selector.matches(labels)
                    }
                    _ => true,
                };
                if !self.selector.as_ref().is_none_or(is_selected) {
                    continue;
                }
                let place = format!("{shown}: document {document}");
                for complaint in &parsed.complaints {
                    let what = parsed
                        .key()
                        .map_or_else(String::new, |key| format!("{key}: "));
                    let skipped = parsed.key().map(|key| (kind(&key), "part"));
                    say(&mut scan, format!("{place}: {what}{complaint}"), skipped);
                }
                let (key, event) = match &parsed.verdict {
                    Verdict::Sound(object) => (object.key(), Some(Event::Apply(object.clone()))),
                    Verdict::NotServed(key, why) => {
                        let skipped = Some((kind(key), "not-served"));
                        say(
                            &mut scan,
                            format!("{place}: {key}: not served: {why}"),
                            skipped,
                        );
                        (key.clone(), None)
                    }
                    Verdict::Malformed(Some(key), why) => {
                        let skipped = Some((kind(key), "malformed"));
                        say(&mut scan, format!("{place}: {key}: {why}"), skipped);
                        (key.clone(), Some(Event::Unreadable(key.clone())))
                    }
                    Verdict::Malformed(None, why) => {
                        say(
                            &mut scan,
                            format!("{place}: {why}"),
                            Some(("Object", "malformed")),
                        );
                        continue;
                    }
                };
                if let Some((first, at)) = owners.get(&key) {
                    let first = first.display();
                    let text = format!(
                        "{place}: {key} is in {first}: document {at} already, which counts"
                    );
                    say(&mut scan, text, Some((kind(&key), "duplicate")));
                    continue;
                }
                let source = source(&key);
                owners.insert(key, (path, *document));
                scan.events.extend(event.map(|event| (source, event)));
            }
        }
        scan.events
            .extend(SOURCES.map(|source| (source, Event::Done { certain })));
        self.complained = said;
        scan
    }
}

impl File {
    /// Takes the file's present content in. Documents that cannot be parsed change nothing: what
    /// the file said before of objects that its readable documents do not name stays.
    fn read(&mut self, path: &Path) {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(why) => {
                self.uncertain |= self.hash.is_none();
                self.errors = vec![why];
                return;
            }
        };
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        if self.hash == Some(hash) {
            return;
        }
        let fresh = self.hash.is_none();
        let mut parsed = Vec::new();
        self.errors.clear();
        for (document, result) in yaml::documents(&text) {
            match result {
                Ok(objects) => parsed.extend(objects.into_iter().map(|object| (document, object))),
                Err(why) => self.errors.push(format!("document {document}: {why}")),
            }
        }
        if self.errors.is_empty() {
            self.uncertain = false;
        } else {
            self.uncertain |= fresh;
            let named: BTreeSet<_> = parsed
                .iter()
                .filter_map(|(_, object)| object.parsed.key())
                .collect();
            let before = core::mem::take(&mut self.parsed).into_iter();
            let kept = before.filter(|(_, old)| {
                let key = old.parsed.key();
                key.is_some_and(|key| !named.contains(&key))
            });
            parsed.extend(kept);
        }
        self.hash = Some(hash);
        self.parsed = parsed;
    }
}

/// The file's text, or why it cannot be had.
fn read_text(path: &Path) -> Result<String, String> {
    let status = fs::metadata(path).map_err(|error| error.to_string())?;
    if status.len() > MAX_FILE {
        return Err(format!("{} bytes, more than {MAX_FILE}", status.len()));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| excerpt(&error.to_string()))
}

/// Whether a path is a manifest: a visible file with one of the usual endings. Symbolic links are
/// followed, as a mounted ConfigMap needs.
fn is_manifest(path: &Path) -> bool {
    let visible = path
        .file_name()
        .is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str());
    visible && matches!(ending, Some("yaml" | "yml" | "json")) && !path.is_dir()
}

/// The source that an object belongs to.
fn source(key: &ObjectKey) -> Source {
    match key {
        ObjectKey::Namespace(_) => Source::Namespaces,
        ObjectKey::Service(_) => Source::Services,
        ObjectKey::Slice { .. } => Source::Slices,
    }
}

/// The kind of an object, for metrics.
fn kind(key: &ObjectKey) -> &'static str {
    match key {
        ObjectKey::Namespace(_) => "Namespace",
        ObjectKey::Service(_) => "Service",
        ObjectKey::Slice { .. } => "EndpointSlice",
    }
}

#[cfg(test)]
mod tests;
