//! Runtime file, by which `healthcheck` finds the `serve` of the same folder, whatever flags that was started with.
//!
//! `serve` locks its file until it ends, so that a file of a killed process can be told from one
//! in use.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Content of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Running {
    pid: u32,
    /// The working folder.
    folder: PathBuf,
    internal: SocketAddr,
}

/// Runtime file of this process, removed on drop.
pub(super) struct RuntimeFile {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl RuntimeFile {
    /// Writes the file of this process, whose internal listener is at `internal`.
    ///
    /// # Errors
    /// No folder for such files can be written. Then `healthcheck` goes by the configuration.
    pub(super) fn write(internal: SocketAddr) -> io::Result<Self> {
        let pid = std::process::id();
        let running = Running { pid, folder: std::env::current_dir()?, internal };
        let text = serde_json::to_vec(&running)?;
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for folder in folders() {
            match place(&folder, pid, &text) {
                Ok(written) => return Ok(written),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

fn place(folder: &Path, pid: u32, text: &[u8]) -> io::Result<RuntimeFile> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    ensure_own(folder)?;
    let path = folder.join(format!("{pid}.json"));
    let part = folder.join(format!("{pid}.part"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all(text)?;
    // A reader sees the file locked and complete, or not at all.
    fs::rename(&part, &path)?;
    Ok(RuntimeFile { path, _file: file })
}

impl Drop for RuntimeFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the internal listeners of all remgate processes of this user in the working folder.
pub(super) fn running_here() -> Vec<SocketAddr> {
    let Ok(here) = std::env::current_dir() else { return Vec::new() };
    let files = folders()
        .into_iter()
        .filter(|folder| ensure_own(folder).is_ok())
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    let json = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let running = json.filter_map(|path| read(&path)).filter(|running| running.folder == here);
    running.map(|running| running.internal).collect()
}

/// Returns the content of a file whose process is alive. Removes the file of a killed process.
fn read(path: &Path) -> Option<Running> {
    let mut file = File::open(path).ok()?;
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        let _ = fs::remove_file(path);
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Returns the folders for such files, in the order to try them: a container may have no writable folder but its working
/// folder.
fn folders() -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let temporary = std::env::temp_dir().join(format!("remgate-{user}"));
    let here = std::env::current_dir().ok().map(|here| here.join(".remgate"));
    [Some(temporary), here].into_iter().flatten().collect()
}

/// Others may have made a folder of that name in a place where everybody can write.
fn ensure_own(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    if found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}
