//! What a watch asks for next: the pure part of list and watch.
//!
//! ```text
//!   Listing --streamed list, or page after page--> Following(version) --watch--> Following(newer)
//!      ^------- gone (410), or a list that failed --------|  |  ^
//!      |                                                     |  | a watch that broke
//!      '------ it is behind what we have seen -------- where is the server?
//! ```
//!
//! A cluster whose storage was restored has another history from the backup on. Its servers accept a watch
//! from a version that they do not have, say nothing, and later what came after that version: what
//! happened in between would never be known. So a server that was away, or that another agent watched
//! before us, is asked for its version first (decision 0055).

use super::failure::{Failure, Kind};

/// A version that the server does not have yet may be one that it is about to have. After so many
/// refusals in a row, or watches without a word, it is one of another history.
const PATIENCE: u32 = 3;

/// A server that so often did not say where it is, is watched all the same.
const VAGUE: u32 = 5;

/// The next request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A list as a stream, which then goes on as a watch.
    StreamedList {
        /// The state must not be older; `0`: any.
        since: String,
    },
    /// A page of a list; the first has no token.
    Page {
        /// The server's word for where the page begins.
        token: Option<String>,
    },
    /// The server's version, of its storage and not of its cache.
    Newest,
    /// Changes after a version.
    Watch {
        /// The version.
        version: String,
    },
}

/// How far a watch is.
#[derive(Debug, Default)]
pub(super) struct Course {
    stage: Stage,
    /// The last version that was seen, `None` before the first.
    seen: Option<String>,
    /// How often the server did not know the version yet, or said nothing.
    ahead: u32,
    /// It may have another history than the one that we followed.
    doubted: bool,
    /// How often it did not say where it is.
    vague: u32,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing of the list has come.
    #[default]
    Listing,
    /// Some pages have.
    Paging { token: String },
    /// The list is complete.
    Following { version: String },
}

impl Course {
    /// What to ask for; `streams` says that the server streams lists.
    pub(super) fn next(&self, streams: bool) -> Ask {
        match &self.stage {
            Stage::Listing if streams => Ask::StreamedList {
                since: self.seen.clone().unwrap_or_else(|| "0".to_owned()),
            },
            Stage::Listing => Ask::Page { token: None },
            Stage::Paging { token } => Ask::Page {
                token: Some(token.clone()),
            },
            Stage::Following { .. } if self.doubted => Ask::Newest,
            Stage::Following { version } => Ask::Watch {
                version: version.clone(),
            },
        }
    }

    /// What is followed was told by an earlier agent: complete as of this version.
    pub(super) fn resumed(&mut self, version: &str) -> Result<(), Failure> {
        self.listed(version)?;
        self.doubted = true;
        Ok(())
    }

    /// Whatever was seen is of another history: a list is asked for.
    pub(super) fn start_over(&mut self) {
        *self = Self::default();
    }

    /// The server is at this version. An error: it cannot have the history that we followed.
    pub(super) fn newest(&mut self, theirs: &str) -> Result<(), Failure> {
        (self.doubted, self.vague) = (false, 0);
        let Stage::Following { version: ours } = &self.stage else {
            return Ok(());
        };
        // Versions are numbers that grow (Kubernetes 1.35 says so; they always were). Others say nothing.
        let number = |version: &str| version.parse::<u128>().ok();
        match (number(theirs), number(ours)) {
            (Some(there), Some(here)) if there < here => {
                let why = format!("the server is at version {theirs}, and we have seen {ours}");
                *self = Self {
                    seen: Some(theirs.to_owned()),
                    ..Self::default()
                };
                Err(Failure::new(Kind::Restored, why))
            }
            _ => Ok(()),
        }
    }

    /// A page came, with the token of the next one if there is one. Whether it was the last.
    pub(super) fn page(&mut self, version: &str, token: Option<String>) -> Result<bool, Failure> {
        match token.filter(|token| !token.is_empty()) {
            Some(token) => {
                self.stage = Stage::Paging { token };
                Ok(false)
            }
            None => self.listed(version).map(|()| true),
        }
    }

