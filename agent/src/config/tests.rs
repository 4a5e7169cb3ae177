//! Tables of texts: what is read, and what is said about what is wrong.

use super::*;

fn parse(text: &str) -> Config {
    Config::parse(text).unwrap()
}

fn wrong(text: &str) -> String {
    let error = Config::parse(text).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// A configuration with something in every place.
const EVERYTHING: &str = r#"
kubernetes:
  cluster_domain: Cluster.Local.
  pods: verified
  namespace_labels: "dns=on, tier in (a, b),!hidden"
  labels: app!=x
  endpoint_slices: all
  ignore_empty_service: true
  ttl: 30
  miss_policy: nxdomain
  except: [corp.cluster.local]
  cluster_dns: [169.254.20.10, "fd00::10"]
  cluster_dns_service: dns/dns
  ptr_authoritative: true
  endpoint_grace: 1s500ms
processes: {accept_any_nameserver: true, disabled_permille: 10, refuse_builds: [7]}
classes:
  - {name: batch, external: node, namespaces: [batch, "job-*"]}
  - {name: bank, external: off, namespace_selector: tier=bank, inject: false, shadow: true}
  - {name: default, external: node}
policy:
  - {from: {namespaces: [bank, "job-*"]}, to: {namespaces: [kube-system], own: false}}
  - {from: {namespace_selector: tier=x}, to: {namespace_selector: "tier in (x, y)"}}
max_views: 7
forward:
  upstream_service: kube-system/upstream
  max_concurrent: 7
  groups:
    - zones: [corp.example, 10.in-addr.arpa]
      policy: round_robin
      upstreams:
        - {address: 10.1.1.1}
        - {address: 10.1.1.2, transport: tls, tls_name: dns.corp.example}
  cache: {entries: 5, max_ttl: 1m}
  serve_stale: {max_age: 1h}
listen: {addresses: [169.254.20.10], namespace: shop, allow_transfer: [10.0.0.0/8]}
rewrite:
  - {exact: db.example, to: db.shop.svc.cluster.local}
  - {prefix: old, to: new, continue: false}
  - {suffix: .schmoogle.com, to: .google.com}
  - {regex: '(.*)\.web\.example\.$', to: "{1}.shop.svc.cluster.local"}
hosts:
  - {names: [printer.example], addresses: [10.9.9.9, "fd00::9"]}
block: [ads.example]
tld_guard: {mode: on, except: [dev], also: [corp]}
http: {address: null}
"#;

#[test]
fn an_empty_file_is_the_default() {
    for text in ["", "# nothing\n\n", "{}", "kubernetes: {}\n"] {
        assert_eq!(parse(text), Config::default());
    }
}

#[test]
fn what_is_written_is_read_again() {
    for config in [Config::default(), parse(EVERYTHING)] {
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(parse(&written), config, "{written}");
        let written = serde_saphyr::to_string(&config).unwrap();
        assert_eq!(parse(&written), config, "{written}");
    }
}

#[test]
fn says_where_and_what_is_wrong() {
    for (text, expected) in [
        (
            "kubernetes:\n  ttl: 5\n  podz: x\n",
            "line 3 column 3: unknown field `podz`",
        ),
        (
            "kubernetes:\n  pods: all\n",
            "line 2 column 9: unknown variant `all`",
        ),
        (
            "kubernetes:\n  endpoint_grace: 5\n",
            "line 2 column 19: \"5\" is no period",
        ),
        ("classes: 7\n", "line 1 column 10"),
        ("policy: [{to: {}}]", "missing field `from`"),
        (
            "policy: [{from: {}}]",
            "policy[0].from: needs namespaces or namespace_selector",
        ),
        ("max_views: 0", "max_views: not 1 to 1024"),
        (
            "listen: {addresses: [127.0.0.1], namespace: A.b}",
            "listen.namespace: no name of a namespace",
        ),
        ("a: [\n", "line 1 column 1"),
        ("kubernetes: {ttl: 3601}", "kubernetes.ttl: not 0 to 3600"),
        (
            "kubernetes: {ignore_empty_service: true}",
            "needs endpoint_slices: all",
        ),
        (
            "kubernetes: {namespaces: [a], namespace_labels: b}",
            "exclude each other",
        ),
        (
            "kubernetes: {namespaces: [A]}",
            "kubernetes.namespaces: \"A\"",
        ),
        (
            "kubernetes: {namespace_labels: 'a=b=c'}",
            "no value of a label",
        ),
        (
            "kubernetes: {labels: 'a in (b'}",
            "a parenthesis is not closed",
        ),
        ("kubernetes: {labels: 'a in b'}", "no key of a label"),
        ("kubernetes: {labels: 'a>1'}", "no key of a label"),
        (
            "kubernetes: {except: ['a..b']}",
            "a label has 1 to 63 characters",
        ),
        (
            "kubernetes: {cluster_dns_service: dns}",
            "\"dns\" is not NAMESPACE/NAME",
        ),
        ("processes: {stale_after: 301}", "later than dead_after"),
        (
            "classes: [{name: a}]",
            "classes: a needs namespaces or namespace_selector",
        ),
        ("classes: [{name: A, namespaces: [a]}]", "classes: \"A\""),
        (
            "classes: [{name: default, namespaces: [a]}]",
            "it takes no selection",
        ),
        (
            "classes: [{name: a, namespaces: [a]}, {name: a, namespaces: [b]}]",
            "a is there twice",
        ),
        (
            "classes: [{name: a, namespaces: ['a/b']}]",
            "no name of a namespace",
        ),
        (
            "classes: [{name: a, external: yes, namespaces: [a]}]",
            "unknown variant",
        ),
        (
            "forward: {groups: [{zones: [a], upstreams: []}]}",
            "forward.groups[0].upstreams: none",
        ),
        (
            "forward: {groups: [{zones: [a, a], upstreams: [{address: 1.2.3.4}]}]}",
            "forward.groups[0].zones: a has a group already",
        ),
        (
            "forward: {groups: [{zones: [.], upstreams: [{address: 1.2.3.4, tls_name: a}]}]}",
            "1.2.3.4: tls_name without transport: tls",
        ),
        ("forward: {max_concurrent: 0}", "forward.max_concurrent: 0"),
        ("forward: {sockets: {idle: 0s}}", "forward.sockets.idle: 0"),
        (
            "listen: {addresses: [127.0.0.1], idle: 0s}",
            "listen.idle: 0",
        ),
        (
            "forward: {groups: [{zones: [a], upstreams: [{address: 1.2.3.4}], health_check: 0s}]}",
            "forward.groups[0].health_check: less than 10 ms",
        ),
        ("listen: {addresses: []}", "listen.addresses: none"),
        (
            "listen: {addresses: [::1], udp: false, tcp: false}",
            "leave the section out",
        ),
        (
            "listen: {addresses: [::1], allow_transfer: [10.0.0.1/8]}",
            "after its first 8",
        ),
        (
            "rewrite: [{to: a}]",
            "one of exact, prefix, suffix and regex",
        ),
        (
            "rewrite: [{exact: a, suffix: b, to: c}]",
            "one of exact, prefix, suffix and regex",
        ),
        ("rewrite: [{suffix: '', to: c}]", "something to match"),
        (
            "hosts: [{names: [a], addresses: []}]",
            "to hide a name, block it",
        ),
        ("block: ['.']", "the root would block everything"),
        ("tld_guard: {except: ['*']}", "tld_guard: \"*\""),
    ] {
        let error = wrong(text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn a_regular_expression_is_certain_of_the_last_labels() {
    let suffixes = |pattern: &str| {
        let pattern: Pattern = pattern.parse()?;
        let names = pattern.suffixes().iter();
        Ok::<_, String>(names.map(|name| name.to_string()).collect::<Vec<_>>())
    };
    for (pattern, expected) in [
        (r"(.*)\.web\.example\.$", vec!["web.example"]),
        (r"^a-(\d+)\.example\.com\.?$", vec!["example.com"]),
        (r"(?i)x\.Example\.$", vec!["example"]),
        (
            r"(a|b)\.(one|two)\.example\.$",
            vec!["one.example", "two.example"],
        ),
        // The label that the text begins in is not certain.
        (r"web\.example\.$", vec!["example"]),
    ] {
        let mut found = suffixes(pattern).unwrap();
        found.sort();
        assert_eq!(found, expected, "{pattern}");
    }
    for (pattern, why) in [
        (r"(.*)\.example\.com\.", "must end with `$`"),
        (r"(.*)\.example\.com$", "and the final dot"),
        (r"(.*)\.(com|\w+)\.$", "literal label"),
        (r"com\.$", "literal label"),
        (r".*$", "literal label"),
        (r"(", "unclosed group"),
    ] {
        let error = suffixes(pattern).unwrap_err();
        assert!(error.contains(why), "{pattern}: {error}");
    }
    let to = |to: &str| {
        wrong(&format!(
            "rewrite: [{{regex: '(.*)\\.a\\.b\\.$', to: '{to}'}}]"
        ))
    };
    assert!(to("{2}.c").contains("the pattern has 1 groups"));
    assert!(to("{1}..c").contains("a label has 1 to 63 characters"));
}

#[test]
fn every_name_that_a_regular_expression_matches_is_below_its_suffixes() {
    let pattern: Pattern = r"(?i)(.*)\.(w[a-c]b)\.(com|org)\.?$".parse().unwrap();
    for name in ["x.wab.com", "x.y.wbb.org", ".wcb.com"] {
        assert!(pattern.regex().is_match(&format!("{name}.")), "{name}");
        let mut suffixes = pattern.suffixes().iter();
        assert!(suffixes.any(|suffix| suffix.holds(name)), "{name}");
    }
}

#[test]
fn regular_expressions_come_last() {
    let rules = |rules: &str| Config::parse(&format!("rewrite: [{rules}]"));
    let regex = r"{regex: '\.a\.b\.$', to: c}";
    rules(&format!("{{exact: a, to: b}}, {regex}, {regex}")).unwrap();
    rules(&format!("{regex}, {{exact: a, to: b}}")).unwrap_err();
    rules(&format!("{{exact: a, to: b, continue: true}}, {regex}")).unwrap_err();
}

#[test]
fn a_namespace_is_of_the_first_class_that_matches() {
    let config = parse(EVERYTHING);
    let class = |namespace: &str, tier: &str| {
        let labels = Labels::from([("tier".to_owned(), tier.to_owned())]);
        config.class_of(namespace, &labels).to_owned()
    };
    assert_eq!(class("batch", "bank"), "batch");
    assert_eq!(class("job-7", ""), "batch");
    assert_eq!(class("job", ""), "default");
    assert_eq!(class("x", "bank"), "bank");
    let classes = [
        ("default", External::Node),
        ("batch", External::Node),
        ("bank", External::Off),
    ];
    assert_eq!(config.all_classes(), classes);
    assert_eq!(
        Config::default().all_classes(),
        [("default", External::Pod)]
    );
}

/// The class `default` with another giver.
fn class(external: External) -> Class {
    Class {
        external,
        ..Class::default_class()
    }
}

#[test]
fn processes_are_told_what_concerns_them() {
    let record = parse(EVERYTHING).record(&class(External::Node), &["com".to_owned()]);
    assert_eq!((record.ttl, record.disabled_permille), (30, 10));
    assert!(record.accept_any_nameserver && record.endpoints_held && record.holds_external);
    assert_eq!(
        record.excepted_suffixes,
        ["corp.cluster.local", "pod.cluster.local", "web.example"]
    );
    let rules: Vec<_> = record
        .rules
        .iter()
        .map(|rule| format!("{rule:?}"))
        .collect();
    assert_eq!(rules.len(), 5, "{rules:?}");
    assert!(
        rules[4].contains("Guard") && rules[4].contains("com"),
        "{rules:?}"
    );
    let plain = Config::default().record(&class(External::Pod), &["com".to_owned()]);
    assert!(plain.rules.is_empty(), "the guard is off");
    assert!(!plain.holds_external);
    let fixed = parse("hosts: [{names: [a], addresses: [10.0.0.1]}]");
    assert!(fixed.record(&class(External::Pod), &[]).holds_external);
    assert!(!fixed.record(&class(External::Off), &[]).holds_external);
    // A fixed name in the zone is not answered from the zone.
    let names = "[a, db.shop.svc.cluster.local]";
    let fixed = parse(&format!(
        "hosts: [{{names: {names}, addresses: [10.0.0.1]}}]"
    ));
    let record = fixed.record(&class(External::Pod), &[]);
    assert_eq!(record.excepted_suffixes, ["db.shop.svc.cluster.local"]);
}

#[test]
fn periods_networks_and_patterns() {
    let period = |text: &str| {
        text.parse::<Period>()
            .map(|period| period.duration().as_millis())
    };
    assert_eq!(period("1h30m"), Ok(5_400_000));
    assert_eq!(period("1s500ms"), Ok(1500));
    assert_eq!(period("0s"), Ok(0));
    for bad in [
        "",
        "5",
        "s",
        "1.5s",
        "-1s",
        "1w",
        "99999999999999999999d",
        "11000d",
    ] {
        period(bad).unwrap_err();
    }
    let network: Network = "10.1.0.0/16".parse().unwrap();
    assert!(network.contains("10.1.255.1".parse().unwrap()));
    assert!(!network.contains("10.2.0.1".parse().unwrap()));
    assert!(!network.contains("::1".parse().unwrap()));
    let all: Network = "::/0".parse().unwrap();
    assert!(all.contains("::1".parse().unwrap()));
    for (glob, text, expected) in [
        ("a*", "a", true),
        ("a*", "ba", false),
        ("*-dev", "x-dev", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c", false),
        ("a*a", "a", false),
        ("*", "x", true),
    ] {
        let pattern: Glob = glob.parse().unwrap();
        assert_eq!(pattern.matches(text), expected, "{glob} {text}");
    }
}

#[test]
fn selectors_are_kubectls() {
    let labels = |texts: &[(&str, &str)]| -> Labels {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        texts.iter().map(owned).collect()
    };
    let mine = labels(&[("tier", "a"), ("example.com/x", ""), ("on", "1")]);
    for (text, expected) in [
        ("tier=a", true),
        ("tier==a", true),
        ("tier!=a", false),
        ("absent!=a", true),
        ("tier in (b, a)", true),
        ("tier notin (a)", false),
        ("absent notin (a)", true),
        ("example.com/x", true),
        ("!on", false),
        ("on,tier in (a,b),!absent", true),
        ("example.com/x=", true),
    ] {
        let selector: Selector = text.parse().unwrap();
        assert_eq!(selector.matches(&mine), expected, "{text}");
        let again: Selector = selector.to_string().parse().unwrap();
        assert_eq!(again, selector, "{text}");
    }
}

#[test]
fn the_published_schema_is_the_present_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.schema.json");
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        published == Config::schema(),
        "docs/config.schema.json is not what `nss-k8s config schema` prints"
    );
}
