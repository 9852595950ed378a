//! The folder with all files of the cluster. The routes to the cluster are the machine's, so there is one cluster on a
//! machine, and its folder is in the cache, where every work tree finds it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::programs::Programs;
use crate::project;

/// The folder of the cluster.
#[derive(Clone)]
pub(super) struct State(PathBuf);

impl State {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(project::cache_dir()?.join("cluster")))
    }

    /// Creates the folder, with a link to the program `kubebox`.
    pub(super) fn create(&self, programs: &Programs) -> Result<()> {
        fs::create_dir_all(self.logs()).with_context(|| format!("creating {}", self.0.display()))?;
        std::os::unix::fs::symlink(&programs.kube, self.kubebox()).context("linking kubebox")
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    /// etcd, Kubernetes and kubectl in one program.
    pub(super) fn kubebox(&self) -> PathBuf {
        self.0.join("kubebox")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub(super) fn pki(&self, file: &str) -> PathBuf {
        self.0.join("pki").join(file)
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// The kubeconfig of the running cluster.
    pub(super) fn running_kubeconfig(&self) -> Result<PathBuf> {
        let file = self.kubeconfig();
        if !file.is_file() {
            bail!(
                "no cluster is running: {} does not exist\n\nhint: run `cargo xtask cluster up`",
                file.display()
            );
        }
        Ok(file)
    }

    /// The folder of a node.
    pub(super) fn node(&self, number: u8) -> PathBuf {
        self.0.join(format!("node-{number}"))
    }
}
