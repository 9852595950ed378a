//! Reading whole files, and writing them so that a reader sees all of a file or none of it.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::error::Error;

/// The permissions of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Readable by all users (mode 0644).
    Public,
    /// Readable by its owner only (mode 0600).
    Private,
}

/// What to do about a file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Keep it, and fail.
    Keep,
    /// Replace it in one step: a reader sees the old file or the new one.
    Replace,
}

/// A temporary folder that only its owner can read. Its name starts with `prefix`.
///
/// # Errors
/// It cannot be created.
pub(crate) fn temporary_folder(prefix: &str) -> Result<TempDir, Error> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.prefix(prefix).tempdir().map_err(|error| {
        let error = Error::failed(format_args!("cannot create a temporary folder: {error}"));
        error.hint("set TMPDIR to a folder that you can write to")
    })
}

/// A file that is written and synced under a temporary name in the folder of its destination.
#[derive(Debug)]
pub(crate) struct Staged {
    file: NamedTempFile,
    place: PathBuf,
}

impl Staged {
    /// Writes the contents to a temporary file in the folder of `place`, which is created if it is missing.
    ///
    /// # Errors
    /// The folder cannot be created or written to, or `place` is a folder.
    pub(crate) fn new(place: &Path, contents: &[u8], access: Access) -> Result<Self, Error> {
        if place.is_dir() {
            return Err(Error::failed(format_args!("cannot write {}: it is a folder", place.display())));
        }
        let folder = place.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => Error::failed(format_args!("{} is not a folder", folder.display())),
            _ => Error::failed(format_args!("cannot create the folder {}: {e}", folder.display())),
        })?;
        let write = || -> io::Result<NamedTempFile> {
            let mut builder = tempfile::Builder::new();
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(match access {
                Access::Public => 0o644,
                Access::Private => 0o600,
            }));
            let mut file = builder.prefix(".otlp-gate-").tempfile_in(folder)?;
            file.write_all(contents)?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let file = write().map_err(|e| cannot_write(place, &e))?;
        Ok(Staged { file, place: place.to_owned() })
    }

    /// Moves the file to its destination.
    ///
    /// # Errors
    /// The destination exists and `existing` keeps it, or it cannot be written.
    pub(crate) fn commit(self, existing: Existing) -> Result<(), Error> {
        let persisted = match existing {
            Existing::Keep => self.file.persist_noclobber(&self.place),
            Existing::Replace => self.file.persist(&self.place),
        };
        persisted.map(drop).map_err(|e| cannot_write(&self.place, &e.error))
    }
}

/// The contents of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|e| cannot_read(path.display(), &e))
}

/// The contents of a text file.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| cannot_read(path.display(), &e))
}

/// The contents of a text file; `hint` says what to do if the file does not exist.
pub(crate) fn read_text_or(path: &Path, hint: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| {
        let error = cannot_read(path.display(), &e);
        if e.kind() == ErrorKind::NotFound { error.hint(hint) } else { error }
    })
}

/// The error for a file that cannot be read.
pub(crate) fn cannot_read(name: impl fmt::Display, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::failed(format_args!("there is no file {name}")),
        _ => Error::failed(format_args!("cannot read {name}: {error}")),
    }
}

/// Removes a file. A file that does not exist is no error.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::failed(format_args!("cannot remove {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

fn cannot_write(place: &Path, error: &io::Error) -> Error {
    let place = place.display();
    match error.kind() {
        ErrorKind::AlreadyExists => {
            Error::failed(format_args!("{place} already exists")).hint("`--force` overwrites it")
        }
        _ => {
            let words = error.to_string();
            // tempfile adds the name of the temporary file.
            let words = words.split_once(" at path ").map_or(words.as_str(), |(words, _)| words);
            Error::failed(format_args!("cannot write {place}: {words}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once_unless_it_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("new/file");
        let write = |contents: &str, existing| {
            Staged::new(&place, contents.as_bytes(), Access::Public).unwrap().commit(existing)
        };
        write("one", Existing::Keep).unwrap();
        let refused = write("two", Existing::Keep).unwrap_err();
        assert_eq!(refused.to_string(), format!("{} already exists", place.display()));
        assert_eq!(fs::read_to_string(&place).unwrap(), "one");
        write("two", Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_path_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = |place: &Path| Staged::new(place, b"x", Access::Public).unwrap_err().to_string();
        assert_eq!(
            refused(folder.path()),
            format!("cannot write {}: it is a folder", folder.path().display())
        );
        assert_eq!(refused(&file.join("x")), format!("{} is not a folder", file.display()));
        assert_eq!(
            refused(&file.join("x/y")),
            format!("cannot create the folder {}: Not a directory (os error 20)", file.join("x").display())
        );
        // /proc takes no new files, not even from root.
        assert_eq!(
            refused(Path::new("/proc/x")),
            "cannot write /proc/x: No such file or directory (os error 2)"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        for (access, mode) in [(Access::Private, 0o600), (Access::Public, 0o644)] {
            let place = folder.path().join(format!("{access:?}"));
            // The file that is replaced has other permissions.
            fs::write(&place, "").unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o666)).unwrap();
            Staged::new(&place, b"x", access).unwrap().commit(Existing::Replace).unwrap();
            assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}
