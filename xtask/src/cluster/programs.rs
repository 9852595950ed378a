//! The cluster's programs, built from the Go modules in tests/cluster into the cache. This takes minutes, and is
//! repeated only when a go.sum changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::cache;
use crate::{process, project};

const KUBERNETES: &str = "1.35.4";
const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder@v0.155.0";
/// The release of Gateway API.
pub(crate) const GATEWAY_API: &str = "v1.6.3";
const CERT_MANAGER: &str = "v1.21.2";
const PROMETHEUS_OPERATOR: &str = "v0.85.0";

/// The programs of every cluster. They are static, so that images need nothing else.
pub(super) struct Programs {
    /// etcd, Kubernetes and kubectl in one program.
    pub(super) kube: PathBuf,
    pub(super) coredns: PathBuf,
    pub(super) collector: PathBuf,
    /// The folder with Gateway API's CRDs of the standard channel.
    pub(super) gateway_api: PathBuf,
}

/// Builds the programs that are not in the cache.
pub(super) fn built() -> Result<Programs> {
    Ok(Programs {
        kube: kube()?.join("kubebox"),
        coredns: coredns()?.join("coredns"),
        collector: collector()?,
        gateway_api: gateway_api()?,
    })
}

/// The folder with envoy-gateway and its CRDs.
pub(super) fn envoy_gateway() -> Result<PathBuf> {
    module("envoy-gateway", &[], |source, out| {
        let package = "github.com/envoyproxy/gateway";
        let main = format!("{package}/cmd/envoy-gateway");
        build(source, &main, &out.join("envoy-gateway"), &["-ldflags", "-s -w"])?;
        let list = ["list", "-mod=mod", "-m", "-f", "{{.Dir}}", package];
        let charts = Path::new(&process::stdout(go(source)?.args(list))?).join("charts/gateway-crds-helm");
        for entry in fs::read_dir(charts.join("templates/generated"))? {
            let file = entry?.path();
            // Manifests within a template condition, which is removed.
            let text = fs::read_to_string(&file)?;
            let plain: Vec<&str> = text.lines().filter(|line| !line.starts_with("{{")).collect();
            fs::write(out.join(file.file_name().unwrap_or_default()), plain.join("\n"))?;
        }
        Ok(())
    })
}

fn kube() -> Result<PathBuf> {
    module("kube", &["main.go"], |source, out| {
        let version = "k8s.io/component-base/version";
        let flags = format!(
            "-s -w -X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor=35 \
             -X {version}.gitTreeState=clean"
        );
        build(source, ".", &out.join("kubebox"), &["-ldflags", &flags])
    })
}

/// The folder with pilot-discovery, pilot-agent, istioctl and envoy_bootstrap.json.
pub(super) fn istio() -> Result<PathBuf> {
    module("istio", &[], |source, out| {
        for package in ["pilot/cmd/pilot-discovery", "pilot/cmd/pilot-agent", "istioctl/cmd/istioctl"] {
            let name = package.rsplit('/').next().unwrap_or(package);
            let tags = ["-tags", "vtprotobuf,disable_pgv", "-ldflags", "-s -w"];
            build(source, &format!("istio.io/istio/{package}"), &out.join(name), &tags)?;
        }
        let list = ["list", "-mod=mod", "-m", "-f", "{{.Dir}}", "istio.io/istio"];
        let istio = process::stdout(go(source)?.args(list))?;
        let bootstrap = "envoy_bootstrap.json";
        fs::copy(Path::new(&istio).join("tools/packaging/common").join(bootstrap), out.join(bootstrap))?;
        Ok(())
    })
}

fn coredns() -> Result<PathBuf> {
    module("coredns", &[], |source, out| {
        build(source, "github.com/coredns/coredns", &out.join("coredns"), &["-ldflags", "-s -w"])
    })
}

