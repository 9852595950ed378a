//! Three versions of protobufjs, the decoder of backends in JavaScript. Tests compare what they read from a message.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;
use crate::{process, project};

/// The folder with `read.js` and its dependencies; filled by npm if it is not in the cache.
pub(crate) fn protobufjs() -> Result<PathBuf> {
    let source = project::root().join("tests/protobufjs");
    let files = ["read.js", "package.json", "package-lock.json"].map(|name| source.join(name));
    let key = cache::key(&files.each_ref().map(|file| file.as_path()))?;
    cache::folder(&format!("protobufjs-{key}"), |dir| {
        for file in &files {
            let to = dir.join(file.file_name().unwrap_or_default());
            fs::copy(file, &to).with_context(|| format!("copying to {}", to.display()))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
        process::run(npm.current_dir(dir)).context("Node.js with npm is required")
    })
}
