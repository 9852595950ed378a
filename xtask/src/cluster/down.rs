//! Stopping a cluster, also one that was interrupted: everything that is found is removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::state::State;
use super::{cgroup, network};
use crate::process;

/// Fails if a cluster is running or was interrupted while it started: another person may use it.
pub(super) fn expect_none(state: &State) -> Result<()> {
    match processes(state)?.len() {
        0 => Ok(()),
        count => bail!(
            "a cluster is already running on this machine ({count} processes), and there can be only one\n\n\
             hint: `cargo xtask cluster down` stops it, also if another person has started it"
        ),
    }
}

/// Kills every process, then removes mounts, namespaces, control groups and files.
pub(super) fn down(state: &State) -> Result<()> {
    end_processes(state)?;
    unmount(state)?;
    network::down()?;
    cgroup::remove()?;
    remove_log_links(state);
    remove_shim_sockets(state);
    if state.dir().exists() {
        fs::remove_dir_all(state.dir()).with_context(|| format!("removing {}", state.dir().display()))?;
    }
    Ok(())
}

/// Kills a program of Kubernetes on a node.
pub(super) fn end_of_node(state: &State, node: u8, program: &str) -> Result<()> {
    let namespace = identity(&fs::metadata(network::namespace_path(node)).context("looking for the node")?);
    let kubebox = state.kubebox();
    end(|| {
        let mut processes = processes(state)?;
        processes.retain(|process| {
            let dir = PathBuf::from(format!("/proc/{process}"));
            let line = fs::read_to_string(dir.join("cmdline")).unwrap_or_default();
            let mut words = line.split('\0');
            words.next().is_some_and(|word| Path::new(word) == kubebox)
                && words.next() == Some(program)
                && fs::metadata(dir.join("ns/net")).is_ok_and(|it| identity(&it) == namespace)
        });
        Ok(processes)
    })
}

fn end_processes(state: &State) -> Result<()> {
    end(|| processes(state))
}

/// Kills the processes that `find` returns, until there are none.
fn end(find: impl Fn() -> Result<BTreeSet<u32>>) -> Result<()> {
    for _ in 0..100 {
        let processes = find()?;
        if processes.is_empty() {
            return Ok(());
        }
        let mut kill = Command::new("kill");
        kill.arg("-KILL").args(processes.iter().map(u32::to_string)).stderr(Stdio::null());
        // Some may have ended meanwhile, so a failure of `kill` does not matter.
        kill.status().context("could not start `kill`")?;
        thread::sleep(Duration::from_millis(50));
    }
    bail!("processes of the cluster do not end: {:?}", find()?)
}

/// The processes in the nodes' network namespaces, the shims of their containers, and the descendants of both.
fn processes(state: &State) -> Result<BTreeSet<u32>> {
    let namespaces: Vec<_> = (1..=2)
        .filter_map(|node| fs::metadata(network::namespace_path(node)).ok())
        .map(|it| identity(&it))
        .collect();
    let mut found = BTreeSet::new();
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let dir = entry.path();
        if defunct(&dir) {
            continue;
        }
        let inside = fs::metadata(dir.join("ns/net")).is_ok_and(|it| namespaces.contains(&identity(&it)));
        if inside || is_shim(&dir, state) {
            found.insert(process);
        }
        if let Some(parent) = status_field(&dir, "PPid:").and_then(|parent| parent.parse::<u32>().ok()) {
            children.push((parent, process));
        }
    }
    loop {
        let before = found.len();
        let next: Vec<u32> =
            children.iter().filter(|(parent, _)| found.contains(parent)).map(|it| it.1).collect();
        found.extend(next);
        if found.len() == before {
            return Ok(found);
        }
    }
}

fn identity(namespace: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (namespace.dev(), namespace.ino())
}

/// Whether a process is a shim of this cluster. containerd starts one for each pod, with a socket of ours as an
/// argument.
fn is_shim(process: &Path, state: &State) -> bool {
    let Ok(line) = fs::read(process.join("cmdline")) else { return false };
    let line = String::from_utf8_lossy(&line);
    line.contains("containerd-shim") && line.split('\0').any(|word| Path::new(word).starts_with(state.dir()))
}

fn defunct(process: &Path) -> bool {
    status_field(process, "State:").is_none_or(|state| state.starts_with('Z'))
}

fn status_field(process: &Path, name: &str) -> Option<String> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

fn unmount(state: &State) -> Result<()> {
    // In reverse order of mounting.
    for path in mounts(state)?.iter().rev() {
        let unmounted = process::run(Command::new("umount").args(["--lazy", "--quiet"]).arg(path));
        // A mount may have ended with the process or the mount that held it.
        if unmounted.is_err() && mounts(state)?.contains(path) {
            return unmounted;
        }
    }
    Ok(())
}

fn mounts(state: &State) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    let paths = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    Ok(paths.filter(|path| path.starts_with(state.dir())).collect())
}

/// Removes the kubelet's links to logs of pods, whose folder cannot be configured.
fn remove_log_links(state: &State) {
    for entry in fs::read_dir("/var/log/containers").into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(state.dir())) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes the shims' sockets, whose folder cannot be configured. Each shim writes the path into its state.
fn remove_shim_sockets(state: &State) {
    for node in 1..=2 {
        let tasks = state.node(node).join("containerd-state/io.containerd.runtime.v2.task/k8s.io");
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            let address = fs::read_to_string(task.path().join("address")).unwrap_or_default();
            if let Some(socket) = address.trim().strip_prefix("unix://") {
                let _ = fs::remove_file(socket);
            }
        }
    }
}
