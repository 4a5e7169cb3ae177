//! An agent that follows an API server, and what another process sees of its zone.

use anyhow::{Context, Result, anyhow, bail, ensure};
use nss_k8s_zone::{Address, Dump, Families, Found, LibcOs, Name, Now, Reader, Unavailable};
use std::{
    ffi::CString,
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::Receiver,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How often [`Eyes::see_all`] looks: the error of what it measures.
pub const LOOK_EVERY: Duration = Duration::from_micros(50);

/// A running `nss-k8s agent --kubeconfig`; killed when dropped. Its directory is not its own.
pub struct Watcher {
    child: Child,
    root: PathBuf,
}

/// What a process of the machine costs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Bytes of memory of its own.
    pub anonymous: u64,
    /// Bytes of mapped files, its code too.
    pub files: u64,
    /// Bytes of shared memory that it has touched: the zone, mostly.
    pub shared: u64,
    /// The most bytes of all three at once, since [`Watcher::forget_peak`].
    pub peak: u64,
    /// CPU time that it has had.
    pub cpu: Duration,
}

impl Watcher {
    /// Starts one in a directory on a tmpfs, on the server of a kubeconfig's text; what is there
    /// already it goes on with. What it says goes to `log` there, from the beginning.
    pub fn start(program: &Path, root: &Path, kubeconfig: &str, options: &[&str]) -> Result<Self> {
        let path = root.join("kubeconfig");
        fs::write(&path, kubeconfig)?;
        let child = Command::new(program)
            .args([
                "agent",
                "--listen",
                "127.0.0.1:0",
                "--accept-any-nameserver",
            ])
            .arg("--dir")
            .arg(root.join("base"))
            .arg("--kubeconfig")
            .arg(path)
            .args(options)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(root.join("log"))?)
            .spawn()?;
        let root = root.to_owned();
        Ok(Self { child, root })
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    /// Waits until something is so; an error says what, and what the agent said.
    pub fn wait(
        &self,
        what: &str,
        patience: Duration,
        mut happened: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let end = Instant::now() + patience;
        while !happened()? {
            if Instant::now() > end {
                bail!(
                    "not within {patience:?}: {what}; the agent said:\n{}",
                    self.log()
                );
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The zone of every pod without a class of its own.
    pub fn zone(&self) -> PathBuf {
        self.root.join("base/view/default/zone.v1")
    }

    /// A reader of that zone, as another process has one.
    pub fn eyes(&self) -> Result<Eyes> {
        Eyes::on(&self.zone())
    }

    /// All that the zone holds.
    pub fn dump(&self) -> Result<Dump> {
        Dump::open(&self.zone()).context("the zone")
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> Result<String> {
        let log = self.log();
        let (_, after) = log.rsplit_once("address=").context("it does not listen")?;
        let address = after.split_whitespace().next().context("no address")?;
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        ensure!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        Ok(reply)
    }

    /// The sum of the samples of `/metrics` whose lines begin like this.
    pub fn metric(&self, begins: &str) -> Result<f64> {
        let metrics = self.metrics()?;
        let lines = metrics.lines().filter(|line| line.starts_with(begins));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// What it costs now.
    pub fn cost(&self) -> Result<Cost> {
        Cost::of(self.child.id())
    }

    /// From now on the peak is a new one.
    pub fn forget_peak(&self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?;
        Ok(())
    }

    /// Bytes of what lies below a place of its directory.
    pub fn allocated(&self, below: &str) -> Result<u64> {
        allocated(&self.root.join("base").join(below))
    }

    /// Ends it at once; its directory stays.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Ended already: nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cost {
    /// Of a process that runs.
    pub fn of(id: u32) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{id}"));
        let status = fs::read_to_string(process.join("status"))?;
        let bytes = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let text = line.context("no such line")?;
            let number = text.trim().trim_end_matches(" kB").parse::<u64>()?;
            Ok(number * 1024)
        };
        let stat = fs::read_to_string(process.join("stat"))?;
        let (_, after) = stat.rsplit_once(") ").context("stat")?;
        let ticks = after.split(' ').skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>()?.iter().sum();
        Ok(Cost {
            anonymous: bytes("RssAnon:")?,
            files: bytes("RssFile:")?,
            shared: bytes("RssShmem:")?,
            peak: bytes("VmHWM:")?,
            // A tick is a hundredth of a second on every Linux.
            cpu: Duration::from_millis(ticks * 10),
        })
    }
}

fn allocated(path: &Path) -> Result<u64> {
    let own = fs::symlink_metadata(path)?;
    let mut bytes = own.blocks() * 512;
    if own.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += allocated(&entry?.path())?;
        }
    }
    Ok(bytes)
}

/// Another process's view of a zone.
pub struct Eyes {
    path: CString,
    reader: Reader,
}

/// A change that must become visible.
#[derive(Clone, Debug)]
pub struct Sent {
    /// An absolute name.
    pub name: String,
    /// Its only address; `None`: the name goes.
    pub address: Option<Address>,
    /// When it began.
    pub at: Instant,
}

impl Eyes {
    /// On the zone at a path.
    pub fn on(zone: &Path) -> Result<Self> {
        let path = CString::new(zone.as_os_str().as_bytes())?;
        let reader = Reader::new();
        Ok(Self { path, reader })
    }

    /// Looks, every [`LOOK_EVERY`], until the sender is gone and each change was seen; how long each took. One
    /// that is not seen within `patience` is an error.
    pub fn see_all(&self, sent: &Receiver<Sent>, patience: Duration) -> Result<Vec<Duration>> {
        let mut pending = Vec::<Sent>::new();
        let mut seen = Vec::new();
        loop {
            if pending.is_empty() {
                match sent.recv() {
                    Ok(one) => pending.push(one),
                    Err(_) => return Ok(seen),
                }
            }
            pending.extend(sent.try_iter());
            let mut left = Vec::new();
            for one in pending.drain(..) {
                let found = match self.addresses(&one.name) {
                    // The writer was faster: a process would ask DNS, this one looks again.
                    Err(Unavailable::Busy) => {
                        left.push(one);
                        continue;
                    }
                    found => found.map_err(|why| anyhow!("{}: {why:?}", one.name))?,
                };
                let there = match &one.address {
                    Some(address) => found.is_some_and(|found| found == [*address]),
                    None => found.is_none(),
                };
                let waited = one.at.elapsed();
                ensure!(waited < patience, "{} is never seen", one.name);
                match there {
                    true => seen.push(waited),
                    false => left.push(one),
                }
            }
            pending = left;
            thread::park_timeout(LOOK_EVERY);
        }
    }

    /// The addresses of an absolute name; `None`: the zone has none.
    pub fn addresses(&self, name: &str) -> Result<Option<Vec<Address>>, Unavailable> {
        let mut room = vec![Address::UNSPECIFIED; 16];
        let mut canonical = Name::EMPTY;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Now(since.unwrap_or_default().as_secs());
        loop {
            let found = self.reader.read(&LibcOs, &self.path, now, |zone| {
                zone.addresses(name.as_bytes(), Families::V4, &mut room, &mut canonical)
            })?;
            match found {
                Found::Answer { count } => {
                    room.truncate(count);
                    return Ok(Some(room));
                }
                Found::Room(count) => room.resize(count, Address::UNSPECIFIED),
                Found::Unavailable(why) => return Err(why),
                _ => return Ok(None),
            }
        }
    }
}
