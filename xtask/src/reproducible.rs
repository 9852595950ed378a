//! Builds whose bytes do not depend on the machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::project;

/// The compiler's flags, in the form of `CARGO_ENCODED_RUSTFLAGS`: `flags`, and replacements for paths of this machine,
/// which panic messages contain. `more` are further paths; if several match, the last one applies.
pub(crate) fn rustflags(flags: &[&str], more: &[(&Path, &str)]) -> Result<String> {
    let home = cargo_home()?;
    let registries = subfolders(&home.join("registry/src"));
    let root = project::root();
    let mut paths = vec![(home.as_path(), "/cargo")];
    paths.extend(registries.iter().map(|registry| (registry.as_path(), "/cargo/registry")));
    paths.push((&root, "/otlp-gate"));
    paths.extend_from_slice(more);
    let remap =
        paths.into_iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()));
    let flags = flags.iter().map(|flag| (*flag).to_owned());
    Ok(flags.chain(remap).collect::<Vec<_>>().join("\x1f"))
}

fn cargo_home() -> Result<PathBuf> {
    let set = env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| env::home_dir().map(|home| home.join(".cargo"))).context("no home folder: set CARGO_HOME")
}

fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}
