//! One version of the zone, and the questions that can be put to it.

mod addresses;
mod held;
mod names;
mod services;

use services::List;
pub use services::Srv;

use crate::{
    Address, Ask, Families, Family, Found, Name, Now, Unavailable,
    hash::{Hash, Seed},
    layout::{
        AT_UPDATED, AT_VIEW, EMPTY, LINE_WORDS, MAX_PROBE_LINES, REGION_INCOMPLETE, Root, WORD,
        config, kind,
    },
    place::{Place, ends_with_labels, place},
    record::Head,
    rules::{self, Ruling},
    settings::{External, Settings},
    sync::{Ordering, Step, fence, leaves_out, load_acquire},
    words::Words,
};
use core::cell::Cell;

/// An answer holds at most this many addresses.
pub const MAX_ADDRESSES: usize = 4096;
/// CNAMEs followed inside the zone.
pub const MAX_CHAIN: usize = 8;
/// What one attempt may spend: more than the largest service needs (5,000 endpoints), little enough to
/// end soon on a hostile file. A word costs [`WORD_COST`], a caller's step one. The rest of 64 Ki
/// words is for what every question reads without paying: the short way shall not count.
const BUDGET: u32 = 48 * 1024 * WORD_COST;
/// See [`BUDGET`].
const WORD_COST: u32 = 4;

/// The zone inside one attempt of [`Reader::read`](crate::Reader::read). Everything read from it may
/// be torn until that returns `Ok`: copy out, act later.
pub struct Snapshot<'z> {
    words: Words<'z>,
    root: Root,
    seed: Seed,
    settings: Settings,
    /// The index does not lead to every name.
    incomplete: bool,
    /// The writer has not been alive lately.
    stale: bool,
    /// See [`Snapshot::stamp`].
    stamp: u64,
    budget: Cell<u32>,
    failed: Cell<bool>,
}

impl<'z> Snapshot<'z> {
    /// Takes the index behind the root word; `None` when it is past the end or has no line.
    pub(crate) fn take(
        words: Words<'z>,
        root: u64,
        settings: Settings,
        stale: bool,
        stamp: u64,
    ) -> Option<Self> {
        let root = Root::unpack(root);
        let [first, low, high] = words.range(root.word(), 3)? else {
            return None;
        };
        // A region that says again that it is complete does so after what completes it.
        let first = load_acquire(first);
        let seed = Seed(low.load(Ordering::Relaxed), high.load(Ordering::Relaxed));
        // A root that leads anywhere but to a region of its size would deny every name.
        if root.main_lines == 0
            || first as u8 != kind::REGION
            || first >> 32 != root.region_granules()
        {
            return None;
        }
        Some(Self {
            words,
            root,
            seed,
            settings,
            incomplete: first & REGION_INCOMPLETE != 0,
            stale,
            stamp,
            budget: Cell::new(BUDGET),
            failed: Cell::new(false),
        })
    }

    /// Whether a question met bytes that it could not read.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Whether `name` (lower case, no trailing dot) is the apex or below it.
    pub fn contains(&self, name: &[u8]) -> bool {
        match place(self.words, name) {
            Some(place) => place != Place::Outside,
            None => {
                self.failed.set(true);
                false
            }
        }
    }

    /// Tells this version of the zone's apex and configuration from every other that this process
    /// sees: what follows from the two alone may be remembered with it. The epoch is in it because
    /// configurations take each other's place in the file.
    #[inline]
    pub const fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Whether a label in front of `suffix` (lower case, absolute) names a service of one namespace,
    /// and the configuration excepts and rules no name.
    pub fn leads_to_services(&self, suffix: &[u8]) -> bool {
        self.settings.suffixes() == 0
            && !self.settings.has_rules()
            && matches!(place(self.words, suffix), Some(Place::Namespace(_)))
    }

