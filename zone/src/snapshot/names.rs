//! PTR: hints lead to services, whose records have the last word.

use super::{Snapshot, next_line, ptr_hash};
use crate::{
    Address, Ask, Found, Name, dashed,
    layout::{EMPTY, HINT_BIAS, LINE_WORDS, MANY, MAX_PROBE_LINES, config, kind},
    record::{Chunk, Head},
    sync::{Ordering, Step, fence, leaves_out},
};

impl Snapshot<'_> {
    /// A service's own address is named after it alone; else every service names its endpoint.
    pub(super) fn find_names(&self, address: &Address, room: &mut [Name]) -> Option<Found> {
        let mut names = Names { room, count: 0 };
        for of_endpoints in [false, true] {
            match self.gather(address, of_endpoints, &mut names)? {
                Hints::Many => return Some(Found::Ask(Ask::NotHeld)),
                Hints::Overflow => return Some(Found::Ask(Ask::Incomplete)),
                Hints::All if names.count > 0 => break,
                Hints::All => {}
            }
        }
        Some(if names.count > names.room.len() {
            Found::Room(names.count)
        } else if names.count > 0 {
            Found::Answer { count: names.count }
        } else if self.settings.flags() & config::PTR_AUTHORITATIVE == 0 {
            Found::Ask(Ask::NotHeld)
        } else {
            self.negative()
        })
    }

    /// Gathers the names that every service has for `address` to which one of its hints leads: its
    /// own, or those of its endpoints.
    fn gather(
        &self,
        address: &Address,
        of_endpoints: bool,
        names: &mut Names<'_>,
    ) -> Option<Hints> {
        if self.root.ptr_lines == 0 {
            return Some(Hints::All);
        }
        let hash = ptr_hash(self.seed, address);
        let main_slots = u64::from(self.root.main_lines).wrapping_mul(LINE_WORDS as u64);
        let mut line = hash.line(self.root.ptr_lines);
        for _ in 0..MAX_PROBE_LINES {
            let mut is_last = false;
            for slot in self.words.range(self.root.ptr_word(line), LINE_WORDS)? {
                let slot = slot.load(Ordering::Relaxed);
                is_last |= slot == EMPTY;
                let number = slot as u32;
                if (slot >> 32) as u32 != hash.tag() || number < HINT_BIAS {
                    continue;
                }
                if number == MANY {
                    return Some(Hints::Many);
                }
                let number = number.wrapping_sub(HINT_BIAS);
                if u64::from(number) >= main_slots {
                    return None;
                }
                let at = self.root.main_word(0).wrapping_add(number as usize);
                self.charge(4)?;
                let granule = self.words.load(at)? as u32;
                if granule > 1 {
                    if !leaves_out(Step::SlotFence) {
                        fence(Ordering::Acquire);
                    }
                    let head = Head::load(self.words, granule)?;
                    if of_endpoints {
                        self.endpoint_names(&head, address, names)?;
                    } else {
                        self.own_name(&head, address, names)?;
                    }
                }
            }
            if is_last {
                return Some(Hints::All);
            }
            self.charge(LINE_WORDS)?;
            line = next_line(line, self.root.ptr_lines);
        }
        Some(Hints::Overflow)
    }

    /// `<service>.<namespace>.svc.<apex>`, when the service has the address itself.
    fn own_name(&self, head: &Head, address: &Address, names: &mut Names<'_>) -> Option<()> {
        if head.kind() != kind::SERVICE || !head.is_known() {
            return Some(());
        }
        let mut addresses = head.addresses(self.words, address.family)?;
        self.charge(addresses.cost())?;
        if addresses.any(|own| own == *address || leaves_out(Step::Verify)) {
            let mut name = Name::EMPTY;
            self.append_service(head, &mut name)?;
            names.push(&name);
        }
        Some(())
    }

    /// `<endpoint>.<service>.<namespace>.svc.<apex>`, for each ready endpoint with the address.
    fn endpoint_names(&self, head: &Head, address: &Address, names: &mut Names<'_>) -> Option<()> {
        if !matches!(head.kind(), kind::SERVICE | kind::HEADLESS) || !head.is_known() {
            return Some(());
        }
        for granule in head.chunk_granules(self.words)? {
            let chunk = self.chunk(granule)?;
            if chunk.family != address.family {
                continue;
            }
            let addresses = chunk.addresses(self.words)?;
            self.charge(addresses.cost())?;
            for (index, endpoint) in addresses.enumerate() {
                if endpoint != *address {
                    continue;
                }
                self.charge(1)?;
                if chunk.is_ready(self.words, index)? {
                    let mut name = Name::EMPTY;
                    self.append_endpoint(&chunk, index, &endpoint, &mut name)?;
                    self.append_service(head, &mut name)?;
                    names.push(&name);
                }
            }
        }
        Some(())
    }

    /// Appends the label of one endpoint and a dot; `None` past the end.
    pub(super) fn append_endpoint(
        &self,
        chunk: &Chunk,
        index: usize,
        address: &Address,
        name: &mut Name,
    ) -> Option<()> {
        let label = chunk.hostname(self.words, index)?;
        self.charge_text(label.length)?;
        if label.length == 0 {
            dashed::format(address, name).then_some(())?;
        } else {
            self.words.append_to(label.at, label.length, name)?;
        }
        name.push(b".").then_some(())
    }

    /// Appends `<service>.<namespace>.svc.<apex>`; `None` past the end.
    pub(super) fn append_service(&self, head: &Head, name: &mut Name) -> Option<()> {
        self.words
            .append_to(head.key_at(), head.key_length(), name)?;
        name.push(b".svc.").then_some(())?;
        self.append_apex(name)?;
        self.charge_text(name.as_bytes().len())
    }

    /// Appends the apex; `None` past the end.
    pub(super) fn append_apex(&self, name: &mut Name) -> Option<()> {
        use crate::layout::{AT_APEX, AT_APEX_LENGTH};
        let apex_length = usize::try_from(self.words.load(AT_APEX_LENGTH)?).ok()?;
        self.words.append_to(AT_APEX, apex_length, name)
    }
}

/// What the chain of an address held.
enum Hints {
    /// All of them.
    All,
    /// More services than hints are kept for.
    Many,
    /// The chain is full: some may not have found a place.
    Overflow,
}

/// Writes names to a room, each once, counting those that do not fit.
struct Names<'r> {
    room: &'r mut [Name],
    count: usize,
}

impl Names<'_> {
    fn push(&mut self, name: &Name) {
        if self.room.iter().take(self.count).any(|known| known == name) {
            return;
        }
        if let Some(entry) = self.room.get_mut(self.count) {
            *entry = *name;
        }
        self.count = self.count.wrapping_add(1);
    }
}
