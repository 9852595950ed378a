//! Processes that outlive the recipe, and their logs.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::state::State;

/// Starts a process whose output goes to the end of the log of that name. It is in a process group of its own, so that Ctrl-C
/// ends the recipe only; `down` finds it by its network namespace.
pub(super) fn start(state: &State, name: &str, command: &mut Command) -> Result<()> {
    let path = state.logs().join(name);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("making {}", path.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .current_dir(state.dir());
    command.spawn().with_context(|| format!("could not start {name}"))?;
    Ok(())
}

/// Waits until it is so, at most a minute and a half.
pub(super) fn wait_until(log: &str, what: &str, mut so: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !so() {
        if start.elapsed() > Duration::from_secs(90) {
            bail!("{what}: not after 90 s\n\nhint: cargo xtask cluster logs {log}");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Lists the logs, or prints one.
pub(super) fn logs(state: &State, name: Option<&str>) -> Result<()> {
    let dir = state.logs();
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("{}: no cluster", dir.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    match name {
        None => names.iter().for_each(|name| println!("{name}")),
        Some(name) if names.iter().any(|known| known == name) => {
            io::copy(&mut File::open(dir.join(name))?, &mut io::stdout().lock())?;
        }
        Some(name) => bail!("{name}: no such log\n\nhint: {}", names.join(", ")),
    }
    Ok(())
}
