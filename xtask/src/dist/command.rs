//! The command as a static binary, with its manual pages and completions.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::archive::File;
use super::links;
use crate::{debian, process, project, reproducible};

/// A platform that the command is released for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Platform {
    #[value(name = "linux/amd64")]
    Amd64,
    #[value(name = "linux/arm64")]
    Arm64,
}

impl Platform {
    pub(super) const ALL: [Platform; 2] = [Platform::Amd64, Platform::Arm64];
    /// The one of this machine.
    pub(super) const NATIVE: Platform =
        if cfg!(target_arch = "aarch64") { Platform::Arm64 } else { Platform::Amd64 };

    /// The name that Go and OCI give the processor's architecture.
    pub(super) fn architecture(self) -> &'static str {
        match self {
            Platform::Amd64 => "amd64",
            Platform::Arm64 => "arm64",
        }
    }

    /// Rust's target. With musl the binary needs no library of the system.
    fn target(self) -> &'static str {
        match self {
            Platform::Amd64 => "x86_64-unknown-linux-musl",
            Platform::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Debian's C compiler for the platform, and what it needs. `ring` has parts in C and assembler.
    fn compiler(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Platform::Amd64 => ("x86_64-linux-gnu-gcc", &["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"]),
            Platform::Arm64 => ("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]),
        }
    }

    /// Builds the static binary with a profile of cargo's, and returns its path.
    pub(super) fn build(self, profile: &str) -> Result<PathBuf> {
        let (target, (compiler, packages)) = (self.target(), self.compiler());
        // A machine's own compiler has its headers.
        if self != Platform::NATIVE || process::find(compiler).is_none() {
            debian::require(packages)?;
        }
        process::run(Command::new("rustup").args(["target", "add", target]).current_dir(project::root()))
            .with_context(|| format!("the standard library for {target} is required"))?;
        let variable = |name: &str| format!("{name}_{}", target.replace('-', "_"));
        let mut cargo = project::cargo();
        cargo.args(["build", "--package", "otlp-gate", "--locked", "--profile", profile, "--target", target]);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", reproducible::rustflags(&[], &[])?);
        cargo.env(variable("CC"), compiler);
        // It links what rustup's target has of musl; the C compiler would take the system's libraries.
        cargo.env(format!("CARGO_TARGET_{}_LINKER", target.replace('-', "_").to_uppercase()), "rust-lld");
        process::run(&mut cargo)?;
        let folder = if profile == "dev" { "debug" } else { profile };
        Ok(project::target_dir()?.join(target).join(folder).join("otlp-gate"))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture())
    }
}

/// What an archive has of the tree. The README links to the docs, they to the examples, and these to the manifests.
const TREE: [&str; 7] =
    ["LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "docs", "examples", "manifests"];

/// The files of an archive, in a folder: the command, its pages, the license and the docs.
pub(super) fn files(folder: &str, binary: &[u8], pages: &[File]) -> Result<Vec<File>> {
    let root = project::root();
    let mut git = Command::new("git");
    let tree = process::stdout(git.args(["ls-files", "--"]).args(TREE).current_dir(&root))?;
    let mut files = vec![File { path: "otlp-gate".to_owned(), executable: true, content: binary.to_vec() }];
    let names: BTreeSet<&Path> = tree.lines().flat_map(|name| Path::new(name).ancestors()).collect();
    for name in tree.lines() {
        let mut content = fs::read(root.join(name)).with_context(|| format!("reading {name}"))?;
        if name.ends_with(".md") {
            content = links::within(&String::from_utf8(content)?, Path::new(name), &names).into_bytes();
        }
        files.push(File { path: name.to_owned(), executable: false, content });
    }
    files.extend(pages.iter().map(|page| File {
        path: page.path.clone(),
        executable: false,
        content: page.content.clone(),
    }));
    for file in &mut files {
        file.path = format!("{folder}/{}", file.path);
    }
    Ok(files)
}

/// The manual pages and completions, as `command` writes them.
pub(super) fn pages(command: &Path) -> Result<Vec<File>> {
    let folder = project::target_dir()?.join("man");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    process::run(Command::new(command).arg("man").arg(&folder))?;
    let mut pages = Vec::new();
    let mut names: Vec<_> =
        fs::read_dir(&folder)?.map(|entry| entry.map(|it| it.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    for name in names {
        let content = fs::read(folder.join(&name))?;
        let path = format!("man/man1/{}", Path::new(&name).display());
        pages.push(File { path, executable: false, content });
    }
    for (shell, name) in [("bash", "otlp-gate.bash"), ("fish", "otlp-gate.fish"), ("zsh", "_otlp-gate")] {
        let script = process::stdout(Command::new(command).args(["completions", shell]))?;
        let path = format!("completions/{name}");
        pages.push(File { path, executable: false, content: format!("{script}\n").into_bytes() });
    }
    Ok(pages)
}
