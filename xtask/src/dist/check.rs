//! Whether the files of a release work, and whether another build gives the same bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;

use super::command::Platform;
use super::{IMAGE, SBOM, STEM, SUMS, VERSION, archive_of, folder_of};
use crate::{debian, process, project};

/// Checks the checksums and the bill of materials, and runs each binary in a folder with nothing else, and the image.
pub(super) fn files(dir: &Path, platforms: &[Platform]) -> Result<()> {
    process::run(Command::new("sha256sum").args(["--check", "--quiet", SUMS]).current_dir(dir))?;
    bill_of_materials(&dir.join(SBOM))?;
    let mut manifests: Option<BTreeMap<PathBuf, Vec<u8>>> = None;
    for platform in platforms {
        let root = Root::unpack(dir, *platform)?;
        let now = root.try_out(&dir.join(format!("{STEM}.wasm")))?;
        let before = manifests.get_or_insert_with(|| now.clone());
        ensure!(*before == now, "the binary for {platform} renders other manifests");
        eprintln!("the binary for {platform} works in a folder with nothing else");
    }
    if process::is_root()? && platforms.contains(&Platform::NATIVE) {
        image(&dir.join(IMAGE))?;
        eprintln!("containerd runs the image");
    } else {
        eprintln!("the image is not run, which needs root");
    }
    Ok(())
}

/// Builds a clone of this commit in another folder, and compares all files.
pub(super) fn second_build(dir: &Path, platforms: &[Platform]) -> Result<()> {
    let git = |args: &[&str]| process::stdout(Command::new("git").args(args).current_dir(project::root()));
    ensure!(
        git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty(),
        "the work tree has changes, so another build of its commit differs\n\nhint: commit them"
    );
    let clone = empty("clone")?;
    process::run(Command::new("git").args(["clone", "--quiet"]).arg(project::root()).arg(&clone))?;
    let again = clone.join("dist");
    let mut cargo = project::cargo();
    cargo.current_dir(&clone).env("CARGO_TARGET_DIR", clone.join("target"));
    cargo.args(["xtask", "dist", "--out"]).arg(&again);
    for platform in platforms {
        cargo.args(["--platform", &platform.to_string()]);
    }
    process::run(&mut cargo)?;
    let sums = |dir: &Path| fs::read_to_string(dir.join(SUMS));
    let (first, second) = (sums(dir)?, sums(&again)?);
    let differing: Vec<&str> = first.lines().filter(|line| !second.lines().any(|it| it == *line)).collect();
    ensure!(first == second, "a second build in {} differs in\n{}", clone.display(), differing.join("\n"));
    eprintln!("a second build in another folder gives the same bytes");
    Ok(fs::remove_dir_all(clone)?)
}

