//! Tables of texts: what is read, and what is said about what is wrong.

use super::*;

fn wrong(text: &str) -> String {
    Config::parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_default() {
    for text in ["", "# nothing\n\n", "{}"] {
        assert_eq!(Config::parse(text).unwrap(), Config::default());
    }
    let default = serde_json::to_string(&Config::default()).unwrap();
    assert_eq!(Config::parse(&default).unwrap(), Config::default());
}

#[test]
fn errors() {
    for text in [
        "kubernetes:\n  ttl: 5\n  podz: x\n",
        "kubernetes:\n  endpoint_grace: 5\n",
        "kubernetes:\n  endpoint_grace: 5 s\n",
        "rewrite:\n  - exact: a.b\n    to: c.d\n  - regex: (.*)x$\n    to: a\n",
        "kubernetes:\n  pods: all\n",
        "classes: 7\n",
        "listen: {addresses: [1.2.3.4.5]}",
        "a: [\n",
    ] {
        eprintln!("{}\n---", wrong(text));
    }
}
