//! What a watch asks for next: the pure part of list and watch.
//!
//! ```text
//!   Listing --streamed list, or page after page--> Following(version) --watch--> Following(newer)
//!      ^------- gone (410), or a list that failed --------|
//! ```

use super::failure::{Failure, Kind};

/// A version that the server does not have yet may be one that it is about to have. After so many
/// refusals in a row it is one of another history: its storage was restored. Servers of 1.37 do not
/// refuse: they say nothing, not even where they are, until they have the version.
const PATIENCE: u32 = 3;

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
            Stage::Following { version } => Ask::Watch {
                version: version.clone(),
            },
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

    /// The request failed.
    pub(super) fn failed(&mut self, kind: Kind) {
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
            course.failed(kind);
            assert_eq!(course.next(true), watch("9"), "{kind:?}");
        }
        course.failed(Kind::Gone);
        assert_eq!(course.next(true), list("9"), "and not back in time");
    }

    #[test]
    fn pages_are_one_list_or_none() {
        let mut course = Course::default();
        assert_eq!(course.next(false), page(None));
        assert!(!course.page("7", Some("more".to_owned())).unwrap());
        assert_eq!(course.next(false), page(Some("more")));
        course.failed(Kind::Gone);
        assert_eq!(course.next(false), page(None), "the token is too old");
        course.page("8", Some("more".to_owned())).unwrap();
        assert!(course.page("8", Some(String::new())).unwrap());
        assert_eq!(course.next(false), watch("8"));
    }

    #[test]
    fn a_version_of_another_history_is_given_up() {
        let mut course = Course::default();
        course.listed("900").unwrap();
        for _ in 1..PATIENCE {
            course.failed(Kind::Ahead);
            assert_eq!(course.next(true), watch("900"), "the server may lag");
        }
        course.failed(Kind::Ahead);
        assert_eq!(course.next(true), list("0"));
    }

    #[test]
    fn a_server_that_never_speaks_again_has_another_history() {
        let mut course = Course::default();
        course.listed("900").unwrap();
        for version in ["901", "902"] {
            for _ in 1..PATIENCE {
                course.failed(Kind::Silent);
            }
            course.moved(version).unwrap();
            assert_eq!(course.next(true), watch(version), "it spoke in between");
        }
        for _ in 0..PATIENCE {
            assert_eq!(course.next(true), watch("902"));
            course.failed(Kind::Silent);
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
