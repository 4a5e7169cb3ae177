//! Whose zone a question is answered from, and what of upstreams' answers its asker may see.
//!
//! Where the policy hides something, an upstream is never asked for a name of the cluster: it would
//! tell the node, which may see everything. What it says of other names may still lead into the
//! cluster; it is cut where that leads to something hidden.

use super::{
    Answerer, Way, code, kind,
    message::{Resource, Section, write_resources},
    name::WireName,
};
use crate::publish::unix_now;
use arc_swap::ArcSwap;
use nss_k8s_zone::{Address, Families, Found, LibcOs, Name, Reader, Snapshot, Unavailable};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::CString,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One zone file. Its reader keeps what it has mapped as long as the process lives, so that these are
/// kept, too.
pub(super) struct ZoneFile {
    reader: Reader,
    path: CString,
}

impl ZoneFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            reader: Reader::new(),
            path: CString::new(path.as_os_str().as_bytes())?,
        })
    }

    /// Asks the zone; see [`Reader::read`].
    pub(super) fn read<T>(&self, ask: impl FnMut(&Snapshot<'_>) -> T) -> Result<T, Unavailable> {
        self.reader.read(&LibcOs, &self.path, unix_now(), ask)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(self.path.as_bytes()))
    }

    /// Whether a namespace is in it, for certain.
    fn shows(&self, namespace: &[u8]) -> bool {
        let asked = self.read(|snapshot| {
            let mut name = Name::new();
            let fits = name.push(namespace)
                && name.push(b".svc.")
                && name.push(snapshot.apex().as_bytes());
            let mut room = [Address::UNSPECIFIED; 1];
            let mut canonical = Name::new();
            fits && matches!(
                snapshot.addresses(name.as_bytes(), Families::V4, &mut room, &mut canonical),
                Found::NoData
            )
        });
        asked.unwrap_or(false)
    }

    /// Whether an address has a name in it.
    pub(super) fn names(&self, address: &Address) -> bool {
        let mut room = [Name::new(); 1];
        let found = self.read(|snapshot| snapshot.names(address, &mut room));
        matches!(found, Ok(Found::Answer { .. } | Found::Room(_)))
    }
}

/// The zone files of all views.
pub(super) struct Zones {
    /// `view/`.
    directory: PathBuf,
    /// That of `default`: everything.
    pub(super) everything: Arc<ZoneFile>,
    others: ArcSwap<BTreeMap<String, Arc<ZoneFile>>>,
    /// That of the listener, where it has one of its own.
    listener: ArcSwap<Option<Arc<ZoneFile>>>,
}

impl Zones {
    /// Beside the one of `default`.
    pub(super) fn beside(path: &Path) -> io::Result<Self> {
        let directory = path.parent().and_then(Path::parent);
        Ok(Self {
            directory: directory.unwrap_or(Path::new("/")).to_owned(),
            everything: Arc::new(ZoneFile::new(path)?),
            others: ArcSwap::default(),
            listener: ArcSwap::default(),
        })
    }

    /// That of a view.
    fn of(&self, view: &str) -> Option<Arc<ZoneFile>> {
        if let Some(zone) = self.others.load().get(view) {
            return Some(Arc::clone(zone));
        }
        // Who comes at the same moment makes one, too; the reader of one of them is all that is lost.
        let path = self.directory.join(view).join("zone.v1");
        let new = Arc::new(ZoneFile::new(&path).ok()?);
        self.others.rcu(|others| {
            let mut others = BTreeMap::clone(others);
            others
                .entry(view.to_owned())
                .or_insert_with(|| Arc::clone(&new));
            others
        });
        self.others.load().get(view).map(Arc::clone)
    }
}

impl Answerer {
    /// The listener answers from this view, if the configuration wants one for it; without one it
    /// knows no name of the cluster.
    pub fn listen_by(&self, view: Option<&str>) {
        let zone = view.and_then(|view| self.zones.of(view));
        self.zones.listener.store(Arc::new(zone));
    }

    /// The zone that a question which came so is answered from; nothing: it is not known.
    pub(super) fn zone_of(
        &self,
        way: Way<'_>,
        listens_restricted: bool,
    ) -> Option<Cow<'_, Arc<ZoneFile>>> {
        match way {
            Way::Process(client) => self.zones.of(&client.view).map(Cow::Owned),
            _ if listens_restricted => Option::clone(&self.zones.listener.load()).map(Cow::Owned),
            // No count is kept: all sockets' threads come by here.
            _ => Some(Cow::Borrowed(&self.zones.everything)),
        }
    }
}

/// Cuts an upstream's message at what leads to something that the zone does not show: an alias stays,
/// and what it leads to does not exist. `apex` is in lower case. False: the message cannot be read.
pub(super) fn cut(out: &mut Vec<u8>, apex: &[u8], zone: &ZoneFile) -> bool {
    let Some(resources) = Resource::all(out) else {
        return false;
    };
    let hidden = |name: &WireName| {
        let folded = name.fold();
        let namespace = folded
            .as_ref()
            .and_then(|name| namespace_of(name.as_bytes(), apex));
        namespace.is_some_and(|namespace| !zone.shows(namespace))
    };
    let leads = |it: &Resource| it.names().iter().any(hidden);
    if !resources.iter().any(|it| hidden(&it.owner) || leads(it)) {
        return true;
    }
    let mut kept = Vec::new();
    let mut is_absent = false;
    for resource in resources {
        // Names in the other sections are of servers and of additional records: nothing that is needed.
        if resource.section != Section::Answer || hidden(&resource.owner) {
            continue;
        }
        let leads = leads(&resource);
        if !leads || resource.kind == kind::CNAME {
            kept.push(resource);
        }
        is_absent |= leads;
    }
    if is_absent || kept.is_empty() {
        // Some of several answers may be left, as of a PTR.
        let aliases_only = kept.iter().all(|it| it.kind == kind::CNAME);
        out[3] = out[3] & 0xf0
            | if aliases_only {
                code::NXDOMAIN
            } else {
                code::NOERROR
            };
    }
    write_resources(out, &kept).is_some()
}

/// The namespace of a name of the cluster: the label before `svc` or `pod`.
fn namespace_of<'n>(name: &'n [u8], apex: &[u8]) -> Option<&'n [u8]> {
    let below = name.strip_suffix(apex)?.strip_suffix(b".")?;
    let namespaced = below
        .strip_suffix(b".svc")
        .or_else(|| below.strip_suffix(b".pod"))?;
    namespaced.rsplit(|byte| *byte == b'.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_of_names() {
        for (name, namespace) in [
            ("api.shop.svc.cluster.local", Some("shop")),
            ("_http._tcp.api.shop.svc.cluster.local", Some("shop")),
            ("10-0-0-1.shop.pod.cluster.local", Some("shop")),
            ("shop.svc.cluster.local", Some("shop")),
            ("svc.cluster.local", None),
            ("cluster.local", None),
            ("a.cluster.local", None),
            ("api.shop.svc.example.com", None),
            ("api.shop.svc.xcluster.local", None),
        ] {
            let found = namespace_of(name.as_bytes(), b"cluster.local");
            assert_eq!(found, namespace.map(str::as_bytes), "{name}");
        }
    }
}
