//! Rules as CoreDNS and as processes apply them.

use super::*;

fn name(text: &str) -> WireName {
    WireName::from_text(text.as_bytes()).unwrap()
}

fn rules(text: &str) -> Rules {
    Rules::new(&Config::parse(text).unwrap())
}

/// What is looked up for `asked`, and what of an answer's names the client sees.
fn look(rules: &Rules, asked: &str, owners: &[&str]) -> Option<(WireName, Vec<WireName>)> {
    let asked = name(asked);
    let folded = asked.fold().unwrap();
    match rules.apply(&asked, folded.as_bytes(), false) {
        Ruling::Rewritten { name: to, back } => {
            let turned = owners.iter().map(|owner| back.turn(&name(owner)));
            Some((to, turned.collect()))
        }
        Ruling::Unruled => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rewriting_is_that_of_coredns() {
    let rules = rules(
        "rewrite:
          - {exact: foo.example.com, to: api.shop.svc.cluster.local}
          - {prefix: old, to: new}
          - {suffix: .corp.example.com, to: .shop.svc.cluster.local}
          - {regex: '^(.*)-(\\w+)\\.legacy\\.example\\.com\\.$', to: '{1}.{2}.svc.cluster.local'}
        ",
    );
    for (asked, to, owners, turned) in [
        (
            "Foo.example.com",
            "api.shop.svc.cluster.local",
            [
                "API.shop.svc.cluster.local",
                "x.api.shop.svc.cluster.local",
                "cluster.local",
            ],
            ["Foo.example.com", "x.Foo.example.com", "cluster.local"],
        ),
        (
            "old.x",
            "new.x",
            ["new.x", "y.new.x", "new"],
            ["old.x", "y.old.x", "new"],
        ),
        (
            "Web.corp.example.com",
            "web.shop.svc.cluster.local",
            [
                "web.shop.svc.cluster.local",
                "six.shop.svc.cluster.local",
                "cluster.local",
            ],
            [
                "Web.corp.example.com",
                "six.corp.example.com",
                "cluster.local",
            ],
        ),
        (
            "web-shop.legacy.example.com",
            "web.shop.svc.cluster.local",
            ["web.shop.svc.cluster.local", "a", "b"],
            ["web-shop.legacy.example.com", "a", "b"],
        ),
    ] {
        let expected = Some((name(to), turned.map(name).to_vec()));
        assert_eq!(look(&rules, asked, &owners), expected, "{asked}");
    }
    for asked in [
        "older.x",
        "xfoo.example.com",
        "legacy.example.com",
        "corp.example.com",
        "",
    ] {
        assert_eq!(look(&rules, asked, &[]), None, "{asked}");
    }
}

/// As processes apply them: zone/src/rules.rs.
#[test]
fn rules_go_on_where_they_say_so() {
    let rules = rules(
        "rewrite:
          - {exact: a.example.com, to: b.example.com, continue: true}
          - {suffix: .example.com, to: .example.net}
          - {prefix: b, to: never}
block: [example.com, example.net]
        ",
    );
    let expected = Some((
        name("b.example.net"),
        vec![name("a.Example.com"), name("x.example.com"), name("other")],
    ));
    let owners = ["b.example.net", "x.example.net", "other"];
    assert_eq!(look(&rules, "a.Example.com", &owners), expected);
}

#[test]
fn what_is_rewritten_for_good_is_not_blocked() {
    let rules = rules(
        "rewrite:
          - {exact: free.bad.example.com, to: good.example.com}
          - {exact: x.example.com, to: y.bad.example.com, continue: true}
block: [bad.example.com]
        ",
    );
    let apply = |text: &str| {
        let name = name(text);
        rules.apply(&name, name.fold().unwrap().as_bytes(), false)
    };
    assert!(matches!(
        apply("free.bad.example.com"),
        Ruling::Rewritten { .. }
    ));
    assert_eq!(apply("other.bad.example.com"), Ruling::Blocked { zone: 17 });
    // The whole name: none of it is above the name that is blocked.
    assert_eq!(apply("x.example.com"), Ruling::Blocked { zone: 15 });
}

#[test]
fn a_process_has_applied_all_but_regular_expressions() {
    let rules = rules(
        "rewrite:
          - {exact: a.example.com, to: b.example.com}
          - {regex: '^a\\.example\\.com\\.$', to: c.example.com}
block: [bad.example.com]
        ",
    );
    let apply = |text: &str, of_process| {
        let name = name(text);
        match rules.apply(&name, name.fold().unwrap().as_bytes(), of_process) {
            Ruling::Rewritten { name, .. } => format!("{name:?}"),
            other => format!("{other:?}"),
        }
    };
    assert!(apply("a.example.com", false).starts_with("\\x01b"));
    assert!(apply("a.example.com", true).starts_with("\\x01c"));
    assert_eq!(apply("x.bad.example.com", false), "Blocked { zone: 17 }");
    assert_eq!(apply("x.bad.example.com", true), "Unruled");
    assert_eq!(apply("bad.example.com.x", false), "Unruled");
}

#[test]
fn hosts_have_names_and_addresses() {
    let rules = rules(
        "hosts: [{names: [One.example.com, two.example.com], addresses: [192.0.2.1, '2001:db8::1']}]",
    );
    let host = rules.host(b"one.example.com").unwrap();
    assert_eq!(host.addresses.len(), 2);
    assert!(rules.host(b"three.example.com").is_none());
    let (time_to_live, names) = rules.names(&Address::v4([192, 0, 2, 1])).unwrap();
    assert_eq!((*time_to_live, names.len()), (3600, 2));
    assert!(!rules.is_empty() && Rules::default().is_empty());
}
