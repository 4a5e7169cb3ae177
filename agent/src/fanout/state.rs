//! The state record: what the bucket says of itself.

use super::key;
use crate::{model::Source, watch::FORMAT};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// What the bucket says of itself. Fields may be added without another format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct State {
    /// Of the records.
    pub(super) format: u8,
    /// Who leads.
    pub(super) publisher: String,
    /// How often the Lease has changed hands.
    pub(super) term: u64,
    /// How often the record is written at least.
    pub(super) beat_millis: u64,
    /// Who does not know everything up to this sequence number reads the bucket again.
    pub(super) floor: u64,
    /// What is published, by the kinds' words.
    pub(super) kinds: BTreeMap<String, KindState>,
}

/// One kind of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct KindState {
    /// The label selector of the watch.
    pub(super) selector: Option<String>,
    /// The bucket has held a whole list.
    pub(super) complete: bool,
    /// The watch works, and what it said is in the bucket.
    pub(super) followed: bool,
}

/// Why a bucket is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it says nothing of itself that can be read")]
    Unreadable,
    #[error("its format is {0}")]
    Foreign(u8),
    #[error("{0} are not published")]
    Absent(&'static str),
    #[error("{0} are published by another selector")]
    Selector(&'static str),
    #[error("{0} are not all there yet")]
    Incomplete(&'static str),
}

impl State {
    /// Reads the record.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Unfit> {
        serde_json::from_slice(bytes).map_err(|_| Unfit::Unreadable)
    }

    /// Writes the record. It cannot fail for what it is made of.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// How often the record is written at least; never nothing.
    pub(super) fn beat(&self) -> Duration {
        Duration::from_millis(self.beat_millis.max(1))
    }

    /// Whether it holds all that is wanted: sources with their selectors.
    pub(super) fn fits<'a>(
        &self,
        wanted: impl IntoIterator<Item = (Source, Option<&'a str>)>,
    ) -> Result<(), Unfit> {
        if self.format != FORMAT {
            return Err(Unfit::Foreign(self.format));
        }
        for (source, selector) in wanted {
            let word = key::kind(source);
            let kind = self.kinds.get(word).ok_or(Unfit::Absent(word))?;
            if kind.selector.as_deref() != selector {
                return Err(Unfit::Selector(word));
            }
            if !kind.complete {
                return Err(Unfit::Incomplete(word));
            }
        }
        Ok(())
    }

    /// Whether the watch behind a source works.
    pub(super) fn is_followed(&self, source: Source) -> bool {
        let kind = self.kinds.get(key::kind(source));
        kind.is_some_and(|kind| kind.followed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let kind = |selector: Option<&str>| KindState {
            selector: selector.map(str::to_owned),
            complete: true,
            followed: true,
        };
        let kinds = [("namespaces", kind(None)), ("services", kind(Some("a=b")))];
        State {
            format: FORMAT,
            publisher: "p".to_owned(),
            kinds: kinds.map(|(word, kind)| (word.to_owned(), kind)).into(),
            ..State::default()
        }
    }

    #[test]
    fn states_are_read_as_they_are_written_and_may_say_more() {
        assert_eq!(State::parse(&state().to_bytes()), Ok(state()));
        let text = String::from_utf8(state().to_bytes()).unwrap();
        let more = text.replacen('{', r#"{"later": 1, "#, 1);
        assert_eq!(State::parse(more.as_bytes()), Ok(state()));
        assert_eq!(State::parse(b"{"), Err(Unfit::Unreadable));
    }

    #[test]
    fn a_bucket_is_followed_only_for_what_it_holds() {
        let (names, services) = (Source::Namespaces, Source::Services);
        let all = [(names, None), (services, Some("a=b"))];
        assert_eq!(state().fits(all), Ok(()));
        assert_eq!(
            state().fits([(Source::ProxySlices, None)]),
            Err(Unfit::Absent("proxy-slices"))
        );
        assert_eq!(
            state().fits([(services, None)]),
            Err(Unfit::Selector("services"))
        );
        let mut other = state();
        other.format = FORMAT + 1;
        assert_eq!(other.fits(all), Err(Unfit::Foreign(FORMAT + 1)));
        let mut other = state();
        other.kinds.get_mut("services").unwrap().complete = false;
        assert_eq!(other.fits(all), Err(Unfit::Incomplete("services")));
        assert_eq!(other.fits([(names, None)]), Ok(()));
    }
}
