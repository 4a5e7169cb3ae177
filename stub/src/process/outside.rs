//! Lookups that may need more than the zone: walks over it and errands outside of it, in turn.

use super::{SHORT_WAY, read};
use crate::ask::{self, Share, Way};
use crate::files::STANDS_BEFORE_LIBC;
use crate::held::held;
use crate::outcome::{ASKED_ROOM, By, Door, Outcome, Reason};
use crate::records::View;
use crate::walk::{Errands, Lookup, ignore, walk};
use core::ffi::CStr;
use nss_k8s_zone::{Address, External, Name, Now, Snapshot};

/// One lookup.
pub(super) struct Outside<'o> {
    pub(super) lookup: Lookup<'o>,
    pub(super) path: &'static CStr,
    pub(super) now: Now,
    /// Whether names outside the zone are asked for behind this door.
    asks: bool,
    /// Who asks, as of the last walk.
    external: External,
    /// Whether the agent's answers lie beside the zone.
    holds: bool,
    errands: Errands,
}

impl<'o> Outside<'o> {
    /// A lookup that has asked nobody yet.
    pub(super) const fn new(lookup: Lookup<'o>, path: &'static CStr, now: Now, asks: bool) -> Self {
        Self {
            lookup,
            path,
            now,
            asks,
            external: External::Off,
            holds: false,
            errands: Errands::new(),
        }
    }

    /// What the lookup comes to.
    pub(super) fn resolve(
        &mut self,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Result<Outcome, Reason> {
        let outcome = self.walk(room, canonical)?;
        if self.errands.wanted().is_none() {
            return Ok(outcome);
        }
        self.run(outcome, room, canonical)
    }

    /// Walks the candidates over the zone as it is now.
    #[inline]
    fn walk(&mut self, room: &mut [Address], canonical: &mut Name) -> Result<Outcome, Reason> {
        let Lookup {
            libc,
            resolv_conf,
            question,
        } = self.lookup;
        let in_shadow = STANDS_BEFORE_LIBC && question.door == Door::Shadow;
        read(
            self.path,
            self.now,
            in_shadow,
            &mut |snapshot: &Snapshot<'_>| {
                self.errands.begin();
                if let Some(answer) =
                    SHORT_WAY.answer(resolv_conf, snapshot, question, room, canonical)
                {
                    return answer;
                }
                if self.asks {
                    self.external = snapshot.external();
                    self.holds = snapshot.holds_external();
                    self.errands.willing = self.holds || self.external != External::Off;
                }
                let view = View {
                    snapshot,
                    records: None,
                };
                let errands = &mut self.errands;
                let outcome = walk(&self.lookup, &view, errands, room, canonical, &mut ignore);
                if matches!(outcome, Outcome::Answer { .. }) {
                    SHORT_WAY.learn(libc, resolv_conf, snapshot);
                }
                outcome
            },
        )
    }

    /// Runs errands and walks on until nothing is wanted any more; `outcome` is what the walk came to
    /// that wanted the first.
    #[cold]
    #[inline(never)]
    fn run(
        &mut self,
        mut outcome: Outcome,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Result<Outcome, Reason> {
        let mut share = Share::new();
        while let Some(name) = self.errands.wanted() {
            canonical.clear();
            let name = name.as_bytes();
            let families = self.lookup.families();
            let held = self
                .holds
                .then(|| held(self.path, name, families, self.now, room, canonical))
                .flatten();
            let (by, asked) = match held {
                Some(asked) => (By::Held, asked),
                None => {
                    let (by, way) = match self.external {
                        External::Off => return Ok(outcome),
                        External::Pod => (By::Upstream, Way::Pod),
                        External::Node => (By::Forwarder, Way::Node { zone: self.path }),
                    };
                    // Before anybody is asked: what comes back is not kept for a second call.
                    if room.len() < ASKED_ROOM {
                        return Ok(Outcome::Room(ASKED_ROOM));
                    }
                    let Lookup {
                        libc, resolv_conf, ..
                    } = self.lookup;
                    canonical.clear();
                    let asked = ask::ask(
                        way,
                        libc,
                        resolv_conf,
                        &mut share,
                        name,
                        families,
                        room,
                        canonical,
                    );
                    (by, asked)
                }
            };
            if let Some(end) = self.errands.learn(&self.lookup, by, asked, canonical) {
                return Ok(end);
            }
            outcome = self.walk(room, canonical)?;
        }
        Ok(outcome)
    }
}
