//! Change detection for files, by polling their contents.
//!
//! File events are not used: editors and secret stores replace files in many ways (rename, truncate and write, swap of
//! a symbolic link), and reading a few kilobytes is cheaper than handling all of these.

use std::fs;
use std::path::PathBuf;

/// A set of files and their contents.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    /// The contents that were last reported as a change.
    reported: Contents,
    /// The contents at the last read.
    last: Contents,
}

/// The content of each file; `None` if it cannot be read.
type Contents = Vec<Option<Vec<u8>>>;

impl Watch {
    /// Starts with the current contents.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let now = read(&files);
        Watch { files, reported: now.clone(), last: now }
    }

    /// Reads the files. Returns true once for each change, as soon as two reads in a row return the same contents: a
    /// single read may see a file that is still being written.
    pub(super) fn changed(&mut self) -> bool {
        let now = read(&self.files);
        let settled = now == self.last;
        self.last = now;
        let changed = settled && self.last != self.reported;
        if changed {
            self.reported.clone_from(&self.last);
        }
        changed
    }

    /// Whether the last read saw a change that has not been reported yet.
    pub(super) fn is_changing(&self) -> bool {
        self.last != self.reported
    }
}

fn read(files: &[PathBuf]) -> Contents {
    files.iter().map(|file| fs::read(file).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_reported_once_when_it_has_settled() {
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

        // A new file, a replacement by rename, and a removal are changes too.
        fs::write(&other, "new").unwrap();
        assert!(!watch.changed());
        assert!(watch.changed());
        fs::rename(&other, &file).unwrap();
        assert!(!watch.changed());
        assert!(watch.changed());
    }

    #[test]
    fn a_change_that_is_reverted_before_it_settles_is_not_reported() {
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
