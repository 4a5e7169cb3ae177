//! What decides about a lookup before the zone is asked, and about a "no" after it.

use crate::nsswitch::Placement;
use crate::outcome::{Door, Outcome, Reason};
use crate::question::Question;
use crate::resolv_conf::{ResolvConf, Unclear};
use crate::sys::Libc;

/// What decides how a process looks names up, besides the zone and the hosts file.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose rules.
    pub libc: Libc,
    /// The parsed resolv.conf.
    pub resolv_conf: Result<ResolvConf, Unclear>,
    /// The parsed nsswitch.conf; looked at only under the shim in a glibc process.
    pub placement: Placement,
    /// `HOSTALIASES` is set: glibc may rename a name without dots.
    pub host_aliases: bool,
    /// Our own module stands in nsswitch.conf: it asks for names outside the zone, the shim does not.
    pub module_asks: bool,
}

impl Settings {
    /// What can be said without the zone: the resolv.conf to walk, or why libc must.
    pub(crate) fn admit(&self, question: &Question<'_>) -> Result<&ResolvConf, Reason> {
        let resolv_conf = self.open(question.door)?;
        self.heed_aliases(question)?;
        // Whether this glibc knows the option cannot be told, and it would turn the answer.
        if resolv_conf.no_aaaa && !resolv_conf.drops_aaaa && !question.families.v4 {
            return Err(Reason::ResolvConf);
        }
        Ok(resolv_conf)
    }

    /// A name without dots that libc may rename is not ours.
    fn heed_aliases(&self, question: &Question<'_>) -> Result<(), Reason> {
        let is_alias = self.host_aliases
            && self.libc == Libc::Glibc
            && question.dots == 0
            && !question.is_absolute;
        if is_alias {
            Err(Reason::HostAliases)
        } else {
            Ok(())
        }
    }

    /// As [`Self::admit`], for what goes to DNS whatever nsswitch.conf says.
    pub(crate) fn admit_records(&self, question: &Question<'_>) -> Result<&ResolvConf, Reason> {
        let resolv_conf = self.resolv_conf.as_ref().map_err(|_| Reason::ResolvConf)?;
        self.heed_aliases(question)?;
        Ok(resolv_conf)
    }

    /// The resolv.conf, if questions through this door come to DNS at all and it is understood.
    pub(crate) fn open(&self, door: Door) -> Result<&ResolvConf, Reason> {
        if self.asks_nsswitch(door) && self.placement == Placement::Unplaced {
            return Err(Reason::Nsswitch);
        }
        self.resolv_conf.as_ref().map_err(|_| Reason::ResolvConf)
    }

    /// Lets a negative outcome stand only where no further source would be asked.
    pub(crate) fn place(&self, door: Door, outcome: Outcome) -> Outcome {
        if !self.asks_nsswitch(door) {
            return outcome;
        }
        match (outcome.plain(), self.placement) {
            (Outcome::NoData | Outcome::NxDomain | Outcome::Again, Placement::AnswersOnly)
            | (Outcome::Again, Placement::NoIsFinal) => Outcome::Pass(Reason::Nsswitch),
            _ => outcome,
        }
    }

    /// Whether names outside the zone are asked for by whom a question comes to through this door.
    pub fn asks_outside(&self, door: Door) -> bool {
        door != Door::Shadow && !(self.module_asks && self.asks_nsswitch(door))
    }

    /// Under NSS glibc has walked the line itself; musl has none.
    fn asks_nsswitch(&self, door: Door) -> bool {
        door != Door::Nss && self.libc == Libc::Glibc
    }
}
