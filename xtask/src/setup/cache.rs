//! The cache of installed programs. Each has a folder that is named after its version and never changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{process, project};

/// The folder `<cache>/NAME`. If it is missing or incomplete, `install` fills it. Only one recipe at a time does so;
/// others wait.
pub(crate) fn folder(name: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = project::cache_dir()?;
    let dir = cache.join(name);
    let complete = dir.join(".complete");
    if complete.is_file() {
        return Ok(dir);
    }
    fs::create_dir_all(&cache).with_context(|| format!("creating the cache {}", cache.display()))?;
    let lock = File::create(cache.join(".lock")).context("creating the cache's lock")?;
    lock.lock().context("waiting for the lock of another recipe")?;
    if complete.is_file() {
        return Ok(dir);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("removing the incomplete {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    eprintln!("installing {name} into the cache");
    let start = Instant::now();
    install(&dir).with_context(|| format!("installing {name}"))?;
    File::create(complete)?;
    eprintln!("installed {name} in {} s", start.elapsed().as_secs());
    Ok(dir)
}

/// A folder with these files of `source` and what their `package-lock.json` names; filled by npm.
pub(crate) fn npm(name: &str, source: &Path, files: &[&str]) -> Result<PathBuf> {
    let files: Vec<PathBuf> = files.iter().map(|file| source.join(file)).collect();
    let key = key(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    folder(&format!("{name}-{key}"), |dir| {
        for file in &files {
            let to = dir.join(file.file_name().unwrap_or_default());
            fs::copy(file, &to).with_context(|| format!("copying to {}", to.display()))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
        process::run(npm.current_dir(dir)).context("Node.js with npm is required")
    })
}

/// Links `<cache>/bin/NAME` to the program at `target`, and returns the link. `otlp-gate` looks for Envoy there.
pub(crate) fn program(name: &str, target: &Path) -> Result<PathBuf> {
    let bin = project::cache_dir()?.join("bin");
    let link = bin.join(name);
    if fs::read_link(&link).is_ok_and(|current| current == target) {
        return Ok(link);
    }
    fs::create_dir_all(&bin)?;
    // A rename, so that the link always exists.
    let fresh = bin.join(format!(".{name}.{}", std::process::id()));
    std::os::unix::fs::symlink(target, &fresh).with_context(|| format!("linking {}", fresh.display()))?;
    fs::rename(&fresh, &link).with_context(|| format!("linking {}", link.display()))?;
    Ok(link)
}

/// A short name for the content of these files: twelve hex digits of their SHA-256.
pub(crate) fn key(files: &[&Path]) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(fs::read(file).with_context(|| format!("reading {}", file.display()))?);
    }
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}
