//! The Collector's own decoders, as a program that tests ask what they read from a message.

use std::path::PathBuf;

use anyhow::Result;

use super::cache;
use crate::{process, project};

/// The program, built with Go when it is not there.
pub(crate) fn pdata() -> Result<PathBuf> {
    let source = project::root().join("tests/pdata");
    let key = cache::key(&[&source.join("main.go"), &source.join("go.mod"), &source.join("go.sum")])?;
    let dir = cache::folder(&format!("pdata-{key}"), |dir| {
        let mut go = process::go()?;
        process::run(
            go.current_dir(&source).args(["build", "-trimpath", "-o"]).arg(dir.join("pdata")).arg("."),
        )
    })?;
    Ok(dir.join("pdata"))
}
