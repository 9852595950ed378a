//! The compiler for wasm32: rustup's if it can be installed, else Debian's.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::debian;
use crate::{process, project, reproducible};

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

    /// The compiler's flags, in the form of `CARGO_ENCODED_RUSTFLAGS`: `flags`, and what makes builds reproducible.
    pub(crate) fn rustflags(&self, flags: &[&str]) -> Result<String> {
        match self {
            Toolchain::Rustup => reproducible::rustflags(flags, &[]),
            Toolchain::Debian(debian) => reproducible::rustflags(flags, &[(debian.source(), "/rust")]),
        }
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
