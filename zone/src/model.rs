//! loom models of what happens between one writer and its readers at the same time.
//!
//! Both sides are the real ones: the writer with its heap, index and records over a file in memory, the
//! reader from its first load to its last. Only words that somebody reads while they change are loom's
//! (see [`crate::sync::modeled`]), so that whole files fit. Each model has weakened variants, in which one
//! step of the protocol is left out: loom must find an execution in which they go wrong, else the
//! model proves nothing.

mod config;
mod growth;
mod index;
mod life;
mod overlay;
mod ptr;
mod records;
mod world;

use crate::sync::{Step, leave_out, modeled};
use loom::model::Builder;
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread::Result,
};

/// In how many places a thread may be held up so that another goes on, at most.
const PREEMPTIONS: usize = 3;

std::thread_local! {
    /// Executions of the model that is explored.
    static EXECUTIONS: Cell<u64> = const { Cell::new(0) };
    /// A reader was told what is wrong. Any other failure is the model's own.
    static WRONG: Cell<bool> = const { Cell::new(false) };
}

/// Explores a model in every interleaving with at most [`PREEMPTIONS`]: none goes wrong.
fn holds(name: &str, model: fn()) {
    holds_within(PREEMPTIONS, name, model);
}

/// The same with less of them, where there are two readers or many words.
fn holds_within(preemptions: usize, name: &str, model: fn()) {
    if let Err(why) = explore(preemptions, name, model) {
        resume_unwind(why);
    }
}

/// Explores a model with one step left out: it must go wrong.
fn fails(name: &str, step: Step, model: fn()) {
    leave_out(Some(step));
    goes_wrong(&std::format!("{name} without {step:?}"), model);
    leave_out(None);
}

/// Explores a model that a writer of another kind, which no code of ours is, would be: it must go wrong.
fn goes_wrong(name: &str, model: fn()) {
    let outcome = explore(PREEMPTIONS, name, model);
    assert!(
        outcome.is_err(),
        "{name}: nothing goes wrong, the model is blind to it"
    );
    assert!(
        WRONG.get(),
        "{name}: the model fails, but no reader was told anything wrong"
    );
}

/// Runs a model until all words that are read while they change are loom's, and every execution has been
/// looked at.
fn explore(preemptions: usize, name: &str, model: fn()) -> Result<()> {
    loop {
        EXECUTIONS.set(0);
        WRONG.set(false);
        let mut builder = Builder::new();
        builder.preemption_bound = Some(preemptions);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            builder.check(move || {
                EXECUTIONS.set(EXECUTIONS.get() + 1);
                model();
            });
        }));
        if !modeled::take_missing() {
            let (executions, words) = (EXECUTIONS.get(), modeled::forget());
            let verdict = if outcome.is_ok() {
                "holds"
            } else {
                "goes wrong"
            };
            std::eprintln!("{name}: {verdict} after {executions} executions, {words} words");
            return outcome;
        }
    }
}

/// Runs what a reader does, and keeps in mind whether it was told anything wrong.
fn looking(look: impl FnOnce()) {
    if let Err(why) = catch_unwind(AssertUnwindSafe(look)) {
        // loom ends a thread whose model failed elsewhere by a panic of another type.
        WRONG.set(WRONG.get() || why.is::<&str>() || why.is::<std::string::String>());
        resume_unwind(why);
    }
}
