//! Files that may change while they are in use: certificates, keys, secrets.
//!
//! The operating system's own notices do not cover what operators do: a certificate is replaced by swapping a symbolic
//! link two directories further up, or comes over a network file system, which sends none. A handful of files is looked at
//! once a second instead, through all links.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

/// How soon a change is seen.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Files and directories, and how they were when they were last looked at.
#[derive(Debug, Clone)]
pub struct Watched {
    paths: Vec<PathBuf>,
    seen: Vec<Option<Look>>,
}

/// What tells one state of a file from another. The time of change (`ctime`) cannot be set back by whoever writes the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
    /// Of a directory, its files by name.
    entries: Vec<(PathBuf, Option<Look>)>,
}

impl Watched {
    /// Looks at the files for the first time. A directory stands for itself and the files in it.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let seen = paths.iter().map(|path| look(path, true)).collect();
        Self { paths, seen }
    }

    /// Whether something has changed since the last time that this was asked.
    pub fn changed(&mut self) -> bool {
        let now: Vec<_> = self.paths.iter().map(|path| look(path, true)).collect();
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    /// Calls `act` after each change, for as long as it is polled.
    pub async fn each_change(mut self, mut act: impl FnMut()) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if self.changed() {
                act();
            }
        }
    }
}

fn look(path: &Path, into_directory: bool) -> Option<Look> {
    let metadata = std::fs::metadata(path).ok()?;
    let mut entries = Vec::new();
    if into_directory && metadata.is_dir() {
        let names = std::fs::read_dir(path).ok()?.flatten();
        entries.extend(names.map(|entry| {
            let path = entry.path();
            let look = look(&path, false);
            (path, look)
        }));
        entries.sort();
    }
    Some(Look {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.size(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        entries,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_reached_by_another_link_has_changed() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("one")).expect("a directory");
        fs::create_dir(at("two")).expect("a directory");
        fs::write(at("one/key"), "1").expect("a file");
        fs::write(at("two/key"), "1").expect("a file");
        symlink("one", at("current")).expect("a link");
        let mut watched = Watched::new(vec![at("current/key"), at("one")]);
        assert!(!watched.changed());

        fs::write(at("one/key"), "2").expect("a file");
        assert!(watched.changed());
        assert!(!watched.changed());

        symlink("two", at("next")).expect("a link");
        fs::rename(at("next"), at("current")).expect("both are links");
        assert!(watched.changed());

        fs::write(at("one/another"), "").expect("a file");
        assert!(watched.changed());

        fs::remove_file(at("two/key")).expect("a file");
        assert!(watched.changed());
        assert!(!watched.changed());
    }
}