/// An empty folder of this name, for one check.
fn empty(name: &str) -> Result<PathBuf> {
    let dir = project::target_dir()?.join("dist-check").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// CycloneDX with the crates of the command, and no path of this machine.
fn bill_of_materials(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let bill: serde_json::Value = serde_json::from_str(&text)?;
    let components = bill.get("components").and_then(|it| it.as_array()).context("it has no components")?;
    let has =
        |name: &str| components.iter().any(|it| it.get("name").and_then(|it| it.as_str()) == Some(name));
    ensure!(bill.get("bomFormat").is_some_and(|it| it == "CycloneDX"), "it is not CycloneDX");
    ensure!(has("rustls") && has("otlp-gate-core"), "it lacks crates of the command");
    ensure!(!text.contains(&project::root().display().to_string()), "it has paths of this machine");
    Ok(())
}

/// A folder that is the root of the command's file system, and contains an archive of the release only.
struct Root {
    dir: PathBuf,
    /// The emulator of the platform within it, where it is not this machine's.
    emulator: Option<&'static str>,
}

impl Root {
    fn unpack(release: &Path, platform: Platform) -> Result<Self> {
        let dir = empty(platform.architecture())?;
        let archive = File::open(release.join(archive_of(platform)))?;
        tar::Archive::new(GzDecoder::new(archive)).unpack(&dir)?;
        let dir = dir.join(folder_of(platform));
        for file in ["LICENSE", "docs/README.md", "man/man1/otlp-gate.1", "completions/_otlp-gate"] {
            ensure!(dir.join(file).is_file(), "the archive for {platform} has no {file}");
        }
        if platform == Platform::NATIVE {
            return Ok(Root { dir, emulator: None });
        }
        // Static, so that it needs nothing else either.
        debian::require(&["qemu-user-static"])?;
        let emulator = match platform {
            Platform::Amd64 => "qemu-x86_64-static",
            Platform::Arm64 => "qemu-aarch64-static",
        };
        fs::copy(Path::new("/usr/bin").join(emulator), dir.join(emulator))?;
        Ok(Root { dir, emulator: Some(emulator) })
    }

    /// Runs the command, and returns its output.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut chroot = if process::is_root()? {
            Command::new("chroot")
        } else {
            let mut unshare = Command::new("unshare");
            unshare.args(["--map-root-user", "chroot"]);
            unshare
        };
        chroot.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg(&self.dir);
        if let Some(emulator) = self.emulator {
            chroot.arg(format!("/{emulator}"));
        }
        process::stdout(chroot.arg("/otlp-gate").args(arguments))
    }

    /// Does what a user does first, compares the module with `module`, and returns the rendered manifests.
    fn try_out(&self, module: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let version = self.run(&["--version"])?;
        ensure!(version == format!("otlp-gate {VERSION}"), "`--version` prints {version}");
        self.run(&["init"])?;
        self.run(&["check"])?;
        self.run(&["certs", "init", "--local"])?;
        self.run(&["certs", "client", "acme-edge", "--spiffe", "spiffe://acme.example/edge/1"])?;
        let client = self.run(&["whoami", "certs/clients/acme-edge.crt"])?;
        ensure!(client.contains("tenant.id: acme"), "`whoami` prints {client}");
        self.run(&["wasm", "export", "module.wasm"])?;
        ensure!(fs::read(self.dir.join("module.wasm"))? == fs::read(module)?, "it contains another module");
        self.run(&["render", "--out", "deploy"])?;
        let mut manifests = BTreeMap::new();
        for entry in fs::read_dir(self.dir.join("deploy"))? {
            let path = entry?.path();
            manifests.insert(PathBuf::from(path.file_name().unwrap_or_default()), fs::read(&path)?);
        }
        ensure!(manifests.len() > 10, "`render` writes {} files", manifests.len());
        Ok(manifests)
    }
}

/// Runs the image with a containerd of its own, as its user, who may write to the working folder.
fn image(archive: &Path) -> Result<()> {
    debian::require(&["containerd", "runc"])?;
    let dir = empty("containerd")?;
    let socket = dir.join("socket");
    let mut containerd = Command::new("containerd");
    containerd.arg("--address").arg(&socket).arg("--root").arg(dir.join("root"));
    containerd.arg("--state").arg(dir.join("state")).arg("--config").arg("/dev/null");
    containerd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(dir.join("log"))?);
    let mut containerd = containerd.spawn().context("could not start containerd")?;
    let ctr = |arguments: &[&str]| {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(&socket).args(["--namespace", "otlp-gate-check"]).args(arguments);
        ctr
    };
    let image = format!("otlp-gate:{VERSION}");
    let run = |id: &str, arguments: &[&str]| {
        let run = ["run", "--rm", "--snapshotter", "native", &image, id, "/otlp-gate"];
        process::stdout(ctr(&run).args(arguments))
    };
    let tried = || {
        for _ in 0..100 {
            if ctr(&["version"]).output().is_ok_and(|it| it.status.success()) {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let import = ["images", "import", "--snapshotter", "native", "--base-name", "otlp-gate"];
        process::run(ctr(&import).arg(archive))?;
        let version = run("version", &["--version"])?;
        ensure!(version == format!("otlp-gate {VERSION}"), "`--version` prints {version}");
        run("init", &["init"]).map(drop)
    };
    let outcome = tried();
    containerd.kill()?;
    containerd.wait()?;
    if let Err(error) = outcome {
        bail!("{error:#}\n\nhint: {} is containerd's log", dir.join("log").display());
    }
    Ok(fs::remove_dir_all(dir)?)
}