    /// The list is complete as of this version.
    pub(super) fn listed(&mut self, version: &str) -> Result<(), Failure> {
        self.stage = Stage::Following {
            version: String::new(),
        };
        (self.doubted, self.vague) = (false, 0);
        self.moved(version)
    }

    /// The state after this version is known: of an object, or of a bookmark. Within a streamed
    /// list it says nothing.
    pub(super) fn moved(&mut self, version: &str) -> Result<(), Failure> {
        if let Stage::Following { version: known } = &mut self.stage {
            if version.is_empty() {
                self.stage = Stage::Listing;
                let why = "an object without a resourceVersion";
                return Err(Failure::new(Kind::Nonsense, why));
            }
            version.clone_into(known);
            self.seen = Some(version.to_owned());
            self.ahead = 0;
        }
        Ok(())
    }

    /// The request failed; `in_time`: after as long as was agreed.
    pub(super) fn failed(&mut self, kind: Kind, in_time: bool) {
        if matches!(self.stage, Stage::Following { .. }) {
            if self.doubted {
                return self.not_said(kind);
            }
            self.doubted = kind != Kind::Ended || !in_time;
        }
        match (&self.stage, kind) {
            (_, Kind::Ahead) | (Stage::Following { .. }, Kind::Silent) => {
                self.ahead += 1;
                if self.ahead >= PATIENCE {
                    *self = Self::default();
                }
            }
            (Stage::Following { .. }, Kind::Gone) | (Stage::Paging { .. }, _) => {
                self.stage = Stage::Listing;
            }
            _ => {}
        }
    }

