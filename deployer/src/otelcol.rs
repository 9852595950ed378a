//! The Collector's own check of a configuration, before it is applied.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tempfile::{NamedTempFile, tempfile};
use tokio::time::Instant;

use crate::error::Error;
use crate::model::Object;
use crate::output;

/// The key of ConfigMaps with a Collector's configuration.
const KEY: &str = "config.yaml";
/// How long one check may take. It takes less than a second; a runtime may have to pull the image.
const TIMEOUT: Duration = Duration::from_secs(180);
/// The most that is shown of what the Collector writes, in bytes.
const SHOWN: u64 = 4096;
/// The value of variables that only exist in the cluster.
const PLACEHOLDER: &str = "placeholder";

/// The names of Collectors that `doctor` looks for, in this order.
const DISTRIBUTIONS: [&str; 3] = ["otelcol-contrib", "otelcol-k8s", "otelcol"];

/// What runs a Collector's `validate`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Validator<'a> {
    /// A Collector on this machine.
    Program(&'a Path),
    /// A container runtime such as docker, with the Collector's own image.
    Runtime(&'a Path),
}

impl Validator<'_> {
    fn program(&self) -> &Path {
        match self {
            Validator::Program(program) | Validator::Runtime(program) => program,
        }
    }
}

/// A Collector in a folder of `path`, the value of PATH.
pub(crate) fn on_path(path: &OsStr) -> Option<PathBuf> {
    let in_folder = |name: &str| std::env::split_paths(path).map(|it| it.join(name)).find(|it| it.is_file());
    DISTRIBUTIONS.into_iter().find_map(in_folder)
}

/// The ConfigMaps with a Collector's configuration, and the configurations.
pub(crate) fn configurations(objects: &[Object]) -> impl Iterator<Item = (&Object, &str)> {
    let maps = objects.iter().filter(|object| object.kind == "ConfigMap");
    maps.filter_map(|it| Some((it, it.value.pointer(&format!("/data/{KEY}"))?.as_str()?)))
}

/// Runs `validate` of this Collector for the configuration of each Collector among these objects.
///
/// # Errors
/// The program cannot be run, or rejects a configuration.
pub(crate) fn validate(validator: Validator<'_>, objects: &[Object]) -> Result<(), Error> {
    for (object, text) in configurations(objects) {
        let container = objects.iter().find_map(|it| container(it, &object.name));
        if let Err(said) = run(validator, text, container)? {
            let said = said.trim().trim_start_matches("Error: ");
            let key = if object.name.ends_with("-node") { "nodeLocal" } else { "backend.collector" };
            return Err(Error::failed(format_args!(
                "the Collector rejects the configuration in {}: {said}",
                object.title()
            ))
            .hint(format_args!("correct `{key}`; `otlp-gate render` prints the whole configuration")));
        }
        let program = validator.program().display();
        output::say(format_args!("{program} accepts the configuration in {}", object.title()));
    }
    Ok(())
}

/// The container that reads this ConfigMap.
fn container<'a>(workload: &'a Object, config_map: &str) -> Option<&'a Value> {
    let pod = workload.value.pointer("/spec/template/spec")?;
    let volumes = pod.get("volumes")?.as_array()?;
    let reads =
        |volume: &Value| volume.pointer("/configMap/name").and_then(Value::as_str) == Some(config_map);
    volumes.iter().any(reads).then(|| pod.pointer("/containers/0")).flatten()
}

/// Whether the Collector accepts a configuration, else what it says.
fn run(validator: Validator<'_>, text: &str, container: Option<&Value>) -> Result<Result<(), String>, Error> {
    let program = validator.program();
    let cannot = |e: std::io::Error| {
        Error::failed(format_args!("cannot run {}: {e}", program.display())).hint(
            "name a Collector with the components of the configuration, or leave out `--otelcol` and \
             `--otelcol-runtime`",
        )
    };
    let mut file = NamedTempFile::new().map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)?;
    let mut said = tempfile().map_err(cannot)?;
    let mut command = Command::new(program);
    let variables = variables(container);
    match validator {
        Validator::Program(_) => {
            command.arg("validate").arg(format!("--config={}", file.path().display())).envs(variables);
            command.stdin(Stdio::null());
        }
        Validator::Runtime(_) => {
            // Standard input reaches a runtime on another machine too.
            command.args(["run", "--rm", "--interactive", "--network=none"]);
            command.args(variables.iter().map(|(name, value)| format!("--env={name}={value}")));
            command.arg(image(container)).args(["validate", "--config=file:/dev/stdin"]);
            command.stdin(File::open(file.path()).map_err(cannot)?);
        }
    }
    command.args(more_arguments(container));
    command.stdout(Stdio::null()).stderr(said.try_clone().map_err(cannot)?);
    let mut child = command.spawn().map_err(cannot)?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(cannot)? {
            break Some(status);
        }
        if started.elapsed() > TIMEOUT {
            child.kill().and_then(|()| child.wait()).map_err(cannot)?;
            break None;
        }
        sleep(Duration::from_millis(20));
    };
    match status {
        Some(status) if status.success() => Ok(Ok(())),
        Some(_) => {
            said.seek(SeekFrom::Start(0)).map_err(cannot)?;
            let mut bytes = Vec::new();
            said.take(SHOWN).read_to_end(&mut bytes).map_err(cannot)?;
            Ok(Err(String::from_utf8_lossy(&bytes).into_owned()))
        }
        None => Ok(Err(format!("no answer within {} s", TIMEOUT.as_secs()))),
    }
}

/// The image of the container.
fn image(container: Option<&Value>) -> &str {
    container.and_then(|it| it.get("image")).and_then(Value::as_str).unwrap_or_default()
}

/// The arguments of the container besides its configuration, such as feature gates.
fn more_arguments(container: Option<&Value>) -> impl Iterator<Item = &str> {
    let all = container.and_then(|it| it.get("args")).and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).filter(|argument| !argument.starts_with("--config"))
}

/// The container's variables that are not set here. Those from Secrets and from the pod get a placeholder.
fn variables(container: Option<&Value>) -> BTreeMap<String, String> {
    let all = container.and_then(|it| it.get("env")).and_then(Value::as_array).into_iter().flatten();
    let named = all.filter_map(|it| {
        let value = it.get("value").and_then(Value::as_str).unwrap_or(PLACEHOLDER);
        Some((it.get("name")?.as_str()?.to_owned(), value.to_owned()))
    });
    named.filter(|(name, _)| std::env::var_os(name).is_none()).collect()
}
