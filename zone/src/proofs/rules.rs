//! A CONFIG record by itself: what its rules make of a name.

use crate::{
    Config, Name, Ruling, WriteError, rules::apply, settings::Settings, sync::AtomicU64,
    words::Words, writer::encode,
};
use std::vec::Vec;

/// The words of a configuration's record.
///
/// # Errors
/// As [`crate::Writer::configure`].
pub fn config_record(config: &Config) -> Result<Vec<u64>, WriteError> {
    encode::config(config)
}

/// What the rules in `record`, which may be any words, make of `name`; `relative` is its last label if
/// it is relative. `None` where a reader passes.
pub fn apply_rules(record: &[u64], relative: Option<&[u8]>, name: &mut Name) -> Option<Ruling> {
    let words: Vec<AtomicU64> = record.iter().copied().map(AtomicU64::new).collect();
    let words = Words::new(&words);
    let settings = Settings::load(words, 0).filter(Settings::is_known)?;
    if !settings.has_rules() {
        return Some(Ruling::Unruled);
    }
    apply(&mut settings.rules(words)?, true, relative, name)
}
