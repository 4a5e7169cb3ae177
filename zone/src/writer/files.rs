//! The files of one writer: the lock, the zone file that is there, the one that takes its place.

use super::{
    HeldOptions, OpenError, Options, State,
    adopt::{Birth, Identity},
    index::random,
    memory::{Memory, allocate},
    zone::Zone,
};
use crate::{
    layout::{AT_MAGIC, AT_STATE, MAGIC, MAX_BYTES, UNIT, state},
    sync::Ordering,
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{
            DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
        },
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A zone's file in its view's directory.
pub(crate) const ZONE_FILE: &str = "zone.v1";
/// The file of held answers beside it.
pub(crate) const HELD_FILE: &str = "external.v1";
/// How long a reader's lease on the file may hold up opening it.
const LEASE: Duration = Duration::from_secs(5);
/// `f_type` of a tmpfs.
const TMPFS: u64 = 0x0102_1994;

/// How a writer came by its file: see [`super::Opened`].
pub(crate) enum Opening {
    /// There was none.
    Created,
    /// An earlier writer's goes on.
    Adopted,
    /// Another one took its place.
    Replaced {
        /// In one line.
        why: String,
    },
}

/// The directories and the lock of one writer.
pub(crate) struct Files {
    private: PathBuf,
    pub(crate) zone: PathBuf,
    /// Empty: held answers.
    apex: String,
    view: String,
    /// The file's name.
    name: &'static str,
    initial: u64,
    maximum: u64,
    /// Held until this is dropped.
    _lock: Lock,
}

impl Files {
    /// The files of a zone's writer. That of the view `default` holds the lock of the directory.
    pub(crate) fn of_zone(options: &Options) -> Result<Self, OpenError> {
        let apex = super::object::target(&options.apex).map_err(|_| OpenError::Apex {
            apex: options.apex.clone(),
        })?;
        let lock = match options.view.as_str() {
            "default" => "lock".to_owned(),
            view => format!("{view}.zone.lock"),
        };
        Self::lock(
            &options.directory,
            &options.view,
            (ZONE_FILE, apex),
            &lock,
            (options.initial_bytes, options.maximum_bytes),
        )
    }

    /// The files of a writer of held answers.
    pub(crate) fn of_held(options: &HeldOptions) -> Result<Self, OpenError> {
        Self::lock(
            &options.directory,
            &options.view,
            (HELD_FILE, String::new()),
            &format!("{}.external.lock", options.view),
            (options.initial_bytes, options.maximum_bytes),
        )
    }

    /// Makes the directories and takes the lock.
    fn lock(
        directory: &Path,
        view: &str,
        (name, apex): (&'static str, String),
        lock: &str,
        (initial, maximum): (u64, u64),
    ) -> Result<Self, OpenError> {
        let private = directory.join("private");
        let folder = directory.join("view").join(view);
        make_directory(&private, 0o700)?;
        make_directory(&folder, 0o755)?;
        for path in [&private, &folder] {
            if !is_tmpfs(path).map_err(failed("examine", path))? {
                return Err(OpenError::NotTmpfs { path: path.clone() });
            }
        }
        let unit = UNIT as u64;
        let maximum = maximum.clamp(unit, MAX_BYTES as u64);
        Ok(Self {
            _lock: take_lock(&private.join(lock))?,
            private,
            zone: folder.join(name),
            apex,
            view: view.to_owned(),
            name,
            initial: initial
                .clamp(unit, maximum)
                .next_multiple_of(unit)
                .min(maximum),
            maximum,
        })
    }

    /// Goes on with the zone that is there, or makes one.
    pub(crate) fn open(&self) -> Result<(Zone, Opening), OpenError> {
        let file = match open_for_writing(&self.zone) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((self.publish(self.create()?)?, Opening::Created));
            }
            // A symbolic link, a directory, a device: not ours to adopt.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EISDIR)) => {
                let why = "it is no regular file".to_owned();
                return Ok((self.publish(self.create()?)?, Opening::Replaced { why }));
            }
            Err(source) => return Err(failed("open", &self.zone)(source)),
        };
        match self.adopt(&file) {
            Ok(zone) => Ok((zone, Opening::Adopted)),
            Err(why) => {
                let zone = self.publish(self.create()?)?;
                supersede(file);
                Ok((zone, Opening::Replaced { why }))
            }
        }
    }

    /// An empty zone in a file that nobody can see yet.
    pub(crate) fn create(&self) -> Result<Zone, OpenError> {
        let path = self.draft();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
        let mut new = OpenOptions::new();
        new.read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let file = new.open(&path).map_err(failed("create", &path))?;
        allocate(&file, 0, self.initial).map_err(failed("allocate space for", &path))?;
        let memory = Memory::map(file, self.initial, self.maximum).map_err(failed("map", &path))?;
        let birth = Birth {
            created: unix_now(),
            instance: random(),
            seeds: random,
        };
        Zone::create(memory, self.maximum, self.identity(), birth).map_err(OpenError::Full)
    }

    /// Gives the file of [`Files::create`] its name: readers open it from here on.
    pub(crate) fn publish(&self, zone: Zone) -> Result<Zone, OpenError> {
        let path = self.draft();
        if let Some(file) = zone.heap.memory.file() {
            let mode = Permissions::from_mode(0o444);
            file.set_permissions(mode)
                .map_err(failed("change the mode of", &path))?;
        }
        fs::rename(&path, &self.zone).map_err(failed("replace", &self.zone))?;
        Ok(zone)
    }

    /// Goes on with the zone in `file`, or says why not.
    fn adopt(&self, file: &File) -> Result<Zone, String> {
        let found = file.metadata().map_err(|error| error.to_string())?;
        if !found.is_file() || found.len() < UNIT as u64 || found.len() > self.maximum {
            return Err(format!("its size is {} bytes", found.len()));
        }
        // SAFETY: always succeeds.
        if found.uid() != unsafe { libc::geteuid() } || found.mode() & 0o022 != 0 {
            return Err("it belongs to somebody else or others may write it".to_owned());
        }
        let file = file.try_clone().map_err(|error| error.to_string())?;
        let committed = committed_bytes(&file).map_err(|error| error.to_string())?;
        if committed > found.len() || committed < UNIT as u64 || committed % UNIT as u64 != 0 {
            return Err("its committed size is impossible".to_owned());
        }
        // A hole in it would be a SIGBUS in readers on the day the file system is full.
        allocate(&file, 0, committed).map_err(|error| error.to_string())?;
        let memory =
            Memory::map(file, committed, self.maximum).map_err(|error| error.to_string())?;
        Zone::adopt(memory, self.maximum, self.identity()).map_err(str::to_owned)
    }

    fn identity(&self) -> Identity<'_> {
        Identity {
            apex: &self.apex,
            view: &self.view,
        }
    }

    /// Where a zone file is before it is published: on the same file system, out of readers' sight.
    fn draft(&self) -> PathBuf {
        self.private
            .join(format!("{}.{}.new", self.view, self.name))
    }
}

