//! The Dockerfile lines of docs/IMAGES.md, carried out on root file systems like those that they name, and then
//! who answers in there. The lines are read out of the document.

extern crate alloc;

use alloc::ffi::CString;
use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    artifacts::{self, repository},
    dns::Script,
    host::{KNOWN, run},
    pod::{Pod, Recipe},
    probe::{self, Libc},
    writer::Published,
};
use std::{
    fs,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// The zone answers: this pod has no DNS server at all.
#[test]
fn debian_by_preload() -> Result<()> {
    let container = Container::build(Base::debian(), "debian preload")?;
    answered_from_the_zone(&container, "getent")
}

/// The zone answers, through glibc's NSS.
#[test]
fn debian_by_nss() -> Result<()> {
    let container = Container::build(Base::debian(), "debian module")?;
    let line = fs::read_to_string(container.path("etc/nsswitch.conf"))?;
    ensure!(
        line.contains("files k8s [!UNAVAIL=return] dns\n"),
        "the lines made of it: {line}"
    );
    answered_from_the_zone(&container, "getent")
}

/// The zone answers, where no shell could have helped.
#[test]
fn distroless_by_preload() -> Result<()> {
    let container = Container::build(Base::distroless(), "distroless preload")?;
    answered_from_the_zone(&container, "getent")
}

/// The zone answers, through glibc's NSS.
#[test]
fn distroless_by_nss() -> Result<()> {
    let container = Container::build(Base::distroless(), "distroless module")?;
    answered_from_the_zone(&container, "getent")
}

/// The zone answers, in a program linked with musl.
#[test]
fn alpine_by_preload() -> Result<()> {
    let container = Container::build(Base::alpine()?, "alpine preload")?;
    answered_from_the_zone(&container, "lookup")
}

/// Without the directory, as under `docker run`, libc answers: every name comes from the DNS server.
#[test]
fn without_the_zone_libc_answers() -> Result<()> {
    for (base, lines, program) in [
        (Base::debian(), "debian preload", "getent"),
        (Base::debian(), "debian module", "getent"),
        (Base::alpine()?, "alpine preload", "lookup"),
    ] {
        let container = Container::build(base, lines)?;
        let [name, _] = KNOWN;
        let pod = Pod::start(Recipe {
            dns: Some(
                Script::default()
                    .addresses(&format!("{name}.shop.svc.cluster.local"), &["192.0.2.1"]),
            ),
            ..Recipe::default()
        })?;
        let (text, _) = run(container.look_up(&pod, program, name)?)?;
        ensure!(text.contains("192.0.2.1"), "{lines}: {text}");
        ensure!(!pod.dns()?.take_log().is_empty(), "{lines}: who answered?");
    }
    Ok(())
}

/// A baked copy and one that ld.so.preload names: the zone answers, once, with the right address.
#[test]
fn baked_in_and_injected_one_answers() -> Result<()> {
    let container = Container::build(Base::debian(), "debian preload")?;
    let injected = container.path("injected");
    fs::create_dir(&injected)?;
    let mut list = String::new();
    for library in ["libnss_k8s_preload.so", "libnss_k8s.so.2"] {
        fs::copy(artifacts::guests()?.join(library), injected.join(library))?;
        list += &format!("/injected/{library}\n");
    }
    fs::write(container.path("etc/ld.so.preload"), list)?;
    answered_from_the_zone(&container, "getent")
}

/// No DNS server is there; a library notes that it answered, and the address is the zone's.
fn answered_from_the_zone(container: &Container, program: &str) -> Result<()> {
    let mut zone = Published::live()?;
    let [name, address] = KNOWN;
    zone.put(name, &[address])?;
    let pod = Pod::start(Recipe::default())?;
    let inside = container.path("run/nss-k8s");
    fs::create_dir_all(&inside)?;
    for entry in fs::read_dir(zone.view())? {
        let entry = entry?;
        fs::hard_link(entry.path(), inside.join(entry.file_name()))?;
    }
    let mut command = container.look_up(&pod, program, name)?;
    command.env("NSS_K8S_DEBUG", "1");
    let (text, notes) = run(command)?;
    ensure!(text.contains(address), "{text}{notes}");
    ensure!(
        notes
            .lines()
            .filter(|line| line.ends_with("-> zone"))
            .count()
            == 1,
        "not one answer of ours: {notes}"
    );
    Ok(())
}

/// A root file system before the lines of a Dockerfile: programs with what they are linked with.
struct Base {
    programs: Vec<PathBuf>,
    nsswitch: Option<&'static str>,
}

impl Base {
    /// What the snippets need of Debian: a shell, sed, and a program that calls `getaddrinfo`.
    fn debian() -> Self {
        Self {
            programs: ["/bin/sh", "/usr/bin/sed", "/usr/bin/getent"]
                .map(PathBuf::from)
                .into(),
            nsswitch: Some("passwd: files\nhosts:          files dns\nnetworks: files\n"),
        }
    }

    /// The same libc, and the program alone.
    fn distroless() -> Self {
        Self {
            programs: vec!["/usr/bin/getent".into()],
            nsswitch: Some("hosts: files dns\n"),
        }
    }

    /// musl, and a program that calls `getaddrinfo`.
    fn alpine() -> Result<Self> {
        Ok(Self {
            programs: vec![probe::program("lookup", Libc::Musl)?],
            nsswitch: None,
        })
    }
}

/// A root file system after them, and the environment that they leave.
struct Container {
    root: TempDir,
    environment: Vec<(String, String)>,
}

impl Container {
    /// Carries out the lines that follow `<!-- run: WHICH -->` in the document.
    fn build(base: Base, which: &str) -> Result<Self> {
        // The zone counts only on a tmpfs.
        let root = tempfile::tempdir_in("/dev/shm")?;
        let mut container = Self {
            root,
            environment: Vec::new(),
        };
        for program in &base.programs {
            container.take(program)?;
        }
        let etc = container.path("etc");
        fs::create_dir_all(&etc)?;
        if let Some(text) = base.nsswitch {
            fs::write(etc.join("nsswitch.conf"), text)?;
        }
        fs::write(
            etc.join("resolv.conf"),
            nss_k8s_tests::pod::resolv_conf("shop"),
        )?;
        fs::write(etc.join("hosts"), "127.0.0.1 localhost\n")?;
        let text = fs::read_to_string(repository().join("docs/IMAGES.md"))?;
        let (_, after) = text
            .split_once(&format!("<!-- run: {which} -->\n```dockerfile\n"))
            .with_context(|| format!("docs/IMAGES.md: no {which}"))?;
        let (lines, _) = after.split_once("```").context("no end")?;
        container.carry_out(lines)?;
        Ok(container)
    }

    /// The few forms of lines that the document has; any other is an error.
    fn carry_out(&mut self, lines: &str) -> Result<()> {
        let mut lines = lines.lines();
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["FROM", _] => {}
                ["COPY", "--from=nss-k8s:VERSION", from, to] => {
                    let name = from
                        .strip_prefix("/lib/nss-k8s/")
                        .context("not ours to copy")?;
                    let to = self.path(to.trim_start_matches('/'));
                    fs::create_dir_all(&to)?;
                    fs::copy(artifacts::guests()?.join(name), to.join(name))?;
                }
                ["COPY", word, to] if word.starts_with("<<") => {
                    let end = word.trim_start_matches('<');
                    let text: String = lines
                        .by_ref()
                        .take_while(|line| *line != end)
                        .map(|line| format!("{line}\n"))
                        .collect();
                    fs::write(self.path(to.trim_start_matches('/')), text)?;
                }
                ["ENV", pair] => {
                    let (name, value) = pair.split_once('=').context("no value")?;
                    self.environment.push((name.into(), value.into()));
                }
                ["RUN", ..] => {
                    let mut command = Command::new("/usr/sbin/chroot");
                    command.arg(self.root.path()).args([
                        "/bin/sh",
                        "-c",
                        line.trim_start_matches("RUN "),
                    ]);
                    run(command)?;
                }
                _ => bail!("{line}: the test knows no such form"),
            }
        }
        Ok(())
    }

    /// A program and what its loader names, at their own paths; a program of ours, linked with musl, in `/bin`.
    fn take(&self, program: &Path) -> Result<()> {
        if program.starts_with(repository()) {
            let name = program.file_stem().context("no name")?;
            self.copy(program, &Path::new("/bin").join(name))?;
            let loader = format!("/lib/ld-musl-{}.so.1", std::env::consts::ARCH);
            return self.copy(Path::new(&loader), Path::new(&loader));
        }
        self.copy(program, program)?;
        let mut command = Command::new("ldd");
        command.arg(program);
        let (needed, _) = run(command)?;
        for path in needed
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            self.copy(Path::new(path), Path::new(path))?;
        }
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.root.path().join(to.strip_prefix("/")?);
        fs::create_dir_all(to.parent().context("no parent")?)?;
        fs::copy(from, &to).with_context(|| format!("{}", from.display()))?;
        Ok(())
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside)
    }

    /// A program that looks a name up, in the root, with the environment, and in the pod's network.
    fn look_up(&self, pod: &Pod, program: &str, name: &str) -> Result<Command> {
        let (path, arguments) = match program {
            "getent" => ("/usr/bin/getent", vec!["ahosts", name]),
            _ => (
                "/bin/lookup",
                vec!["gai", name, "-", "UNSPEC", "STREAM", "0", "0"],
            ),
        };
        let mut command = pod.command(path);
        command
            .args(arguments)
            .envs(self.environment.iter().cloned());
        let root = CString::new(self.root.path().as_os_str().as_bytes())?;
        // SAFETY: between fork and exec only system calls are made: async-signal-safe, no lock, no allocation; the
        // path ends with a null byte and is the closure's own.
        unsafe {
            command.pre_exec(move || {
                if libc::chroot(root.as_ptr()) == 0 && libc::chdir(c"/".as_ptr()) == 0 {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            });
        }
        Ok(command)
    }
}
