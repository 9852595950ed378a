//! `check`: reports errors and warnings of the config, and a summary of its limits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use otlp_gate_core::config::{Scope, TierConfig, Unknown};
use otlp_gate_core::quota::Dimension;
use serde::Serialize;
use time::OffsetDateTime;

use crate::certs::{Ca, Folder, Role, certificates};
use crate::config::{Config, Finding, Loaded, Report, Severity, Source};
use crate::error::Error;
use crate::global::Global;
use crate::model::Names;
use crate::output::{self, Format};
use crate::quantity::quantity;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate check                            check otlp-gate.yaml
  otlp-gate -f gate.yaml check -o json       for editors and CI: one JSON object on one line
  otlp-gate check --certs /etc/otlp-gate     check the certificates in another folder
  otlp-gate init --stdout | otlp-gate -f - check")]
pub(crate) struct Args {
    /// The folder with the certificates; if it exists, they are checked as well
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
}

/// Checks the config.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let source = Source::read(&global.file)?;
    match source.load() {
        Ok(loaded) => accept(&source, loaded, &args.certs, global.output),
        Err(report) => reject(report, global.output),
    }
}

/// The output of `-o json`.
#[derive(Serialize)]
struct Outcome<'a> {
    ok: bool,
    problems: &'a Report,
    /// Certificates in the folder that Envoy does not accept, or that are weak.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<Weakness>,
}

/// A problem of a certificate's key or signature.
#[derive(Serialize)]
struct Weakness {
    file: String,
    message: String,
}

/// The weaknesses of all certificates in the folder that can be read; none if the gate uses none of them.
fn weaknesses(config: &Config, folder: &Folder) -> Vec<Weakness> {
    if !uses(config) {
        return Vec::new();
    }
    let mut weaknesses = Vec::new();
    for files in folder.all().unwrap_or_default() {
        let text = fs::read_to_string(&files.certificate);
        let (Ok(text), Some(shown_by)) = (text, folder.presented_by(&files)) else { continue };
        let all = certificates(&files.certificate, text).unwrap_or_default();
        let messages = all.iter().flat_map(|certificate| certificate.weaknesses(shown_by));
        let file = files.certificate.display().to_string();
        weaknesses.extend(messages.map(|message| Weakness { file: file.clone(), message }));
    }
    weaknesses
}

fn accept(source: &Source, mut loaded: Loaded, certs: &Path, format: Format) -> Result<(), Error> {
    let folder = Folder::at(certs);
    let certificates = weaknesses(&loaded.config, &folder);
    if format == Format::Table && !loaded.warnings.findings.is_empty() {
        output::say(&loaded.warnings);
        output::say("");
    }
    if format == Format::Table {
        for Weakness { file, message } in &certificates {
            output::warn(format_args!("{file}: {message}"));
        }
    }
    for notice in notices(&loaded.config, &folder) {
        if format == Format::Table {
            notice.warn();
        } else {
            loaded.warnings.findings.push(Finding {
                severity: Severity::Warning,
                path: String::new(),
                span: None,
                message: notice.to_string(),
                hint: notice.hint_text().map(str::to_owned),
            });
        }
    }
    output::print(format, &Outcome { ok: true, problems: &loaded.warnings, certificates }, || {
        summary(source, &loaded.config)
    })
}

/// Whether the gate uses certificates of the folder.
fn uses(config: &Config) -> bool {
    config.takes_server_certificate() || (config.takes_client_cas() && config.trusts_folder())
}

/// The notices about the certificates in the folder, if it exists and the gate uses it.
fn notices(config: &Config, folder: &Folder) -> Vec<Error> {
    if !uses(config) || !folder.authority_files(Role::Client).certificate.exists() {
        return Vec::new();
    }
    let mut notices = folder.warnings(config, OffsetDateTime::now_utc());
    if config.takes_server_certificate() && config.uses_internal_certificates() {
        match folder.internal(&Names::of(&config.gateway).internal_servers(config)) {
            Ok(Some(_)) => {}
            Ok(None) => {
                let ca = folder.authority_files(Ca::Internal).certificate;
                let message =
                    format!("there are no certificates for the Collector: {} does not exist", ca.display());
                let hint =
                    "`otlp-gate certs init` creates them, and leaves existing certificates as they are";
                notices.push(Error::failed(message).hint(hint));
            }
            Err(error) => notices.push(error),
        }
    }
    notices
}

