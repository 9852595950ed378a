//! Archives whose bytes depend only on their content.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder};

/// A file of an archive.
pub(super) struct File {
    pub(super) path: String,
    pub(super) executable: bool,
    pub(super) content: Vec<u8>,
}

/// A gzipped tar of the files in this order, all of the same time and owner.
pub(super) fn tar_gz(files: &[File]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for File { path, executable, content } in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if *executable { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_slice())?;
    }
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(&tar.into_inner()?)?;
    Ok(gzip.finish()?)
}
