//! Programs that do not come to us, because they have a resolver of their own or are linked past
//! the preload library: they say what they say without us, and ask the DNS server the same.

use crate::world::{DOORS, Place, Said, World};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{artifacts, session::Door};

/// The command lines; each looks up `api.shop.svc.cluster.local`.
const LINES: [&[&str]; 4] = [
    // c-ares inside Node.
    &[
        "node",
        "-e",
        "require('dns').resolve4('api.shop.svc.cluster.local', (e, a) => console.log(e || a))",
    ],
    // A resolver in Ruby.
    &[
        "ruby",
        "-rresolv",
        "-e",
        "puts Resolv.getaddresses('api.shop.svc.cluster.local')",
    ],
    // A resolver in Perl, as far as its standard library goes: a packet by hand.
    &["perl", "-e", PACKET],
    // PHP loads extensions with RTLD_DEEPBIND: the symbol is libc's own.
    &[
        "php",
        "-n",
        "-d",
        "extension=sockets",
        "-r",
        "$f = socket_addrinfo_lookup('api.shop.svc.cluster.local', '80'); \
         echo socket_addrinfo_explain($f[0])['ai_addr']['sin_addr'], \"\\n\";",
    ],
];

/// A question over UDP; prints the last four octets of the answer.
const PACKET: &str = "use IO::Socket::INET; \
    my $s = IO::Socket::INET->new(PeerAddr => '10.96.0.10:53', Proto => 'udp') or die; \
    my $n = join '', map { chr(length) . $_ } qw(api shop svc cluster local); \
    $s->send(pack('n6', 7, 256, 1, 0, 0, 0) . $n . pack('Cn2', 0, 1, 1)); \
    $s->recv(my $a, 512); print join('.', unpack 'C4', substr $a, -4), qq(\\n);";

#[test]
fn resolvers_of_their_own_are_unharmed() -> Result<()> {
    let world = World::start()?;
    for line in LINES {
        let (reference, asked) = observe(&world.lit, Door::PlainGlibc, line)?;
        reference.require("10.96.1.10", &line)?;
        ensure!(!asked.is_empty(), "{line:?}: asked nothing");
        for door in DOORS {
            // Linked past the preload library, it still asks libc, and libc the module.
            if line[0] == "php" && door == Door::Nss {
                let said = world.dark.run(door, line)?;
                said.require("10.96.1.10\n", &line)?;
                ensure!(said.verdicts() == ["zone"], "{door:?} {line:?}: {said:?}");
                continue;
            }
            let (said, questions) = observe(&world.lit, door, line)?;
            ensure!(
                said.text == reference.text && questions == asked && !said.answered(),
                "{door:?} {line:?}: {said:?}{questions:?}\nwithout us {reference:?}{asked:?}"
            );
        }
    }
    Ok(())
}

/// Debian's static busybox: nothing can be preloaded into it, but its libc loads the module.
#[test]
fn a_static_busybox() -> Result<()> {
    let program = artifacts::unpacked("busybox-static")?.join("bin/busybox");
    let program = program.to_str().context("path")?;
    let line = [program, "wget", "-q", "-O", "-", "http://api/"];
    let world = World::start()?;
    let (reference, asked) = observe(&world.lit, Door::PlainGlibc, &line)?;
    reference.require("hello from api", &line)?;
    let (said, questions) = observe(&world.lit, Door::ShimGlibc, &line)?;
    ensure!(
        said.text == reference.text && questions == asked && !said.answered(),
        "preloaded: {said:?}{questions:?}\nwithout us {reference:?}{asked:?}"
    );
    let said = world.dark.run(Door::Nss, &line)?;
    // No DNS server there. No note either: the libc that the module is loaded with beside the static
    // one has no environment.
    ensure!(said.text == reference.text, "{said:?}");
    let alone = world.dark.run(Door::PlainGlibc, &line)?;
    ensure!(!alone.success, "without us and without DNS: {alone:?}");
    // Its nslookup makes its own packets.
    let line = [program, "nslookup", "api.shop.svc.cluster.local"];
    let (reference, asked) = observe(&world.lit, Door::PlainGlibc, &line)?;
    reference.require("10.96.1.10", &line)?;
    for door in DOORS {
        let (said, questions) = observe(&world.lit, door, &line)?;
        ensure!(
            said.text == reference.text && questions == asked,
            "{door:?}: {said:?}\nwithout us {reference:?}"
        );
    }
    Ok(())
}

/// What a program says, and the names that the DNS server was asked for meanwhile.
fn observe(place: &Place, door: Door, line: &[&str]) -> Result<(Said, Vec<String>)> {
    let server = place.pod.dns()?;
    server.take_log();
    let said = place.run(door, line)?;
    let log = server.take_log();
    let mut names: Vec<String> = log.into_iter().map(|asked| asked.name).collect();
    // Both families are asked for at once, and repeated under load.
    names.sort_unstable();
    names.dedup();
    Ok((said, names))
}
