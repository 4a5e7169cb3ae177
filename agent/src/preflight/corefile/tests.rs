//! Corefiles as they are found, and their ends.

use super::*;

fn parse(text: &str) -> Corefile {
    Corefile::parse(text, &BTreeMap::new())
}

/// `zones | plugin argument {option word; ...} ...`, one line per server.
fn shape(corefile: &Corefile) -> Vec<String> {
    let plugin = |plugin: &Plugin| {
        let mut words = vec![plugin.name.clone()];
        words.extend(plugin.arguments.clone());
        if !plugin.options.is_empty() {
            let lines: Vec<String> = plugin.options.iter().map(|line| line.join(" ")).collect();
            words.push(format!("{{{}}}", lines.join("; ")));
        }
        words.join(" ")
    };
    let server = |server: &Server| {
        let plugins: Vec<String> = server.plugins.iter().map(plugin).collect();
        format!("{} | {}", server.zones.join(" "), plugins.join(", "))
    };
    corefile.servers.iter().map(server).collect()
}

#[test]
fn reads_what_kubeadm_ships() {
    let corefile = parse(
        ".:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
}
",
    );
    assert_eq!(
        shape(&corefile),
        [
            " | errors, health {lameduck 5s}, ready, kubernetes cluster.local in-addr.arpa \
          ip6.arpa {pods insecure; fallthrough in-addr.arpa ip6.arpa; ttl 30}, \
          forward . /etc/resolv.conf {max_concurrent 1000}, cache 30"
        ]
    );
    assert!(corefile.complaints.is_empty());
    let (_, kubernetes) = corefile.plugins("kubernetes").next().unwrap();
    assert_eq!(kubernetes.line, 7);
    assert_eq!(kubernetes.option("ttl").unwrap(), ["30"]);
    assert_eq!(kubernetes.option("labels"), None);
}

#[test]
fn reads_every_form_of_a_server_block() {
    for (text, expected) in [
        (
            "a.example b.example:5353 {\n log\n}",
            "a.example b.example | log",
        ),
        (
            "a.example, b.example,\nC.Example. {\n log\n}",
            "a.example b.example c.example | log",
        ),
        ("dns://.:53 tls://x.example:853 {\n}", " x.example | "),
        ("10.0.0.0/8 fd00::/8 {\n}", "10.0.0.0/8 fd00::/8 | "),
        // One server needs no braces.
        (
            "example.org\nlog\nforward . 9.9.9.9",
            "example.org | log, forward . 9.9.9.9",
        ),
        (
            ". {\n hosts { # inline\n 10.0.0.1 a\n\n fallthrough }\n}",
            " | hosts {10.0.0.1 a; fallthrough}",
        ),
        (". { whoami }", " | whoami"),
        (
            ". {\n template ANY A \"a b\" {\n answer \"{{ .Name }}\n 60 IN A 1.2.3.4\"\n rcode NXDOMAIN\n }\n}",
            " | template ANY A a b {answer {{ .Name }}\n 60 IN A 1.2.3.4; rcode NXDOMAIN}",
        ),
        (
            ". {\n rewrite name \"say \\\"x\\\" \\d\" b\n}",
            " | rewrite name say \"x\" \\d b",
        ),
        ("# only a comment", ""),
        ("", ""),
    ] {
        let corefile = parse(text);
        assert_eq!(shape(&corefile).join("/"), expected, "{text}");
        assert!(corefile.complaints.is_empty(), "{text}: {corefile:?}");
    }
}

#[test]
fn imports_snippets_and_files() {
    let files = [
        ("log.override", "log"),
        ("corp.server", "corp.example:53 {\n forward . 10.0.0.9\n}\n"),
        ("unused", "any"),
    ];
    let files = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    let corefile = Corefile::parse(
        "(shared) {\n errors\n cache 30\n}\n. {\n import shared\n import custom/*.override\n \
         ready\n}\nimport /etc/coredns/custom/*.server\nimport none/*.conf\nimport missing\n",
        &files,
    );
    assert_eq!(
        shape(&corefile),
        [
            " | errors, cache 30, log, ready",
            "corp.example | forward . 10.0.0.9"
        ]
    );
    assert_eq!(corefile.complaints, ["line 12: import missing: not found"]);
}

#[test]
fn what_is_broken_is_read_as_far_as_it_goes() {
    for (text, expected, complaint) in [
        (". {\n log\n", " | log", "not closed"),
        (
            ". {\n log {\n class all\n",
            " | log {class all}",
            "not closed",
        ),
        (
            "(a) {\n import a\n}\n. {\n import a\n}",
            " | ",
            "without end",
        ),
        ("(a) {\n log", "", "not closed"),
        (". {\n import\n log\n}", " | log", "import of nothing"),
    ] {
        let corefile = parse(text);
        assert_eq!(shape(&corefile).join("/"), expected, "{text}");
        assert!(
            corefile
                .complaints
                .iter()
                .any(|one| one.contains(complaint)),
            "{text}: {:?}",
            corefile.complaints
        );
    }
}

#[test]
fn imports_that_multiply_end() {
    let double = "import a\nimport a\n".repeat(100);
    let files = [("a".to_owned(), double)].into();
    let corefile = Corefile::parse(". {\n import a\n}", &files);
    assert!(!corefile.complaints.is_empty());
}

#[test]
fn names_are_below_zones() {
    assert!(is_below("a.example", ""));
    assert!(is_below("example", "example"));
    assert!(is_below("a.example", "example"));
    assert!(!is_below("anexample", "example"));
}
