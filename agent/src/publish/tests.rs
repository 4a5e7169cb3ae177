//! A publisher without tasks around it.

use super::*;
use crate::{
    model::{Labels, Object, ObjectKey},
    table::Mark,
};
use tempfile::TempDir;

const CONFIG: &str = "
classes: [{name: red, namespace_selector: color=red}]
tld_guard: {mode: warn}
";

/// A publisher, and what it says.
struct Rig {
    publisher: Publisher,
    news: News,
    _config: watch::Sender<Arc<Config>>,
    _linked: mpsc::UnboundedSender<Linked>,
    base: TempDir,
}

impl Rig {
    /// With these many namespaces listed.
    fn new(namespaces: usize) -> Self {
        let base = TempDir::new_in("/dev/shm").unwrap();
        let (_config, config) = watch::channel(Arc::new(Config::parse(CONFIG).unwrap()));
        let (_linked, linked) = mpsc::unbounded_channel();
        let options = Options::new(base.path(), "cluster.local");
        let sources = vec![Source::Namespaces];
        let telemetry = Arc::new(Telemetry::new());
        let opened = Publisher::open(options, sources, config, telemetry, linked);
        let (publisher, news) = opened.unwrap();
        let mut this = Self {
            publisher,
            news,
            _config,
            _linked,
            base,
        };
        this.publisher.assign();
        this.say(Event::Init);
        for number in 0..namespaces {
            this.label(&format!("ns-{number}"), "green");
        }
        this.say(Event::Done { certain: true });
        this
    }

    fn label(&mut self, namespace: &str, color: &str) {
        let labels = Labels::from([("color".to_owned(), color.to_owned())]);
        let namespace = Object::Namespace(namespace.to_owned(), labels);
        self.say(Event::Apply(namespace));
    }

    fn say(&mut self, event: Event) {
        self.publisher
            .receive(Message::Event(Source::Namespaces, event, None));
        self.publisher.publish();
    }

    /// The class of a namespace in the table that is told, which is the one that lies there.
    fn class(&self, namespace: &str) -> Option<String> {
        let told = self.news.table.borrow().table.clone()?;
        let there = Table::read(self.base.path()).unwrap();
        assert_eq!(there.as_ref(), Some(&*told));
        told.entry(namespace).map(|entry| entry.class.clone())
    }

    /// Which file lies there, and how often somebody was told.
    fn marks(&self) -> (Option<Mark>, u64) {
        let generation = self.news.table.borrow().generation;
        (Mark::read(self.base.path()), generation)
    }
}

#[test]
fn only_what_concerns_pods_is_written_and_told() {
    let mut rig = Rig::new(50);
    assert_eq!(rig.class("ns-7").as_deref(), Some("default"));
    let before = rig.marks();
    // Other labels, and the same again.
    for color in ["blue", "blue", "green"] {
        rig.label("ns-7", color);
    }
    assert_eq!(rig.marks(), before);
    rig.label("ns-7", "red");
    assert_eq!(rig.class("ns-7").as_deref(), Some("red"));
    assert_eq!(rig.class("ns-8").as_deref(), Some("default"));
    let after = rig.marks();
    assert!(after.0 != before.0 && after.1 == before.1 + 1);
    rig.say(Event::Delete(ObjectKey::Namespace("ns-7".to_owned())));
    assert_eq!(rig.class("ns-7"), None);
    rig.label("new", "red");
    assert_eq!(rig.class("new").as_deref(), Some("red"));
}

#[test]
fn namespaces_named_as_top_level_domains_come_and_go() {
    let mut rig = Rig::new(3);
    assert_eq!(rig.publisher.guarded_figure.get(), 0);
    rig.label("com", "green");
    assert_eq!(rig.publisher.guarded_figure.get(), 1);
    rig.label("com", "red");
    rig.label("api-1", "red");
    assert_eq!(rig.publisher.guarded_figure.get(), 1);
    rig.say(Event::Delete(ObjectKey::Namespace("com".to_owned())));
    assert_eq!(rig.publisher.guarded_figure.get(), 0);
}
