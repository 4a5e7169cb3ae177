//! Programs that connect to a name: what they reach, or the address that their error names.

use crate::world::{DOORS, Said, World};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    probe::{self, Libc},
    session::Door,
    zonefile,
};
use std::{
    os::unix::net::UnixStream,
    process::{Child, Stdio},
};

/// One command line.
struct Client {
    line: &'static [&'static str],
    /// The name that it looks up.
    name: &'static str,
    /// What it must say.
    wanted: &'static str,
    /// Whether all that it says is the same each time.
    exact: bool,
}

const CLIENTS: [Client; 12] = [
    Client {
        line: &["getent", "ahosts", "api"],
        name: "api",
        wanted: "10.96.1.10      STREAM api.shop.svc.cluster.local",
        exact: true,
    },
    Client {
        line: &["getent", "ahostsv6", "web"],
        name: "web",
        wanted: "fd00:96::11     STREAM web.shop.svc.cluster.local",
        exact: true,
    },
    Client {
        line: &["getent", "hosts", "six"],
        name: "six",
        wanted: "fd00:96::12     six.shop.svc.cluster.local",
        exact: true,
    },
    Client {
        line: &["curl", "-sS", "http://api/"],
        name: "api",
        wanted: "hello from api",
        exact: true,
    },
    Client {
        line: &["curl", "-sS", "-6", "http://web.shop:8080/"],
        name: "web.shop",
        wanted: "hello from web",
        exact: true,
    },
    Client {
        line: &["wget", "-q", "-O", "-", "http://api.shop.svc/"],
        name: "api.shop.svc",
        wanted: "hello from api",
        exact: true,
    },
    Client {
        line: &["php", "-n", "-r", "readfile('http://web:8080/');"],
        name: "web",
        wanted: "hello from web",
        exact: true,
    },
    // Nothing listens there: the error names the address.
    Client {
        line: &["git", "ls-remote", "git://api/shop.git"],
        name: "api",
        wanted: "api[0: 10.96.1.10]: errno=Connection refused",
        exact: true,
    },
    Client {
        line: &["git", "ls-remote", "http://api:81/shop.git"],
        name: "api",
        wanted: "Failed to connect to api port 81",
        exact: false,
    },
    Client {
        line: &["ssh", "-v", "-F", "none", "-o", "BatchMode=yes", "api"],
        name: "api",
        wanted: "Connecting to api [10.96.1.10] port 22.",
        exact: false,
    },
    Client {
        line: &["psql", "-h", "api", "-U", "nobody", "-c", "select 1"],
        name: "api",
        wanted: "connection to server at \"api\" (10.96.1.10), port 5432 failed: Connection refused",
        exact: true,
    },
    Client {
        line: &["perl", "-MIO::Socket::IP", "-e", CONNECT],
        name: "web.shop.svc.cluster.local",
        wanted: "fd00:96::11",
        exact: true,
    },
];

/// As LWP and DBI do it.
const CONNECT: &str = "my $s = IO::Socket::IP->new(PeerHost => 'web.shop.svc.cluster.local', \
                       PeerPort => 8080) or die $@; print $s->peerhost, qq(\\n);";

#[test]
fn clients_connect() -> Result<()> {
    let world = World::start()?;
    let version = only_folder_of("/usr/lib/postgresql")?;
    let psql = format!("/usr/lib/postgresql/{version}/bin/psql");
    for client in CLIENTS {
        let mut line = client.line.to_vec();
        if line[0] == "psql" {
            // The one on the path is a Perl script that picks a version by files of /etc.
            line[0] = &psql;
        }
        let reference = world.reference.run(Door::PlainGlibc, &line)?;
        ensure!(
            reference.text.contains(client.wanted),
            "{line:?}: libc alone: {reference:?}"
        );
        for door in DOORS {
            let said = world.dark.run(door, &line)?;
            ensure!(
                said.text.contains(client.wanted)
                    && (!client.exact || said.text == reference.text)
                    && said.success == reference.success,
                "{door:?} {line:?}: {said:?}\nlibc alone: {reference:?}"
            );
            said.require_verdict(client.name, "zone", &(door, &line))?;
        }
        let alone = world.dark.run(Door::PlainGlibc, &line)?;
        ensure!(
            !alone.text.contains(client.wanted),
            "{line:?}: without us and without DNS: {alone:?}"
        );
    }
    Ok(())
}

/// As another user than root: the zone's file is for everybody to read.
#[test]
fn an_ordinary_user_resolves() -> Result<()> {
    let world = World::start()?;
    for door in DOORS {
        for line in [["getent", "ahosts", "api"], ["curl", "-sS", "http://api/"]] {
            let mut command = world.dark.pod.command_as(line[0], 1234);
            door.open(&mut command, &artifacts::guests()?);
            let said = Said::new(&command.args(&line[1..]).output()?);
            said.require("api", &(door, line))?;
            said.require_verdict("api", "zone", &(door, line))?;
        }
    }
    Ok(())
}

