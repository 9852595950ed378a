//! The cache of installed things: each in a folder of its own, named after its version, filled once and never changed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::project;

/// The folder `<cache>/NAME`. Where it is not there whole, `install` fills it; recipes that run at once wait for one
/// another.
pub(crate) fn folder(name: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = project::cache_dir()?;
    let dir = cache.join(name);
    let complete = dir.join(".complete");
    if complete.is_file() {
        return Ok(dir);
    }
    fs::create_dir_all(&cache).with_context(|| format!("making the cache {}", cache.display()))?;
    let lock = File::create(cache.join(".lock")).context("making the cache's lock")?;
    lock.lock().context("waiting for another recipe that is setting up")?;
    if complete.is_file() {
        return Ok(dir);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("removing the unfinished {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    eprintln!("setting up {name}");
    let start = Instant::now();
    install(&dir).with_context(|| format!("setting up {name}"))?;
    File::create(complete)?;
    eprintln!("setting up {name}: done in {} s", start.elapsed().as_secs());
    Ok(dir)
}

/// Makes `<cache>/bin/NAME` the program at `target`, and gives that path: the one place where the CLI and people look.
pub(crate) fn program(name: &str, target: &Path) -> Result<PathBuf> {
    let bin = project::cache_dir()?.join("bin");
    let link = bin.join(name);
    if fs::read_link(&link).is_ok_and(|current| current == target) {
        return Ok(link);
    }
    fs::create_dir_all(&bin)?;
    // By way of a rename, so that nobody ever finds it missing.
    let fresh = bin.join(format!(".{name}.{}", std::process::id()));
    std::os::unix::fs::symlink(target, &fresh).with_context(|| format!("linking {}", fresh.display()))?;
    fs::rename(&fresh, &link).with_context(|| format!("linking {}", link.display()))?;
    Ok(link)
}

/// A short name for what these files say: twelve hex digits of their SHA-256.
pub(crate) fn key(files: &[&Path]) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(fs::read(file).with_context(|| format!("reading {}", file.display()))?);
    }
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}
