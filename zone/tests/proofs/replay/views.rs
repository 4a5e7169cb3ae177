//! Several views of one cluster: a change is written to one file after the other, and the writer may die
//! after any store of any of them.

use super::{
    super::{
        asking::{Question, Told},
        calls::{APEX, Call, NAMESPACES, random_calls},
        random::{Random, seeds},
    },
    adopt,
    run::Run,
};
use nss_k8s_zone::{Entry, Found, SliceId};

/// Each view, and the namespaces that it shows at first.
const VIEWS: [(&str, &[&str]); 3] = [
    ("default", &NAMESPACES),
    ("shop-only", &["shop"]),
    ("prod-only", &["prod", "empty"]),
];

/// The stores to all files are one sequence. Each of them is to one file, so at any of its prefixes the views
/// written before that one are new, those behind it are old, and what is left to show is that the one
/// in between is old or new, name by name.
#[test]
fn every_view_is_old_or_new_and_what_it_hides_is_never_there() {
    let (mut prefixes, mut hidden, mut adopted, mut moves) = (0, 0, 0, 0);
    for seed in seeds(200..202) {
        let scratch = tempfile::tempdir_in("/dev/shm").expect("a directory on a tmpfs");
        let mut random = Random(seed);
        let mut views: Vec<View> = VIEWS.into_iter().map(View::start).collect();
        for call in random_calls(&mut random, 120, false) {
            let context = format!("seed {seed}, {call:?}");
            for view in &mut views {
                if !view.shows(&call) {
                    continue;
                }
                let context = format!("{context}, view {}", view.name);
                prefixes += view
                    .run
                    .step(&call, &context, |prefix, _, writer, answers| {
                        if random.once_in(40) {
                            adopt(
                                (scratch.path(), view.name),
                                prefix,
                                writer,
                                answers,
                                &context,
                            );
                            adopted += 1;
                        }
                    });
                hidden += view.assert_hidden(&context);
            }
            if random.once_in(20) {
                let (whole, others) = views.split_first_mut().expect("the default view");
                let view = &mut others[random.below(2) as usize];
                let shown = *random.pick(&NAMESPACES);
                prefixes += view.show_only(shown, whole, &context);
                hidden += view.assert_hidden(&context);
                moves += 1;
            }
        }
    }
    eprintln!(
        "replayed {prefixes} prefixes, {adopted} of them adopted; views showed another namespace {moves} \
         times; {hidden} questions for what is hidden"
    );
    assert!(prefixes > 3_000 && hidden > 5_000 && adopted > 50 && moves > 3);
}

/// A view and what it shows.
struct View {
    name: &'static str,
    shown: Vec<&'static str>,
    run: Run,
}

impl View {
    fn start((name, shown): (&'static str, &[&'static str])) -> Self {
        Self {
            name,
            shown: shown.to_vec(),
            run: Run::start(name),
        }
    }

    /// What is put goes to the views that show it; what is deleted, to all.
    fn shows(&self, call: &Call) -> bool {
        call.puts_into()
            .is_none_or(|namespace| self.shown.contains(&namespace))
    }

    /// Shows one namespace from now on: the others go, the namespace before what is in it; this one comes from
    /// `whole`, the namespace last. One call for each name, as the agent does it. Returns how many
    /// stores that took.
    fn show_only(&mut self, namespace: &'static str, whole: &Self, context: &str) -> usize {
        let mut calls = Vec::new();
        for other in self.shown.iter().filter(|shown| **shown != namespace) {
            calls.push(Call::DeleteNamespace((*other).to_owned()));
        }
        for entry in self.run.writer.entries() {
            if let Entry::Service { key, body, slices } = entry
                && key.namespace() != namespace
            {
                calls.extend(body.map(|_| Call::DeleteService(key.clone())));
                let ids: Vec<SliceId> = slices.into_keys().collect();
                calls.extend(ids.into_iter().map(|id| Call::DeleteSlice(key.clone(), id)));
            }
        }
        let mut comes = None;
        for entry in whole.run.writer.entries() {
            match entry {
                Entry::Namespace(name) if name == namespace => {
                    comes = Some(Call::PutNamespace(name))
                }
                Entry::Service { key, body, slices } if key.namespace() == namespace => {
                    for (id, slice) in slices {
                        calls.push(Call::PutSlice(key.clone(), id, slice));
                    }
                    calls.extend(body.map(|body| Call::PutService(key, body)));
                }
                _ => {}
            }
        }
        calls.extend(comes);
        self.shown = vec![namespace];
        let (name, run) = (self.name, &mut self.run);
        let step = |call: &Call| {
            let context = format!("{context}, {name} shows {namespace}: {call:?}");
            run.step(call, &context, |_, _, _, _| {})
        };
        calls.iter().map(step).sum()
    }

    /// Panics when the view tells of a namespace that it does not show; returns how many questions could
    /// have. Between this and the last such look every prefix told what one of the two tells.
    fn assert_hidden(&self, context: &str) -> usize {
        let mut asked = 0;
        for (question, told) in self.run.questions.iter().zip(&self.run.answers) {
            let hidden = NAMESPACES
                .into_iter()
                .filter(|name| !self.shown.contains(name));
            for namespace in hidden {
                let tells = match (question, told) {
                    (Question::Addresses(name), Told::Found(found, ..))
                        if is_in(name, namespace) =>
                    {
                        asked += 1;
                        matches!(found, Found::Answer { .. } | Found::NoData | Found::Chase)
                    }
                    (Question::Names(_), Told::Found(_, _, names, _)) => {
                        asked += 1;
                        names
                            .iter()
                            .any(|name| is_in(&String::from_utf8_lossy(name), namespace))
                    }
                    _ => false,
                };
                assert!(
                    !tells,
                    "{context}\n{} hides {namespace}\n{question:?}\ntold {told:?}",
                    self.name
                );
            }
        }
        asked
    }
}

/// Whether `name` is a namespace's own name, one of a service in it, or of a pod in it.
fn is_in(name: &str, namespace: &str) -> bool {
    ["svc", "pod"].into_iter().any(|kind| {
        let own = format!("{namespace}.{kind}.{APEX}");
        name == own || name.ends_with(&format!(".{own}"))
    })
}