/// `proxy_pass` to a name is resolved when the configuration is loaded.
#[test]
fn nginx_starts_with_a_name_in_its_configuration() -> Result<()> {
    let program = artifacts::unpacked("nginx")?.join("usr/sbin/nginx");
    let program = program.to_str().context("path")?;
    let folder = tempfile::tempdir()?;
    let configuration = folder.path().join("nginx.conf");
    std::fs::write(&configuration, NGINX)?;
    let line = [
        program,
        "-e",
        "/dev/stderr",
        "-c",
        configuration.to_str().context("path")?,
    ];
    let check = [&line[..], &["-t"]].concat();
    let world = World::start()?;
    let reference = world.reference.run(Door::PlainGlibc, &check)?;
    reference.require("test is successful", &check)?;
    let alone = world.dark.run(Door::PlainGlibc, &check)?;
    ensure!(
        alone.text.contains("host not found in upstream \"api\""),
        "without us and without DNS: {alone:?}"
    );
    for door in DOORS {
        let said = world.dark.run(door, &check)?;
        ensure!(said.text == reference.text, "{door:?}: {said:?}");
        said.require_verdict("api", "zone", &door)?;
        // And it finds the server behind the name.
        let mut command = world.dark.command(door, &line)?;
        let mut server = Ended(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?,
        );
        zonefile::wait(|| {
            ensure!(server.0.try_wait()?.is_none(), "{door:?}: nginx ended");
            let inside = world.dark.pod.namespaces();
            inside.with_mounts(|| Ok(UnixStream::connect("/run/nginx.sock").is_ok()))
        })?;
        let fetch = [
            "curl",
            "-sS",
            "--unix-socket",
            "/run/nginx.sock",
            "http://x/",
        ];
        world
            .dark
            .run(Door::PlainGlibc, &fetch)?
            .require("hello from api", &door)?;
        drop(server);
        world
            .dark
            .run(Door::PlainGlibc, &["rm", "/run/nginx.sock"])?;
    }
    Ok(())
}

/// Busybox as Alpine has it, linked dynamically with musl, and the smallest client.
#[test]
fn musl_clients_connect() -> Result<()> {
    let world = World::start()?;
    let busybox = artifacts::unpacked("busybox-musl")?.join("busybox");
    let busybox = busybox.to_str().context("path")?;
    let fetch = probe::program("fetch", Libc::Musl)?;
    let fetch = fetch.to_str().context("path")?;
    let wget = [busybox, "wget", "-q", "-O", "-"];
    for (line, name, wanted) in [
        (
            [&wget[..], &["http://api/"]].concat(),
            "api",
            "hello from api\n",
        ),
        (
            [&wget[..], &["http://api.shop.svc/"]].concat(),
            "api.shop.svc",
            "hello from api\n",
        ),
        (
            vec![busybox, "nslookup", "six.shop.svc.cluster.local"],
            "six.shop.svc.cluster.local",
            "fd00:96::12",
        ),
        (
            vec![fetch, "api", "80"],
            "api",
            "10.96.1.10\nhello from api\n",
        ),
        (
            vec![fetch, "web.shop", "8080"],
            "web.shop",
            "fd00:96::11\nhello from web\n",
        ),
    ] {
        let reference = world.reference.run(Door::PlainMusl, &line)?;
        reference.require(wanted, &line)?;
        let said = world.dark.run(Door::ShimMusl, &line)?;
        said.require(wanted, &line)?;
        said.require_verdict(name, "zone", &line)?;
        let alone = world.dark.run(Door::PlainMusl, &line)?;
        ensure!(!alone.text.contains(wanted), "without us: {alone:?}");
    }
    Ok(())
}

/// A child that is killed when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The name of the last folder in `path`.
fn only_folder_of(path: &str) -> Result<String> {
    let names = std::fs::read_dir(path)
        .with_context(|| format!("{path}: install postgresql-client (make prepare)"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names
        .into_iter()
        .max()
        .with_context(|| format!("{path}: empty"))
}

/// One process in the foreground, all its files in `/run`.
const NGINX: &str = "daemon off; master_process off; pid /run/nginx.pid; user root;\n\
    events {}\n\
    http {\n\
      access_log off;\n\
      client_body_temp_path /run/body; proxy_temp_path /run/proxy;\n\
      fastcgi_temp_path /run/fastcgi; uwsgi_temp_path /run/uwsgi; scgi_temp_path /run/scgi;\n\
      server { listen unix:/run/nginx.sock; location / { proxy_pass http://api/; } }\n\
    }\n";
