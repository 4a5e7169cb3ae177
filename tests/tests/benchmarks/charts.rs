//! What is drawn of which results.

/// One picture: groups of bars.
pub(crate) struct Chart {
    /// The picture's file, without its ending.
    pub(crate) name: &'static str,
    /// The results' file, without its ending.
    pub(crate) results: &'static str,
    /// Above the picture.
    pub(crate) title: &'static str,
    /// Below the axis: what is counted, in which unit.
    pub(crate) axis: &'static str,
    /// Where bars begin: anything above 0 for a logarithmic axis.
    pub(crate) from: f64,
    /// How results become bars.
    pub(crate) layout: Layout,
}

/// A bar for each of these columns, and the column of a ratio that is written beside it.
type Bars = &'static [(&'static str, Option<&'static str>)];

/// What of a table is a group, a bar, a word beside a bar.
pub(crate) enum Layout {
    /// A group for each row.
    Rows {
        /// Columns whose cells, joined, name the group.
        groups: &'static [&'static str],
        /// See [`Bars`].
        bars: Bars,
        /// Only rows with this cell in this column.
        only: Option<(&'static str, &'static str)>,
    },
    /// A group for each of these columns, in it a bar for each row; a row's first cell names it. What
    /// the last bar is to the first is written beside it.
    Columns(&'static [&'static str]),
}

/// All pictures.
pub(crate) const ALL: &[Chart] = &[
    Chart {
        name: "getaddrinfo",
        results: "getaddrinfo",
        title: "getaddrinfo: who answers, and how soon",
        axis: "nanoseconds per call, logarithmic; the times by which a DNS server takes longer",
        from: 50.0,
        layout: Layout::Rows {
            groups: &["name", "family", "libc"],
            bars: &[
                ("DNS server", None),
                ("/etc/hosts", None),
                ("NSS module", Some("DNS / NSS")),
                ("shim", Some("DNS / shim")),
            ],
            only: None,
        },
    },
    Chart {
        name: "zone-lookups",
        results: "zone",
        title: "The zone: one lookup of both families",
        axis: "nanoseconds",
        from: 0.0,
        layout: at_both_sizes("ns"),
    },
    Chart {
        name: "zone-sizes",
        results: "zone",
        title: "The zone: its file",
        axis: "megabytes (10^6 bytes)",
        from: 0.0,
        layout: at_both_sizes("MB"),
    },
    Chart {
        name: "scale-memory",
        results: "scale",
        title: "The agent: memory",
        axis: "megabytes (10^6 bytes)",
        from: 0.0,
        layout: at_both_sizes("MB"),
    },
    Chart {
        name: "scale-latency",
        results: "scale",
        title: "From an event to what another process sees, at 1,000 events a second",
        axis: "milliseconds",
        from: 0.0,
        layout: at_both_sizes("ms"),
    },
    Chart {
        name: "external",
        results: "external",
        title: "External names: lookups per second",
        axis: "lookups per second, logarithmic; the times as many as by libc and CoreDNS",
        from: 1000.0,
        layout: Layout::Rows {
            groups: &["names", "processes"],
            bars: &[
                ("libc and CoreDNS", None),
                ("class `pod`", Some("pod / libc")),
                ("class `node`", Some("node / libc")),
            ],
            only: None,
        },
    },
    Chart {
        name: "listener",
        results: "listener",
        title: "The listener: queries per second of CPU time",
        axis: "queries per CPU second; the times as many as CoreDNS",
        from: 0.0,
        layout: Layout::Columns(&["UDP: per CPU second", "TCP: per CPU second"]),
    },
    Chart {
        name: "fanout-cpu",
        results: "fanout",
        title: "Fan-out: CPU time of the servers",
        axis: "seconds of CPU time",
        from: 0.0,
        layout: of_each_source(&[
            ("CPU s of the API server", None),
            ("CPU s of NATS", None),
            ("CPU s of the publishers", None),
        ]),
    },
    Chart {
        name: "fanout-bytes",
        results: "fanout",
        title: "Fan-out: what the servers send",
        axis: "megabytes (10^6 bytes), headers of IP and TCP included; logarithmic",
        from: 1.0,
        layout: of_each_source(&[("MB from the API server", None), ("MB from NATS", None)]),
    },
];

/// The figures in this unit, of a cluster of either size.
const fn at_both_sizes(unit: &'static str) -> Layout {
    Layout::Rows {
        groups: &["figure"],
        bars: &[("10000 x 15", None), ("100000 x 15", None)],
        only: Some(("unit", unit)),
    }
}

/// What agents cost, by who feeds them.
const fn of_each_source(bars: Bars) -> Layout {
    Layout::Rows {
        groups: &["event", "agents", "fed by"],
        bars,
        only: None,
    }
}
