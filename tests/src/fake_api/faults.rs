//! How the server fails, and when.

use super::server::Request;
use crate::scale::Kind;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429, and the wish to be left alone for so many seconds.
    Busy(u32),
    /// 500.
    Broken,
    /// 403.
    Forbidden,
    /// 410, as a status.
    Gone,
    /// 410, as the first event of a watch.
    Expired,
    /// The connection ends after so many bytes of the answer, wherever that is.
    Cut(u64),
    /// Nothing comes after so many bytes of the answer, and the connection stays.
    Stall(u64),
}

/// A fault for some requests.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Of this kind of objects only.
    pub kind: Option<Kind>,
    /// Only requests of this kind.
    pub request: Option<Request>,
    /// So many requests go well before.
    pub after: usize,
    /// So many requests then fail.
    pub times: usize,
    /// How.
    pub fault: Fault,
}

impl Rule {
    /// The next request of that kind fails.
    pub fn once(kind: Kind, request: Request, fault: Fault) -> Self {
        Self {
            kind: Some(kind),
            request: Some(request),
            after: 0,
            times: 1,
            fault,
        }
    }

    /// Whether it concerns a request.
    fn concerns(&self, kind: Kind, request: Request) -> bool {
        self.kind.is_none_or(|it| it == kind) && self.request.is_none_or(|it| it == request)
    }
}

/// Takes the fault of a request out of the rules.
pub(super) fn take(rules: &mut Vec<Rule>, kind: Kind, request: Request) -> Option<Fault> {
    rules.retain(|rule| rule.times > 0);
    let mut fitting = rules.iter_mut().filter(|rule| rule.concerns(kind, request));
    let rule = fitting.next()?;
    if rule.after > 0 {
        rule.after -= 1;
        return None;
    }
    rule.times -= 1;
    Some(rule.fault)
}
