//! Programs that bypass libc, served by the agent's listener on a node's own address: they look
//! names up as they would at a cluster's DNS.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, http,
    namespace::{Namespaces, run},
    zonefile::{directory, wait},
};
use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Where the listener is.
const ADDRESS: &str = "169.254.20.10";
/// A proxy that asks for its upstream's name at every request.
const NGINX: &str = "daemon off; master_process off; pid /run/nginx.pid; user root; error_log /dev/stderr;\n\
    events {}\n\
    http {\n\
      access_log off; client_body_temp_path /tmp; proxy_temp_path /tmp; fastcgi_temp_path /tmp;\n\
      uwsgi_temp_path /tmp; scgi_temp_path /tmp;\n\
      resolver 169.254.20.10 valid=1s ipv6=off;\n\
      server { listen 127.0.0.1:8081;\n\
        location / { set $there api.shop.svc.cluster.local; proxy_pass http://$there/; } }\n\
    }\n";

/// A node on which the agent listens, and a pod on it.
struct Node {
    inside: Namespaces,
    root: TempDir,
    _agent: Ended,
    _server: http::Server,
}

/// A process that is killed when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    fn start() -> Result<Self> {
        let root = directory()?;
        let path = |name: &str| root.path().join(name);
        let text = format!(
            "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
             nameserver {ADDRESS}\noptions ndots:5\n"
        );
        fs::write(path("resolv.conf"), text)?;
        fs::write(
            path("config.yaml"),
            format!("kubernetes: {{miss_policy: nxdomain}}\nlisten: {{addresses: [{ADDRESS}]}}\n"),
        )?;
        fs::create_dir(path("manifests"))?;
        fs::copy(
            artifacts::fixture("fixtures/shop.yaml"),
            path("manifests/shop.yaml"),
        )?;
        let resolv_conf = path("resolv.conf");
        let resolv_conf = resolv_conf.to_str().context("path")?;
        let inside = Namespaces::create(|| {
            run("ip", &["link", "set", "lo", "up"])?;
            for address in [ADDRESS, "10.96.1.10"] {
                run(
                    "ip",
                    &["address", "add", &format!("{address}/32"), "dev", "lo"],
                )?;
            }
            run("mount", &["--bind", resolv_conf, "/etc/resolv.conf"])
        })?;
        let mut command = Command::new(artifacts::agent()?);
        command
            .args(["agent", "--listen", "off", "--dir"])
            .arg(path("base"))
            .arg("--manifests")
            .arg(path("manifests"))
            .arg("--config")
            .arg(path("config.yaml"))
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("log"))?);
        inside.enter_before_exec(&mut command);
        let agent = Ended(command.spawn()?);
        let log = || fs::read_to_string(path("log")).unwrap_or_default();
        wait(|| Ok(log().contains("everything is listed") && log().contains("listening for DNS")))
            .with_context(log)?;
        let server = http::Server::start(&inside, "10.96.1.10:80", "hello from api\n")?;
        Ok(Self {
            inside,
            root,
            _agent: agent,
            _server: server,
        })
    }

    /// What a program says.
    fn say(&self, line: &[&str]) -> Result<String> {
        let (program, arguments) = line.split_first().context("a program")?;
        let output = self.inside.command(program).args(arguments).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

/// c-ares in Node, the resolver of Ruby's standard library, musl's in a static busybox: names as
/// they stand, names of the search list, names that do not exist.
#[test]
fn resolvers_of_their_own_are_served() -> Result<()> {
    let node = Node::start()?;
    let busybox = artifacts::unpacked("busybox-static")?.join("bin/busybox");
    let busybox = busybox.to_str().context("path")?;
    let c_ares = |name: &str, kind: &str| {
        format!("require('dns').resolve('{name}', '{kind}', (e, a) => console.log(e ? e.code : a))")
    };
    for (line, expected) in [
        (
            vec!["node", "-e", &c_ares("api.shop.svc.cluster.local", "A")],
            "10.96.1.10",
        ),
        (
            vec![
                "node",
                "-e",
                &c_ares("_http._tcp.web.shop.svc.cluster.local", "SRV"),
            ],
            "web.shop.svc",
        ),
        (
            vec!["node", "-e", &c_ares("10.1.96.10.in-addr.arpa", "PTR")],
            "api.shop.svc.cluster.local",
        ),
        (
            vec!["node", "-e", &c_ares("x.nowhere.svc.cluster.local", "A")],
            "ENOTFOUND",
        ),
        (
            vec!["node", "-e", &c_ares("api.shop.svc.cluster.local", "AAAA")],
            "ENODATA",
        ),
        (
            vec![
                "ruby",
                "-rresolv",
                "-e",
                "puts Resolv::DNS.new.getaddress('api')",
            ],
            "10.96.1.10",
        ),
        (
            vec![busybox, "nslookup", "api.shop.svc.cluster.local"],
            "10.96.1.10",
        ),
    ] {
        let said = node.say(&line)?;
        ensure!(said.contains(expected), "{line:?}: {said}");
    }
    Ok(())
}

/// nginx's `resolver`.
#[test]
fn nginx_finds_its_upstreams() -> Result<()> {
    let node = Node::start()?;
    let program = artifacts::unpacked("nginx")?.join("usr/sbin/nginx");
    let configuration = node.root.path().join("nginx.conf");
    fs::write(&configuration, NGINX)?;
    let log = node.root.path().join("nginx.log");
    let mut command = node.inside.command(program.to_str().context("path")?);
    command
        .args(["-e", "/dev/stderr", "-c"])
        .arg(&configuration)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?);
    let mut server = Ended(command.spawn()?);
    let said = || fs::read_to_string(&log).unwrap_or_default();
    wait(|| {
        ensure!(server.0.try_wait()?.is_none(), "nginx ended");
        let fetched = node.say(&["curl", "-sS", "--max-time", "5", "http://127.0.0.1:8081/"])?;
        Ok(fetched.contains("hello from api"))
    })
    .with_context(said)
}