    /// Whether `nameserver` is one of the cluster's own, or any is accepted.
    pub fn trusts_nameserver(&self, nameserver: &Address) -> bool {
        if self.settings.flags() & config::ANY_NAMESERVER != 0 {
            return true;
        }
        match self.settings.nameservers(self.words, nameserver.family) {
            Some(mut known) => known.any(|address| address == *nameserver),
            None => {
                self.failed.set(true);
                false
            }
        }
    }

    /// Whether the configuration refuses this library build.
    pub fn refuses_build(&self, build: u64) -> bool {
        let refuses = self
            .charge(self.settings.builds())
            .and_then(|()| self.settings.refuses(self.words, build));
        refuses.unwrap_or_else(|| {
            self.failed.set(true);
            true
        })
    }

    /// 0 (everybody) to 1000 (nobody): the share of processes that must pass.
    pub fn disabled_permille(&self) -> u16 {
        self.settings.disabled_permille()
    }

    /// Whether the configuration keeps nobody from the zone: no build is refused, no share of the
    /// processes must pass, and the view is not in shadow.
    #[inline]
    pub const fn is_for_everybody(&self) -> bool {
        !self.settings.excludes()
    }

    /// Whether libc answers, and what the zone says is only compared with that.
    #[inline]
    pub const fn is_shadow(&self) -> bool {
        self.settings.flags() & config::SHADOW != 0
    }

    /// FNV-1a (32 bits) of the view's name: all that a reader knows of it.
    pub fn view(&self) -> u32 {
        self.words.load(AT_VIEW).unwrap_or(0) as u32
    }

    /// Who asks for names outside the zone.
    pub fn external(&self) -> External {
        self.settings.external()
    }

    /// Whether answers for names outside the zone lie in a file beside it.
    pub fn holds_external(&self) -> bool {
        self.settings.flags() & config::HOLDS_EXTERNAL != 0
    }

    /// Whether there are rules.
    #[inline]
    pub const fn has_rules(&self) -> bool {
        self.settings.has_rules()
    }

    /// What the rules make of `name` (lower case, absolute, no trailing dot), which becomes the name
    /// to ask for in its place. A name under an excepted suffix is blocked, but not rewritten:
    /// whoever is asked instead knows what it leads to. `relative` is a relative name's last label,
    /// and the suffix that made `name` of it.
    #[cold]
    pub fn rule(&self, name: &mut Name, relative: Option<(&[u8], &[u8])>) -> Ruling {
        self.try_rule(name, relative).unwrap_or_else(|| {
            self.failed.set(true);
            Ruling::Unruled
        })
    }

    fn try_rule(&self, name: &mut Name, relative: Option<(&[u8], &[u8])>) -> Option<Ruling> {
        let rewrites = !self.is_excepted(name.as_bytes())?;
        let guarded = match relative {
            Some((label, suffix @ [b's', b'v', b'c', b'.', ..]))
                if place(self.words, suffix)? == Place::NoData =>
            {
                Some(label)
            }
            _ => None,
        };
        self.charge(self.settings.suffixes())?;
        let mut rules = self.settings.rules(self.words)?;
        let ruling = rules::apply(&mut rules, rewrites, guarded, name);
        // A text is looked for, and another put in its place.
        self.charge(rules.walked().saturating_mul(2))?;
        ruling
    }

    /// The zone's TTL in seconds.
    pub fn ttl(&self) -> u32 {
        self.settings.ttl()
    }