    /// The server did not say where it is.
    fn not_said(&mut self, kind: Kind) {
        match kind {
            // It was not asked, or not heard. And a server that starts knows nobody's rights yet: for the
            // first moments it forbids what it allows a second later.
            Kind::Connect
            | Kind::Stream
            | Kind::Busy
            | Kind::Untrusted
            | Kind::Refused(401 | 403) => return,
            // Nor will it.
            Kind::Nonsense => self.vague = VAGUE,
            _ => self.vague += 1,
        }
        if self.vague >= VAGUE {
            (self.doubted, self.vague) = (false, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(version: &str) -> Ask {
        let version = version.to_owned();
        Ask::Watch { version }
    }

    fn page(token: Option<&str>) -> Ask {
        let token = token.map(str::to_owned);
        Ask::Page { token }
    }

    fn list(since: &str) -> Ask {
        let since = since.to_owned();
        Ask::StreamedList { since }
    }

    #[test]
    fn a_streamed_list_goes_on_as_a_watch() {
        let mut course = Course::default();
        assert_eq!(course.next(true), list("0"));
        course.moved("3").unwrap();
        assert_eq!(course.next(true), list("0"), "half a list is none");
        course.listed("7").unwrap();
        course.moved("9").unwrap();
        for kind in [
            Kind::Ended,
            Kind::Connect,
            Kind::Stream,
            Kind::Busy,
            Kind::Refused(403),
        ] {
            course.failed(kind, false);
            assert_eq!(course.next(true), Ask::Newest, "{kind:?}");
            course.newest("9").unwrap();
            assert_eq!(course.next(true), watch("9"), "{kind:?}");
        }
        course.failed(Kind::Gone, false);
        assert_eq!(course.next(true), list("9"), "and not back in time");
    }

    #[test]
    fn pages_are_one_list_or_none() {
        let mut course = Course::default();
        assert_eq!(course.next(false), page(None));
        assert!(!course.page("7", Some("more".to_owned())).unwrap());
        assert_eq!(course.next(false), page(Some("more")));
        course.failed(Kind::Gone, false);
        assert_eq!(course.next(false), page(None), "the token is too old");
        course.page("8", Some("more".to_owned())).unwrap();
        assert!(course.page("8", Some(String::new())).unwrap());
        assert_eq!(course.next(false), watch("8"));
    }

    #[test]
    fn a_watch_that_ends_in_time_is_not_doubted() {
        let mut course = Course::default();
        course.listed("7").unwrap();
        course.failed(Kind::Ended, true);
        assert_eq!(course.next(true), watch("7"));
        course.failed(Kind::Ended, false);
        assert_eq!(course.next(true), Ask::Newest);
        // What an earlier agent left is, and what was just listed is not.
        course.listed("8").unwrap();
        assert_eq!(course.next(true), watch("8"));
        course.resumed("8").unwrap();
        assert_eq!(course.next(true), Ask::Newest);
    }

    #[test]
    fn a_server_that_is_behind_has_another_history() {
        for (theirs, known) in [("99", "100"), ("9", "10"), ("1", "340282366920938463463")] {
            let mut course = Course::default();
            course.resumed(known).unwrap();
            let failure = course.newest(theirs).unwrap_err();
            assert_eq!(failure.kind, Kind::Restored);
            course.failed(failure.kind, false);
            assert_eq!(course.next(true), list(theirs), "not of an older state");
            course.listed(theirs).unwrap();
            assert_eq!(course.next(true), watch(theirs));
        }
        for theirs in ["100", "101", "1000", "", "what"] {
            let mut course = Course::default();
            course.resumed("100").unwrap();
            course.newest(theirs).unwrap();
            assert_eq!(course.next(true), watch("100"), "{theirs:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_say_where_it_is_is_watched() {
        let mut course = Course::default();
        course.resumed("7").unwrap();
        let unheard = [
            Kind::Connect,
            Kind::Stream,
            Kind::Busy,
            Kind::Untrusted,
            Kind::Refused(403),
        ];
        for kind in unheard {
            for _ in 0..=VAGUE {
                course.failed(kind, false);
                assert_eq!(course.next(true), Ask::Newest, "{kind:?}");
            }
        }
        for _ in 1..VAGUE {
            course.failed(Kind::Refused(503), false);
            assert_eq!(course.next(true), Ask::Newest);
        }
        course.failed(Kind::Refused(503), false);
        assert_eq!(course.next(true), watch("7"), "for want of a better one");
        course.resumed("7").unwrap();
        course.failed(Kind::Nonsense, false);
        assert_eq!(course.next(true), watch("7"), "it never will");
    }

    /// The watch fails like this, on a server that does not say where it is.
    fn fail(course: &mut Course, kind: Kind) {
        course.failed(kind, false);
        if course.next(true) == Ask::Newest {
            course.failed(Kind::Nonsense, false);
        }
    }

    #[test]
    fn a_version_of_another_history_is_given_up() {
        let mut course = Course::default();
        course.listed("900").unwrap();
        for _ in 1..PATIENCE {
            fail(&mut course, Kind::Ahead);
            assert_eq!(course.next(true), watch("900"), "the server may lag");
        }
        fail(&mut course, Kind::Ahead);
        assert_eq!(course.next(true), list("0"));
    }

    #[test]
    fn a_server_that_never_speaks_again_has_another_history() {
        let mut course = Course::default();
        course.listed("900").unwrap();
        for version in ["901", "902"] {
            for _ in 1..PATIENCE {
                fail(&mut course, Kind::Silent);
            }
            course.moved(version).unwrap();
            assert_eq!(course.next(true), watch(version), "it spoke in between");
        }
        for _ in 0..PATIENCE {
            assert_eq!(course.next(true), watch("902"));
            fail(&mut course, Kind::Silent);
        }
        assert_eq!(course.next(true), list("0"));
    }

    #[test]
    fn without_versions_nothing_can_be_followed() {
        let mut course = Course::default();
        course.listed("").unwrap_err();
        assert_eq!(course.next(true), list("0"));
        course.listed("5").unwrap();
        course.moved("").unwrap_err();
        assert_eq!(course.next(true), list("5"));
    }
}
