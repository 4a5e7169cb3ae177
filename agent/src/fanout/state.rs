//! The state record: what the bucket says of itself.

use super::key;
use crate::{model::Source, watch::FORMAT};
use core::fmt;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// So many terms are told: usually more than begin while an agent is away for as long as it may go on. Every
/// agent is sent them with every beat.
const TERMS: usize = 8;

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
    /// The last terms, the present one at the end. Sequence numbers alone do not say which history they are
    /// of: a bucket that was restored from a backup gives them a second time.
    #[serde(default)]
    pub(super) terms: Vec<Term>,
}

/// A publisher's term: it ends, too, when the bucket turns out to be another than it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Term {
    /// A random word that no other term has.
    pub(super) word: String,
    /// What it wrote has this sequence number or a later one.
    pub(super) since: u64,
}

/// A place in the history of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Everything up to this sequence number is known.
    pub(super) sequence: u64,
    /// The term in which it was; empty: not known.
    pub(super) term: String,
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

    /// The word of the present term; empty when it does not say.
    pub(super) fn term_word(&self) -> &str {
        self.terms.last().map_or("", |term| &term.word)
    }

    /// Another term begins.
    pub(super) fn begin_term(&mut self, term: Term) {
        self.terms.push(term);
        let many = self.terms.len().saturating_sub(TERMS);
        self.terms.drain(..many);
    }

    /// Whether a place is in the bucket's history: its term is one that we know, and the one after it
    /// began later. Without terms nobody can tell.
    pub(super) fn holds(&self, place: &Place) -> bool {
        if place.term.is_empty() || self.terms.is_empty() {
            return true;
        }
        let mut terms = self.terms.iter();
        let known = terms.any(|term| term.word == place.term);
        known && terms.next().is_none_or(|next| next.since > place.sequence)
    }

    /// Whether the watch behind a source works.
    pub(super) fn is_followed(&self, source: Source) -> bool {
        let kind = self.kinds.get(key::kind(source));
        kind.is_some_and(|kind| kind.followed)
    }
}

impl Place {
    /// Reads a place as it is written. Agents of earlier versions wrote no term.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (sequence, term) = text.split_once(' ').unwrap_or((text, ""));
        Some(Self {
            sequence: sequence.parse().ok()?,
            term: term.to_owned(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.sequence)?;
        match self.term.as_str() {
            "" => Ok(()),
            term => write!(formatter, " {term}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(sequence: u64, term: &str) -> Place {
        let term = term.to_owned();
        Place { sequence, term }
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        for place in [place(7, "word"), place(7, "")] {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        for text in ["", " word", "x word", "-1"] {
            assert_eq!(Place::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_place_belongs_to_the_history_of_its_term() {
        let mut state = State::default();
        let any = place(500, "a");
        assert!(state.holds(&any), "it does not say");
        for (word, since) in [("a", 1), ("b", 100), ("c", 200)] {
            let word = word.to_owned();
            state.begin_term(Term { word, since });
        }
        assert!(state.holds(&place(99, "a")));
        assert!(!state.holds(&place(100, "a")), "`a` had ended by then");
        assert!(state.holds(&place(199, "b")));
        assert!(
            !state.holds(&place(250, "b")),
            "that `b` went on for longer"
        );
        assert!(state.holds(&place(9_999, "c")), "`c` still writes");
        assert!(!state.holds(&place(50, "x")), "of a history that is lost");
        assert!(state.holds(&place(50, "")), "nobody knows");
    }

    #[test]
    fn only_the_last_terms_are_kept() {
        let mut state = State::default();
        for since in 0..1_000 {
            let word = since.to_string();
            state.begin_term(Term { word, since });
        }
        assert_eq!((state.terms.len(), state.term_word()), (TERMS, "999"));
        assert!(state.holds(&place(998, "998")));
        assert!(!state.holds(&place(1, "1")));
    }

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