fn reject(report: Report, format: Format) -> Result<(), Error> {
    if format == Format::Table {
        return Err(report.into());
    }
    output::print(format, &Outcome { ok: false, problems: &report, certificates: Vec::new() }, String::new)?;
    Err(Error::reported())
}

/// The summary of a valid config.
fn summary(source: &Source, config: &Config) -> String {
    if !config.gateway.enabled {
        let rules = match config.node_local.clients.len() {
            0 => "no pod rules: telemetry is unattributed".to_owned(),
            1 => "1 pod rule".to_owned(),
            number => format!("{number} pod rules"),
        };
        return format!("{} is valid: node-local gateway only, {rules}\n", source.name);
    }
    let rules = match config.clients.len() {
        1 => "1 client rule".to_owned(),
        number => format!("{number} client rules"),
    };
    let others = match &config.unknown {
        Unknown::Reject => "are rejected".to_owned(),
        Unknown::Tier(tier) => format!("are clients of their own in tier `{tier}`"),
    };
    let mut text = format!("{} is valid: {rules}; unknown certificates {others}\n", source.name);
    let rows = limits(config);
    if rows.is_empty() {
        text.push_str("no limits\n");
        return text;
    }
    let replicas = config.gateway.replicas;
    let all = match replicas.get() {
        1 => "1 REPLICA".to_owned(),
        number => format!("{number} REPLICAS"),
    };
    text.push('\n');
    text.push_str(&output::columns(["TIER", "USED BY", "LIMIT", "PER REPLICA", &all, "BURST"], rows));
    text
}

/// One row for each limit of each tier, and of the total.
fn limits(config: &Config) -> Vec<[String; 6]> {
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for client in &config.clients {
        *users.entry(client.quota.as_deref().unwrap_or("default")).or_default() += 1;
    }
    // How many buckets a client has.
    let buckets = match config.quotas.effective_scope() {
        Scope::Replica => config.gateway.replicas.get(),
        Scope::Gateway | Scope::Shared => 1,
    };
    let mut rows = Vec::new();
    for (name, tier) in &config.quotas.tiers {
        let mut used_by = match users.get(name.as_str()) {
            None => "-".to_owned(),
            Some(1) => "1 rule".to_owned(),
            Some(number) => format!("{number} rules"),
        };
        if config.unknown.as_str() == name {
            used_by.push_str(", unknown");
        }
        rows.extend(limits_of(tier, name.clone(), used_by, buckets));
    }
    if let Some(total) = &config.quotas.total {
        let (name, used_by) = ("(total)".to_owned(), "all clients".to_owned());
        rows.extend(limits_of(total, name, used_by, buckets));
    }
    rows
}

/// A tier's rows. The first has its name and its users.
fn limits_of(tier: &TierConfig, mut name: String, mut used_by: String, buckets: u32) -> Vec<[String; 6]> {
    let mut rows = Vec::new();
    for dimension in Dimension::ALL {
        let Some([per_replica, in_all, at_once]) = limit(tier, dimension, buckets) else { continue };
        let (first, second) = (std::mem::take(&mut name), std::mem::take(&mut used_by));
        rows.push([first, second, dimension.key().to_owned(), per_replica, in_all, at_once]);
    }
    rows
}

fn limit(tier: &TierConfig, dimension: Dimension, buckets: u32) -> Option<[String; 3]> {
    let rate = tier.rate(dimension)?;
    let per_second = u128::from(rate.per_second());
    let at_once = per_second * tier.burst.duration().as_millis() / 1000;
    let in_all = quantity(per_second * u128::from(buckets), dimension);
    Some([rate.to_string(), format!("up to {in_all}/s"), quantity(at_once, dimension)])
}
