//! A control group for each node. Without it, a kubelet would kill the other node's pods as unknown ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

const MOUNT: &str = "/sys/fs/cgroup";
const GROUP: &str = "otlp-gate-cluster";

/// The path of a node's group below each hierarchy's root.
pub(super) fn of_node(node: u8) -> String {
    format!("/{GROUP}/node-{node}")
}

/// Creates a node's group.
pub(super) fn create(node: u8) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(GROUP);
        let leaf = group.join(format!("node-{node}"));
        fs::create_dir_all(&leaf)
            .with_context(|| format!("creating the control group {}", leaf.display()))?;
        // In cgroup v2 each level must enable its controllers for the next one.
        if let Ok(controllers) = fs::read_to_string(hierarchy.join("cgroup.controllers")) {
            for level in [&hierarchy, &group] {
                for controller in controllers.split_whitespace() {
                    let file = level.join("cgroup.subtree_control");
                    fs::write(&file, format!("+{controller}"))
                        .with_context(|| format!("enabling {controller} in {}", file.display()))?;
                }
            }
        }
    }
    Ok(())
}

/// Removes all groups. A killed process stays in its group for a moment. A group that is in use after a second is
/// removed by the next `down`.
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

/// The hierarchy of cgroup v2, or the hierarchies of v1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").is_file() {
        return Ok(vec![mount.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(mount).with_context(|| format!("no control groups in {MOUNT}"))? {
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
