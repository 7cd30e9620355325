//! Description of the machine: a figure means nothing without it.

use std::fs::read_to_string;
use std::path::Path;

use serde_json::{Value, json};

/// The machine's own words about itself; what cannot be learnt is `unknown`.
pub(crate) fn describe(folder: &Path) -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({
        "cpu": field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        "cores": cores,
        "memory": memory().unwrap_or_else(unknown),
        "kernel": read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| unknown(), |k| k.trim().to_owned()),
        "filesystem": filesystem(folder).unwrap_or_else(unknown),
    })
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = read_to_string(file).ok()?;
    let (_, value) =
        text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

fn memory() -> Option<String> {
    let kib: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse().ok()?;
    Some(format!("{} GiB", kib.div_ceil(1 << 20)))
}

/// The type and options of the file system that `folder` is on.
fn filesystem(folder: &Path) -> Option<String> {
    let mounts = read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let over = mounts.filter(|fields| fields.len() > 3 && folder.starts_with(fields[1]));
    let nearest = over.max_by_key(|fields| fields[1].len())?;
    Some(format!("{} ({})", nearest[2], nearest[3]))
}