/// Tells the readers of a file that cannot go on to look for another.
fn supersede(file: File) {
    let Ok(found) = file.metadata() else { return };
    let size = found.len() / UNIT as u64 * UNIT as u64;
    if size == 0 || size > MAX_BYTES as u64 {
        return;
    }
    if let Ok(memory) = Memory::map(file, size, size)
        && memory.load(AT_MAGIC) == MAGIC
    {
        memory.store(AT_STATE, state::SUPERSEDED, Ordering::Release);
    }
}

/// Marks a zone as superseded.
pub(crate) fn supersede_zone(zone: &mut Zone) {
    zone.set_state(State::Superseded);
}

/// Creates a directory and its parents.
fn make_directory(path: &Path, mode: u32) -> Result<(), OpenError> {
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(failed("create", parent))?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result.map_err(failed("create", path)),
    }
}

/// The lock that keeps other writers out; the kernel gives it back when this process ends however.
struct Lock(File);

/// Closing the file would not do: a child between fork and exec has the same open file.
impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: an open descriptor.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// Takes the lock.
fn take_lock(path: &Path) -> Result<Lock, OpenError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(path).map_err(failed("open", path))?;
    // SAFETY: an open descriptor.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(failed("lock", path)(error));
        }
        let mut text = String::new();
        let holder = file
            .read_to_string(&mut text)
            .ok()
            .and_then(|_| text.trim().parse().ok());
        return Err(OpenError::Locked {
            path: path.to_owned(),
            holder,
        });
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(failed("write", path))?;
    Ok(Lock(file))
}

/// Opens the zone file read-write. Its mode (0444) keeps out owners that are not root, so it is
/// theirs to change for a moment. A reader's lease makes the open fail for a while.
fn open_for_writing(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let begin = SystemTime::now();
    loop {
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                fs::set_permissions(path, Permissions::from_mode(0o644))?;
                let file = options.open(path)?;
                file.set_permissions(Permissions::from_mode(0o444))?;
                return Ok(file);
            }
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && begin.elapsed().is_ok_and(|waited| waited < LEASE) =>
            {
                thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

/// The committed size that a file states.
fn committed_bytes(file: &File) -> io::Result<u64> {
    use crate::layout::{AT_COMMITTED, WORD};
    use std::os::unix::fs::FileExt as _;
    let mut word = [0; WORD];
    file.read_exact_at(&mut word, (AT_COMMITTED * WORD) as u64)?;
    Ok(u64::from_le_bytes(word).saturating_mul(WORD as u64))
}

/// Whether a directory is on a tmpfs.
fn is_tmpfs(path: &Path) -> io::Result<bool> {
    use crate::Os as _;
    let directory = File::open(path)?;
    let found = super::LibcOs
        .filesystem(directory.as_raw_fd())
        .map_err(io::Error::from_raw_os_error)?;
    Ok(found.magic == TMPFS)
}

/// An [`OpenError`] about a path.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::File {
        action,
        path,
        source,
    }
}

/// Unix seconds.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
