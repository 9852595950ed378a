//! Files that are looked at again and again.
//!
//! By their contents and not by events: editors and secret stores replace files in many ways (rename, truncate and
//! write, swap a link), and a file of a few kilobytes is read faster than all those are told apart.

use std::fs;
use std::path::PathBuf;

/// Some files and what was in them.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    /// What was there when a change was last reported.
    known: Contents,
    /// What was there at the last look.
    last: Contents,
}

/// What is in each file; `None` where there is none.
type Contents = Vec<Option<Vec<u8>>>;

impl Watch {
    /// Begins with what is there now.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let now = read(&files);
        Watch { files, known: now.clone(), last: now }
    }

    /// Whether the files have changed since this last said so. A change counts when two looks in a row see the same:
    /// a file that is being written is not yet what its writer means.
    pub(super) fn changed(&mut self) -> bool {
        let now = read(&self.files);
        let settled = now == self.last;
        self.last = now;
        let changed = settled && self.last != self.known;
        if changed {
            self.known.clone_from(&self.last);
        }
        changed
    }

    /// Whether a change has been seen that is not told yet.
    pub(super) fn is_changing(&self) -> bool {
        self.last != self.known
    }
}

fn read(files: &[PathBuf]) -> Contents {
    files.iter().map(|file| fs::read(file).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_only_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let other = folder.path().join("other");
        fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(vec![file.clone(), other.clone()]);
        assert!(!watch.changed());

        fs::write(&file, "half").unwrap();
        assert!(!watch.changed());
        fs::write(&file, "half and half").unwrap();
        assert!(!watch.changed(), "it was still being written");
        assert!(watch.is_changing());
        assert!(watch.changed());
        assert!(!watch.is_changing());
        assert!(!watch.changed());

        // A file that appears, one that is replaced by a rename, and one that goes, are changes too.
        fs::write(&other, "new").unwrap();
        assert!(!watch.changed());
        assert!(watch.changed());
        fs::rename(&other, &file).unwrap();
        assert!(!watch.changed());
        assert!(watch.changed());
    }

    #[test]
    fn what_is_taken_back_before_it_settles_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(vec![file.clone()]);
        fs::write(&file, "b").unwrap();
        assert!(!watch.changed());
        fs::write(&file, "a").unwrap();
        assert!(!watch.changed());
        assert!(!watch.changed());
    }
}