/// The Collector. Its builder generates main.go. go.mod is ours, because some versions that the builder would choose
/// cannot be downloaded everywhere.
pub(super) fn collector() -> Result<PathBuf> {
    let folder = module("otelcol", &["builder.yaml"], |source, out| {
        process::run(go(source)?.args(["install", BUILDER]).env("GOBIN", source))?;
        let mut builder = Command::new(source.join("builder"));
        builder.args(["--config", "builder.yaml", "--skip-strict-versioning", "--skip-get-modules"]);
        process::run(builder.arg("--skip-compilation").current_dir(source))?;
        for entry in fs::read_dir(source.join("build"))? {
            let file = entry?.path();
            if let (Some("go"), Some(name)) = (file.extension().and_then(|it| it.to_str()), file.file_name())
            {
                fs::rename(&file, source.join(name))?;
            }
        }
        build(source, ".", &out.join("otelcol"), &["-ldflags", "-s -w"])
    })?;
    Ok(folder.join("otelcol"))
}

/// An image registry.
pub(super) fn registry() -> Result<PathBuf> {
    let folder = module("registry", &[], |source, out| {
        let package = "github.com/distribution/distribution/v3/cmd/registry";
        build(source, package, &out.join("registry"), &["-ldflags", "-s -w"])
    })?;
    Ok(folder.join("registry"))
}

fn gateway_api() -> Result<PathBuf> {
    crds("gateway-api", &format!("sigs.k8s.io/gateway-api@{GATEWAY_API}"), "config/crd/standard", "gateway")
}

/// The folder with cert-manager's CRDs. Its controllers are in another Go module, which cannot be downloaded
/// everywhere.
pub(super) fn cert_manager() -> Result<PathBuf> {
    let module = format!("github.com/cert-manager/cert-manager@{CERT_MANAGER}");
    crds("cert-manager", &module, "deploy/crds", "cert-manager.io")
}

/// The folder with the CRDs of the Prometheus operator.
pub(super) fn prometheus_operator() -> Result<PathBuf> {
    let module = format!("github.com/prometheus-operator/prometheus-operator@{PROMETHEUS_OPERATOR}");
    crds("prometheus-operator", &module, "example/prometheus-operator-crd", "monitoring.coreos.com_p")
}

/// The CRDs in a folder of a Go module: the files whose names have this prefix.
fn crds(name: &str, module: &str, folder: &str, prefix: &str) -> Result<PathBuf> {
    let version = module.rsplit('@').next().unwrap_or_default();
    cache::folder(&format!("cluster-{name}-{version}"), |out| {
        let json = process::stdout(go(out)?.args(["mod", "download", "-json", module]))?;
        let json: serde_json::Value = serde_json::from_str(&json).context("reading go mod download")?;
        let dir = json.get("Dir").and_then(|dir| dir.as_str()).context("go mod download names no Dir")?;
        for entry in fs::read_dir(Path::new(dir).join(folder))? {
            let file = entry?.path();
            match file.file_name() {
                Some(name) if name.to_string_lossy().starts_with(prefix) => fs::copy(&file, out.join(name))?,
                _ => continue,
            };
        }
        Ok(())
    })
}

/// The cache folder for the present content of a module in tests/cluster. `compile` gets a copy of the module, because
/// Go may change go.mod, and the folder for the programs.
fn module(name: &str, more: &[&str], compile: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
    let dir = project::root().join("tests/cluster").join(name);
    let files: Vec<PathBuf> = ["go.mod", "go.sum"].iter().chain(more).map(|file| dir.join(file)).collect();
    let key = cache::key(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    cache::folder(&format!("cluster-{name}-{key}"), |out| {
        let source = out.join("source");
        fs::create_dir(&source)?;
        for file in &files {
            fs::copy(file, source.join(file.file_name().unwrap_or_default()))?;
        }
        compile(&source, out)?;
        Ok(fs::remove_dir_all(source)?)
    })
}

fn build(source: &Path, package: &str, out: &Path, flags: &[&str]) -> Result<()> {
    let mut build = go(source)?;
    process::run(build.args(["build", "-mod=mod", "-trimpath"]).args(flags).arg("-o").arg(out).arg(package))
}

fn go(dir: &Path) -> Result<Command> {
    let mut go = process::go()?;
    go.env("CGO_ENABLED", "0").current_dir(dir);
    Ok(go)
}
