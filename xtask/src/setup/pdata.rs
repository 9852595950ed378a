//! A program with the Collector's decoders and others in Go. Tests compare what they read from a message.

use std::path::PathBuf;

use anyhow::Result;

use super::cache;
use crate::{process, project};

/// The program's path; built with Go if it is not in the cache.
pub(crate) fn pdata() -> Result<PathBuf> {
    let source = project::root().join("tests/pdata");
    let files = ["main.go", "readers.go", "go.mod", "go.sum"].map(|name| source.join(name));
    let key = cache::key(&files.each_ref().map(|file| file.as_path()))?;
    let dir = cache::folder(&format!("pdata-{key}"), |dir| {
        let mut go = process::go()?;
        process::run(
            go.current_dir(&source).args(["build", "-trimpath", "-o"]).arg(dir.join("pdata")).arg("."),
        )
    })?;
    Ok(dir.join("pdata"))
}
