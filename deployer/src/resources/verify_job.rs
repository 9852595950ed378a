//! The CronJob that runs `otlp-gate verify`. It has no right in the cluster: what it needs is mounted.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec, JobTemplateSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapProjection, Container, KeyToPath, PodSpec, PodTemplateSpec, ProjectedVolumeSource,
    SecretProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::restricted;
use crate::config::{Config, ServerCa, VerifyJob};
use crate::error::Error;
use crate::model::mesh::{self, DataPlaneMode};
use crate::model::{Installation, Object, yaml};

/// The folder with the config and the certificates in the pod.
const FOLDER: &str = "/etc/otlp-gate";
const CONFIG: &str = "otlp-gate.yaml";
const SERVER_CA: &str = "certs/server-ca.crt";
/// The test clients' certificates, as `certs init` names them.
const TEST_CLIENTS: [&str; 4] = ["client", "stranger", "expired", "revoked"];

/// The name of the CronJob, and of the ConfigMap and Secret that it mounts. Alarms select it by the beginning.
pub(crate) fn name(config: &Config) -> String {
    format!("otlp-gate-verify-{}", config.gateway.name)
}

/// The keys of the Secret with certificates that the user creates; none if cert-manager issues all of them.
pub(crate) fn secret_keys(config: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    if !config.issues_client_certificates() {
        keys.extend(TEST_CLIENTS.iter().flat_map(|it| [format!("{it}.crt"), format!("{it}.key")]));
    }
    if config.certificates.cert_manager.is_none() && config.certificates.server_ca == ServerCa::Private {
        keys.push("server-ca.crt".to_owned());
    }
    keys
}

/// The command that creates this Secret from the folder `certs`.
pub(crate) fn secret_command(config: &Config, certs: &str) -> String {
    let files = secret_keys(config).into_iter().map(|key| match key.as_str() {
        "server-ca.crt" => format!(" --from-file={certs}/{key}"),
        _ => format!(" --from-file={certs}/verify/{key}"),
    });
    format!(
        "kubectl create secret generic {} -n {}{}",
        name(config),
        config.gateway.namespace,
        files.collect::<String>()
    )
}

/// The CronJob and its config.
pub(super) fn objects(installation: &Installation<'_>, job: &VerifyJob) -> Result<[Object; 2], Error> {
    let config = installation.config;
    let metadata = installation.names.metadata(&name(config));
    let data = Some([(CONFIG.to_owned(), yaml(config)?)].into());
    Ok([
        Object::builtin(&ConfigMap { metadata: metadata.clone(), data, ..ConfigMap::default() })?,
        Object::builtin(&cron_job(config, job, metadata))?,
    ])
}

fn cron_job(config: &Config, job: &VerifyJob, metadata: ObjectMeta) -> CronJob {
    let mut labels = metadata.labels.clone().unwrap_or_default();
    // A sidecar would keep the Job from ending.
    labels.extend(mesh::labels(DataPlaneMode::None));
    CronJob {
        metadata,
        spec: Some(CronJobSpec {
            schedule: job.schedule.clone(),
            concurrency_policy: Some("Forbid".to_owned()),
            successful_jobs_history_limit: Some(1),
            failed_jobs_history_limit: Some(3),
            job_template: JobTemplateSpec {
                metadata: None,
                spec: Some(JobSpec {
                    // A second try would hide that the first one failed.
                    backoff_limit: Some(0),
                    active_deadline_seconds: Some(300),
                    template: PodTemplateSpec {
                        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                        spec: Some(pod(config, job)),
                    },
                    ..JobSpec::default()
                }),
            },
            ..CronJobSpec::default()
        }),
        ..CronJob::default()
    }
}

fn pod(config: &Config, job: &VerifyJob) -> PodSpec {
    let mut args = vec![
        "verify".to_owned(),
        "--no-cluster".to_owned(),
        format!("--file={FOLDER}/{CONFIG}"),
        format!("--certs={FOLDER}/certs"),
    ];
    if config.certificates.server_ca == ServerCa::Private {
        args.push(format!("--ca={FOLDER}/{SERVER_CA}"));
    }
    args.extend(job.address.iter().map(|it| format!("--address={it}")));
    PodSpec {
        automount_service_account_token: Some(false),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(restricted::pod()),
        containers: vec![Container {
            name: "verify".to_owned(),
            image: Some(job.image.clone()),
            args: Some(args),
            security_context: Some(restricted::container()),
            volume_mounts: Some(vec![VolumeMount {
                name: "config".to_owned(),
                mount_path: FOLDER.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            }]),
            ..Container::default()
        }],
        volumes: Some(vec![Volume {
            name: "config".to_owned(),
            projected: Some(ProjectedVolumeSource { sources: Some(sources(config)), default_mode: None }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

/// The config, the CA of the server's certificate, and the test clients' certificates. Of a Secret that has more, only
/// these keys are mounted.
fn sources(config: &Config) -> Vec<VolumeProjection> {
    let item =
        |(key, path): (&str, &str)| KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None };
    let secret = |name: String, items: Vec<KeyToPath>| VolumeProjection {
        secret: Some(SecretProjection { name, items: Some(items), optional: None }),
        ..VolumeProjection::default()
    };
    let names = crate::model::Names::of(&config.gateway);
    let config_map = ConfigMapProjection {
        name: name(config),
        items: Some(vec![item((CONFIG, CONFIG))]),
        ..ConfigMapProjection::default()
    };
    let mut sources = vec![VolumeProjection { config_map: Some(config_map), ..VolumeProjection::default() }];
    if config.issues_client_certificates() {
        let items = [("tls.crt", "certs/verify/client.crt"), ("tls.key", "certs/verify/client.key")];
        sources.push(secret(names.client_trust(), items.map(item).into()));
    }
    if config.certificates.cert_manager.is_some() && config.certificates.server_ca == ServerCa::Private {
        sources.push(secret(names.server(), vec![item(("ca.crt", SERVER_CA))]));
    }
    let keys = secret_keys(config);
    if !keys.is_empty() {
        let path = |key: &String| match key.as_str() {
            "server-ca.crt" => SERVER_CA.to_owned(),
            _ => format!("certs/verify/{key}"),
        };
        sources.push(secret(name(config), keys.iter().map(|key| item((key, &path(key)))).collect()));
    }
    sources
}
