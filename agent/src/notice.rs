//! Notices that files of a directory change.

use notify::{EventKind, RecursiveMode, Watcher, event::AccessKind};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};

/// A change is acted on when nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(10);

/// Asks the kernel to report changes of a directory as long as the returned value lives; without it
/// they are noticed by looking `every` so often only.
pub fn watch(
    path: &Path,
    changed: Arc<Notify>,
    every: Duration,
) -> Option<notify::RecommendedWatcher> {
    let report = move |event: notify::Result<notify::Event>| match event {
        // Our own reading is no change.
        Ok(event) if is_reading(event.kind) => {}
        // Errors (a full event queue) lead to a look as well.
        _ => changed.notify_one(),
    };
    let watcher = notify::recommended_watcher(report).and_then(|mut watcher| {
        watcher.watch(path, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            let (path, seconds) = (path.display(), every.as_secs());
            tracing::warn!(%path, %error, "changes are noticed by rescans every {seconds} s only");
            None
        }
    }
}

/// Waits until something has changed and nothing does any more, or until it is time to look.
pub async fn change(changed: &Notify, at_most: Duration) {
    if timeout(at_most, changed.notified()).await.is_ok() {
        while timeout(QUIET, changed.notified()).await.is_ok() {}
    }
}

/// Whether an event is only somebody reading.
fn is_reading(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(mode)) => mode != notify::event::AccessMode::Write,
        EventKind::Access(_) => true,
        _ => false,
    }
}
