//! The compiler for wasm32: rustup's if it can be installed, else Debian's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::{process, project};

/// The target of proxy-wasm modules.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// A compiler that can build for [`TARGET`].
pub(crate) enum Toolchain {
    /// The toolchain that runs this recipe, with its target installed.
    Rustup,
    /// Debian's `rustc-web`, which builds the standard library from source.
    Debian(debian::Debian),
}

impl Toolchain {
    /// The first toolchain that is available. `OTLP_GATE_WASM_TOOLCHAIN` chooses one: `rustup` or `debian`.
    pub(crate) fn find() -> Result<Self> {
        let chosen = env::var("OTLP_GATE_WASM_TOOLCHAIN").unwrap_or_default();
        let rustup = match chosen.as_str() {
            "" | "rustup" => rustup_target(),
            "debian" => Err(anyhow::anyhow!("OTLP_GATE_WASM_TOOLCHAIN=debian")),
            other => bail!("OTLP_GATE_WASM_TOOLCHAIN={other}: expected rustup or debian"),
        };
        let no_rustup = match rustup {
            Ok(()) => return Ok(Toolchain::Rustup),
            Err(error) if chosen == "rustup" => return Err(error),
            Err(error) => error,
        };
        let debian = debian::Debian::find().map_err(|no_debian| {
            // Without its hint, which is part of the one here.
            let no_debian = format!("{no_debian:#}");
            let no_debian = no_debian.split("\n\n").next().unwrap_or_default();
            anyhow::anyhow!(
                "no compiler for {TARGET}\n  rustup: {no_rustup:#}\n  Debian: {no_debian}\n\nhint: run `rustup target \
                 add {TARGET}`, or on Debian `sudo apt-get install {}`",
                debian::PACKAGES.join(" ")
            )
        })?;
        Ok(Toolchain::Debian(debian))
    }

    /// `cargo SUBCOMMAND` for [`TARGET`], started in the root of the work tree.
    pub(crate) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut cargo = match self {
            Toolchain::Rustup => project::cargo(),
            Toolchain::Debian(debian) => debian.cargo(),
        };
        cargo.args([subcommand, "--target", TARGET]);
        if let Toolchain::Debian(_) = self {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        Ok(cargo)
    }

    /// A separate target folder, because other flags would invalidate the host's builds. Debian's contains a standard
    /// library, so it is in the cache, where all work trees share it.
    pub(crate) fn target_dir(&self) -> Result<PathBuf> {
        match self {
            Toolchain::Rustup => Ok(project::target_dir()?.join("wasm")),
            Toolchain::Debian(debian) => {
                Ok(project::cache_dir()?.join("wasm-build").join(debian.version().replace(' ', "-")))
            }
        }
    }

    /// Paths of the host that the compiler may write into the module, each with its replacement. If several match, the
    /// last one applies.
    pub(crate) fn paths(&self) -> Result<Vec<(PathBuf, String)>> {
        let home = cargo_home()?;
        let mut paths = vec![(home.clone(), "/cargo".to_owned())];
        for registry in subfolders(&home.join("registry/src")) {
            paths.push((registry, "/cargo/registry".to_owned()));
        }
        paths.push((project::root(), "/otlp-gate".to_owned()));
        if let Toolchain::Debian(debian) = self {
            paths.push((debian.source().to_path_buf(), "/rust".to_owned()));
        }
        Ok(paths)
    }
}

/// Makes sure that this toolchain has the target.
fn rustup_target() -> Result<()> {
    if installed()? {
        return Ok(());
    }
    if process::find("rustup").is_none() {
        bail!("rustup is not on PATH");
    }
    eprintln!("installing {TARGET} with rustup");
    process::run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(project::root()))
}

fn installed() -> Result<bool> {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(project::root());
    let libdir = process::stdout(&mut rustc)?;
    Ok(Path::new(&libdir).is_dir())
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