    /// A and AAAA of `name` (lower case, absolute, no trailing dot), CNAMEs inside the zone
    /// followed. Fills `room` from its start in record order, which differs between families and
    /// has no meaning. At most [`MAX_ADDRESSES`].
    ///
    /// With [`Found::Answer`], [`Found::NoData`] and [`Found::Chase`], `canonical` is the last CNAME's target; it is empty
    /// when the name asked for owns the data itself.
    pub fn addresses(
        &self,
        name: &[u8],
        families: Families,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Found {
        canonical.clear();
        let found = self.find_addresses(name, families, room, canonical);
        self.or_corrupt(found)
    }

    /// What a file of held answers says of the external name `name` (as [`Snapshot::addresses`] takes
    /// it): every family that is asked for must be held and not expired at `now`, and the families
    /// must agree on whether the name exists; else [`Found::Ask`] (whatever the reason, DNS tells).
    ///
    /// With [`Found::Answer`] and [`Found::NoData`], `canonical` is the end of the CNAMEs that led
    /// to the first family's data (IPv4 before IPv6, a family with addresses before one without);
    /// empty: the name itself. Addresses are in no order that means anything.
    pub fn held(
        &self,
        name: &[u8],
        families: Families,
        now: Now,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Found {
        canonical.clear();
        let found = self.find_held(name, families, now, room, canonical);
        self.or_corrupt(found)
    }

    /// PTR of `address`: absolute names in `room`, without trailing dots.
    pub fn names(&self, address: &Address, room: &mut [Name]) -> Found {
        let found = self.find_names(address, room);
        self.or_corrupt(found)
    }

    /// SRV of `name` (as [`Snapshot::addresses`] takes it): of `_port._proto.<service>`, or all of
    /// a service's ports; weights as CoreDNS gives them.
    pub fn services(&self, name: &[u8], room: &mut [Srv]) -> Found {
        let mut list = List::new(room);
        let found = self.each_service(name, &mut |port, target, _| match port {
            Some(port) => list.push(port, target),
            None => 1,
        });
        match found {
            Found::Answer { count } => list.finish(count),
            found => found,
        }
    }

    /// What the SRV records of `name` are made of, in no order and with repetitions: port (`None`
    /// of an endpoint that has none: there is no record, but it counts in the weight), target and
    /// one of its addresses. `visit` returns what it cost, in steps: a few hundred thousand are granted. The count of
    /// [`Found::Answer`] is how many share the weight ([`Srv::weight_among`]).
    pub fn each_service(
        &self,
        name: &[u8],
        visit: &mut dyn FnMut(Option<u16>, &Name, &Address) -> usize,
    ) -> Found {
        let found = self.find_services(name, visit);
        self.or_corrupt(found)
    }

    /// The target of `name`'s own CNAME, in `target`; false when it has none.
    pub fn alias(&self, name: &[u8], target: &mut Name) -> bool {
        target.clear();
        let found = self.find_alias(name, target);
        found.unwrap_or_else(|| {
            self.failed.set(true);
            false
        })
    }

    /// The zone's name, in lower case; empty when it cannot be read.
    pub fn apex(&self) -> Name {
        let mut apex = Name::new();
        if self.append_apex(&mut apex).is_none() {
            self.failed.set(true);
        }
        apex
    }

    /// When the zone last changed: seconds of Unix time, as CoreDNS counts its serial.
    pub fn serial(&self) -> u32 {
        self.words.load(AT_UPDATED).unwrap_or(0) as u32
    }

    /// `None` stands for a load past the end, a malformed record or an exhausted budget.
    fn or_corrupt(&self, found: Option<Found>) -> Found {
        found.unwrap_or_else(|| {
            self.failed.set(true);
            Found::Unavailable(Unavailable::Corrupt)
        })
    }

    /// Pays for `count` words; `None` when the budget is used up.
    fn charge(&self, count: usize) -> Option<()> {
        self.charge_steps(count.saturating_mul(WORD_COST as usize))
    }

    /// Pays for `count` steps of a caller's; `None` when the budget is used up.
    fn charge_steps(&self, count: usize) -> Option<()> {
        let left = self.budget.get().checked_sub(u32::try_from(count).ok()?)?;
        self.budget.set(left);
        Some(())
    }

    /// Pays for a text of `length` bytes that is compared or copied, and for a word that leads to it.
    fn charge_text(&self, length: usize) -> Option<()> {
        self.charge((length / WORD).saturating_add(2))
    }

    /// What an absent name is, now that the zone has been searched completely.
    fn negative(&self) -> Found {
        if self.stale {
            Found::Ask(Ask::Stale)
        } else if self.incomplete {
            Found::Ask(Ask::Incomplete)
        } else {
            Found::NxDomain
        }
    }

    /// Whether an excepted suffix covers `name`.
    fn is_excepted(&self, name: &[u8]) -> Option<bool> {
        for text in self.settings.suffix_texts(self.words) {
            let (at, length) = text?;
            self.charge(1)?;
            if name.len() < length {
                continue;
            }
            self.charge_text(length)?;
            if ends_with_labels(self.words, name, at, length)?.is_some() {
                return Some(true);
            }
        }
        Some(false)
    }

    /// The record of `key`. Loads of a record's words come after the load of its slot: the acquire
    /// fence pairs with the release store that committed the slot.
    fn record(&self, key: &[u8]) -> Option<Lookup> {
        let hash = self.seed.of_key(key);
        let mut line = hash.line(self.root.main_lines);
        for _ in 0..MAX_PROBE_LINES {
            let slots = self.words.range(self.root.main_word(line), LINE_WORDS)?;
            let mut is_last = false;
            for slot in slots {
                let slot = slot.load(Ordering::Relaxed);
                is_last |= slot == EMPTY;
                if (slot >> 32) as u32 == hash.tag() && slot as u32 > 1 {
                    if !leaves_out(Step::SlotFence) {
                        fence(Ordering::Acquire);
                    }
                    let head = Head::load(self.words, slot as u32)?;
                    if head.is_of(self.words, key)? {
                        return Some(Lookup::Present(head));
                    }
                    self.charge_text(key.len())?;
                }
            }
            if is_last {
                return Some(if self.incomplete {
                    Lookup::Incomplete
                } else {
                    Lookup::Absent
                });
            }
            self.charge(LINE_WORDS)?;
            line = next_line(line, self.root.main_lines);
        }
        Some(Lookup::Incomplete)
    }

    /// Whether a namespace exists: `Ok`, or what to answer instead.
    fn namespace(&self, namespace: &[u8]) -> Option<Result<(), Found>> {
        Some(match self.record(namespace)? {
            Lookup::Present(head) if head.kind() == kind::NAMESPACE && head.is_known() => Ok(()),
            Lookup::Present(_) => Err(Found::Ask(Ask::Unknown)),
            Lookup::Incomplete => Err(Found::Ask(Ask::Incomplete)),
            Lookup::Absent => Err(self.negative()),
        })
    }

    /// A service's record, or what to answer instead.
    fn service(&self, key: &[u8], namespace: &[u8]) -> Option<Result<Head, Found>> {
        match self.record(key)? {
            Lookup::Present(head) if !head.is_known() => Some(Err(Found::Ask(Ask::Unknown))),
            Lookup::Present(head) if head.kind() != kind::PENDING => Some(Ok(head)),
            Lookup::Incomplete => Some(Err(Found::Ask(Ask::Incomplete))),
            Lookup::Present(_) | Lookup::Absent => Some(Err(self.absent_service(namespace)?)),
        }
    }

    /// What a service is that is not there.
    #[cold]
    fn absent_service(&self, namespace: &[u8]) -> Option<Found> {
        Some(match self.namespace(namespace)? {
            Err(found) => found,
            Ok(()) if self.stale => Found::Ask(Ask::Stale),
            Ok(()) if self.incomplete => Found::Ask(Ask::Incomplete),
            Ok(()) if self.settings.miss_policy() == config::MISS_NXDOMAIN => Found::NxDomain,
            Ok(()) => Found::Ask(Ask::Miss),
        })
    }
}

/// What a probe of the index came to.
enum Lookup {
    /// The record.
    Present(Head),
    /// Certainly not there.
    Absent,
    /// Perhaps there, but the index could not take it.
    Incomplete,
}

/// The line after `line` in a chain; the last is followed by the first.
const fn next_line(line: u32, lines: u32) -> u32 {
    let next = line.wrapping_add(1);
    if next >= lines { 0 } else { next }
}

/// The line where a chain starts, one address at a time.
fn ptr_hash(seed: Seed, address: &Address) -> Hash {
    seed.of_address(address.as_octets())
}

/// Both families, to walk over them.
const FAMILIES: [Family; 2] = [Family::V6, Family::V4];
