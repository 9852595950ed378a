//! The cluster's container images. Each contains the built programs only, in one layer, in the archive format of
//! `docker save`, which containerd imports. There is no registry.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::programs::Programs;
use super::state::State;
use crate::process;

/// The image that holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/pause:1";
/// The image of the Collector that `otlp-gate` deploys.
const COLLECTOR: &str = "docker.io/otel/opentelemetry-collector-contrib:0.155.0";
/// The image of the engine of shared quotas that `otlp-gate` deploys.
const VALKEY: &str = "docker.io/valkey/valkey:9.1.4";
/// Debian's Redis, from which Valkey was forked, stands for it: a server under every name but this one.
const REDIS: &str = "/usr/bin/redis-check-rdb";

/// The image of the command `otlp-gate`.
const COMMAND: &str = "localhost/otlp-gate:1";

/// Paths in an image, with the files of this machine that are copied there.
pub(super) type Files = BTreeMap<String, PathBuf>;

/// An image to build.
pub(super) struct Image {
    /// The name in manifests.
    pub(super) name: &'static str,
    pub(super) files: Files,
    /// The image's `config`, by OCI's image specification.
    pub(super) config: Value,
}

/// The images of every cluster.
pub(super) fn base(programs: &Programs) -> Result<Vec<Image>> {
    let sleep = json!({"Entrypoint": ["/bin/busybox", "sleep", "2147483647"]});
    let collector = json!({"Entrypoint": ["/otelcol"], "User": "10001:10001"});
    let mut valkey = libraries(Path::new(REDIS))?;
    valkey.extend(files([
        ("usr/local/bin/valkey-server", Path::new(REDIS)),
        ("bin/sh", Path::new("/bin/busybox")),
    ]));
    Ok(vec![
        Image { name: PAUSE, files: files([("bin/busybox", Path::new("/bin/busybox"))]), config: sleep },
        Image {
            name: "localhost/coredns:1",
            files: files([("coredns", &programs.coredns)]),
            config: json!({"Entrypoint": ["/coredns"]}),
        },
        Image { name: COLLECTOR, files: files([("otelcol", &programs.collector)]), config: collector },
        Image {
            name: VALKEY,
            files: valkey,
            config: json!({"Env": ["PATH=/usr/local/bin:/bin"], "Cmd": ["valkey-server"]}),
        },
    ])
}

/// The image of the command, without its debug information: with it, each node would import 120 MB.
pub(super) fn command(state: &State, command: &Path) -> Result<Image> {
    let stripped = state.dir().join("otlp-gate");
    process::run(Command::new("strip").arg("-o").arg(&stripped).arg(command))?;
    let mut all = libraries(command)?;
    all.extend(files([("otlp-gate", &stripped)]));
    let config = json!({"Entrypoint": ["/otlp-gate"], "User": "65532:65532"});
    Ok(Image { name: COMMAND, files: all, config })
}

/// Builds the archives of images.
pub(super) fn make(state: &State, images: &[Image]) -> Result<Vec<PathBuf>> {
    let out = state.dir().join("images");
    fs::create_dir_all(&out)?;
    images.iter().map(|image| archive(&out, image)).collect()
}

/// Pairs of a path relative to the image's root and a file.
pub(super) fn files<T: Into<String>, S: Into<PathBuf>, const N: usize>(pairs: [(T, S); N]) -> Files {
    pairs.into_iter().map(|(target, source)| (target.into(), source.into())).collect()
}

/// The shared libraries of a program, at their paths on this machine.
pub(super) fn libraries(program: &Path) -> Result<Files> {
    let linked = process::stdout(Command::new("ldd").arg(program))?;
    let paths = linked.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(|path| (path.trim_start_matches('/').to_owned(), PathBuf::from(path))).collect())
}

/// This machine's iptables with its extensions, for the init container of sidecars.
pub(super) fn iptables() -> Result<Files> {
    let multi = Path::new("/usr/sbin/xtables-nft-multi");
    let mut found = libraries(multi)?;
    for family in ["ip", "ip6"] {
        for action in ["", "-save", "-restore"] {
            found.insert(format!("usr/sbin/{family}tables{action}"), multi.to_path_buf());
        }
    }
    let architecture = std::env::consts::ARCH;
    let extensions = PathBuf::from(format!("/usr/lib/{architecture}-linux-gnu/xtables"));
    for entry in fs::read_dir(&extensions).with_context(|| format!("reading {}", extensions.display()))? {
        let file = entry?.path();
        found.insert(file.to_string_lossy().trim_start_matches('/').to_owned(), file);
    }
    Ok(found)
}

fn archive(out: &Path, image: &Image) -> Result<PathBuf> {
    let Image { name, files, config } = image;
    let layer = layer(files).with_context(|| format!("building the image {name}"))?;
    let diff_id: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let path = out.join(format!("{}.tar", name.replace(['/', ':', '@'], "_")));
    let mut archive = Builder::new(File::create(&path)?);
    let entries = [
        ("layer.tar", layer),
        ("config.json", serde_json::to_vec(&config)?),
        ("manifest.json", serde_json::to_vec(&manifest)?),
    ];
    for (entry, data) in entries {
        append(&mut archive, entry, EntryType::Regular, 0o644, &data)?;
    }
    archive.finish()?;
    Ok(path)
}

fn layer(files: &Files) -> Result<Vec<u8>> {
    let mut folders = BTreeMap::from([("tmp".to_owned(), 0o1777), ("var/run".to_owned(), 0o777)]);
    folders.insert("var/lib".to_owned(), 0o777);
    for folder in ["dev", "etc", "proc", "sys"] {
        folders.insert(folder.to_owned(), 0o755);
    }
    let inner: Vec<String> = files.keys().chain(folders.keys()).cloned().collect();
    for path in inner {
        for (end, _) in path.match_indices('/') {
            folders.entry(path.get(..end).unwrap_or_default().to_owned()).or_insert(0o755);
        }
    }
    let mut layer = Builder::new(Vec::new());
    for (folder, mode) in folders {
        append(&mut layer, &folder, EntryType::Directory, mode, &[])?;
    }
    for (target, source) in files {
        let data = fs::read(source).with_context(|| format!("reading {}", source.display()))?;
        append(&mut layer, target, EntryType::Regular, 0o755, &data)?;
    }
    Ok(layer.into_inner()?)
}

fn append<W: std::io::Write>(
    archive: &mut Builder<W>,
    path: &str,
    kind: EntryType,
    mode: u32,
    data: &[u8],
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(u64::try_from(data.len())?);
    Ok(archive.append_data(&mut header, path, data)?)
}
