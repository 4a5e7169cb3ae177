//! The short way. In nearly every pod a name without dots is first a service of the pod's own namespace,
//! and most such names are one. Which namespace that is, that the nameservers are the cluster's, and
//! that nothing is excepted follows from resolv.conf and the zone's configuration alone; so it is found
//! out once for each pair of them, and the walk with its checks is left out where that service exists.
//!
//! ```text
//!   name without dots --> known for this pair? --yes--> record of <name>.<namespace> --> answer
//!                              | no                        | none, or no address
//!                              +---------------------------+--> the walk (and learn)
//! ```
//!
//! Nothing of the zone itself is remembered: the record is looked up anew each time.

use crate::outcome::Outcome;
use crate::question::Question;
use crate::resolv_conf::{ResolvConf, Suffix};
use crate::sys::Libc;
use core::sync::atomic::{AtomicU64, Ordering};
use nss_k8s_zone::{Address, Found, Name, Snapshot};

/// The pair for which the short way is known to be right; 0: none. One word, so any thread may
/// store it and nothing is ever half there.
pub(crate) struct ShortWay(AtomicU64);

impl ShortWay {
    /// Nothing known.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The answer, if the first candidate has one and the short way is known.
    pub(crate) fn answer(
        &self,
        resolv_conf: &ResolvConf,
        snapshot: &Snapshot<'_>,
        question: &Question<'_>,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Option<Outcome> {
        if question.dots != 0
            || question.is_absolute
            || self.0.load(Ordering::Relaxed) != pair(resolv_conf, snapshot)
        {
            return None;
        }
        let (written, folded) = resolv_conf.search.first()?;
        let namespace = folded.split(|byte| *byte == b'.').next()?;
        let mut key = Name::new();
        let fits = key.push(question.name) && key.push_suffix(namespace);
        key.make_lowercase();
        if !fits {
            return None;
        }
        match snapshot.service_addresses(key.as_bytes(), question.families, room)? {
            Found::Answer { count } => {
                canonical.clear();
                (canonical.push(question.name) && canonical.push_suffix(written))
                    .then_some(Outcome::Answer { count })
            }
            Found::Room(count) => Some(Outcome::Room(count)),
            _ => None,
        }
    }

    /// Remembers the pair if the short way is right for it: called where the walk gave addresses, so
    /// every nameserver is the cluster's.
    #[inline(never)]
    pub(crate) fn learn(&self, libc: Libc, resolv_conf: &ResolvConf, snapshot: &Snapshot<'_>) {
        // With `ndots:0` the name as it is comes first; `no-aaaa` takes addresses out.
        let applies = resolv_conf.ndots > 0 && !resolv_conf.no_aaaa;
        let first = resolv_conf.search.suffixes(libc).next();
        // Without dots around it: the text is used as it stands.
        if let Some(Suffix::Domain { written, folded }) = first.filter(|_| applies)
            && resolv_conf.search.first() == Some((written, folded))
            && snapshot.leads_to_services(folded)
        {
            self.0.store(pair(resolv_conf, snapshot), Ordering::Relaxed);
        }
    }
}

/// Never 0. A parsed resolv.conf is never freed, so that its address tells it from any other.
fn pair(resolv_conf: &ResolvConf, snapshot: &Snapshot<'_>) -> u64 {
    let address = core::ptr::from_ref(resolv_conf).addr() as u64;
    (snapshot.stamp() ^ address.rotate_left(32)) | 1
}
