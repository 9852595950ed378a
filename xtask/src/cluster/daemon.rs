//! Processes that run on after the recipe, and their logs.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::state::State;

/// Starts a process and appends its output to the log of this name. It has a process group of its own, so that Ctrl-C
/// stops only the recipe. `down` finds it by its network namespace.
pub(super) fn start(state: &State, name: &str, command: &mut Command) -> Result<()> {
    let path = state.logs().join(name);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("creating {}", path.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .current_dir(state.dir());
    command.spawn().with_context(|| format!("could not start {name}"))?;
    Ok(())
}

/// Waits until `condition` is true, for at most 90 s.
pub(super) fn wait_until(log: &str, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > Duration::from_secs(90) {
            bail!("not within 90 s: {what}\n\nhint: run `cargo xtask cluster logs {log}`");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Lists the logs, or prints one.
pub(super) fn logs(state: &State, name: Option<&str>) -> Result<()> {
    let dir = state.logs();
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("no cluster has logs in {}", dir.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    match name {
        None => names.iter().for_each(|name| println!("{name}")),
        Some(name) if names.iter().any(|known| known == name) => {
            io::copy(&mut File::open(dir.join(name))?, &mut io::stdout().lock())?;
        }
        Some(name) => bail!("no log {name}\n\nhint: the logs are {}", names.join(", ")),
    }
    Ok(())
}
