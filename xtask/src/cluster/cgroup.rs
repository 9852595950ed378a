//! A control group per node, so that a kubelet takes nobody else's pods for its own and ends them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

const MOUNT: &str = "/sys/fs/cgroup";
const GROUP: &str = "otlp-gate-cluster";

/// The group of a node, below each hierarchy's root.
pub(super) fn of_node(node: u8) -> String {
    format!("/{GROUP}/node-{node}")
}

/// Makes it.
pub(super) fn create(node: u8) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(GROUP);
        let leaf = group.join(format!("node-{node}"));
        fs::create_dir_all(&leaf).with_context(|| format!("making the control group {}", leaf.display()))?;
        // Version 2 hands each controller on by hand.
        if let Ok(controllers) = fs::read_to_string(hierarchy.join("cgroup.controllers")) {
            for level in [&hierarchy, &group] {
                for controller in controllers.split_whitespace() {
                    let file = level.join("cgroup.subtree_control");
                    fs::write(&file, format!("+{controller}"))
                        .with_context(|| format!("handing {controller} on in {}", file.display()))?;
                }
            }
        }
    }
    Ok(())
}

/// Removes all of them. A process that was killed stays in its group for a moment; what is still in use after a
/// second goes at the next `down`.
pub(super) fn remove() -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(GROUP);
        for _ in 0..20 {
            remove_tree(&group);
            if !group.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// The one hierarchy of version 2, or version 1's many.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").is_file() {
        return Ok(vec![mount.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(mount).with_context(|| format!("{MOUNT}: no control groups"))? {
        let dir = entry?.path();
        if dir.join("cgroup.procs").is_file()
            && !dir.join("cgroup.controllers").is_file()
            && !dir.is_symlink()
        {
            found.push(dir);
        }
    }
    Ok(found)
}

fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
