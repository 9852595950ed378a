//! Server-side apply: a dry run of every object first, then the changes.

use std::collections::BTreeSet;
use std::path::Path;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::Value;
use tokio::task::JoinSet;

use super::api_error::{api_error, if_allowed, namespace_terminating, rejected};
use super::client::Cluster;
use super::discovery::Discovery;
use super::managers::FIELD_MANAGER;
use crate::certs::InternalCertificate;
use crate::error::Error;
use crate::model::{Installation, Object};
use crate::render::internal_secrets;

/// What applying an object changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The object does not exist yet.
    Created,
    /// The object exists and differs.
    Configured,
    /// The object exists and does not differ.
    Unchanged,
}

impl Change {
    /// kubectl's word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Change::Created => "created",
            Change::Configured => "configured",
            Change::Unchanged => "unchanged",
        }
    }
}

/// The objects to apply, as a dry run found them.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The objects, in the order of creation.
    pub(crate) objects: Vec<Planned>,
    /// The kinds that the API server serves.
    pub(crate) discovery: Discovery,
    /// Whether to take over fields of other field managers.
    force: bool,
}

/// An object to apply.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The desired object.
    pub(crate) desired: Object,
    /// The object in the cluster, without fields that only the API server sets.
    pub(crate) live: Option<Value>,
    /// The object as it will be. `None` if its namespace does not exist yet.
    pub(crate) result: Option<Value>,
    /// What applying it changes.
    pub(crate) change: Change,
}

impl Plan {
    /// Checks what the objects need in the cluster, and lets the API server try all of them in a dry run. `certificate`
    /// is the file from which the server's certificate would have been read. With `force`, fields of other field
    /// managers are taken over.
    ///
    /// # Errors
    /// The cluster has not all kinds, the server's certificate is neither in the folder nor in the cluster, a namespace
    /// is being deleted, or the API server rejects objects. All rejected objects are reported at once.
    pub(crate) async fn dry_run(
        cluster: &Cluster,
        installation: &Installation<'_>,
        mut objects: Vec<Object>,
        certificate: &Path,
        force: bool,
    ) -> Result<Self, Error> {
        let discovery = Discovery::of_objects(cluster, &objects).await?;
        discovery.require(&objects)?;
        require_certificate(cluster, installation, certificate).await?;
        require_internal_certificates(cluster, installation, certificate).await?;
        leave_foreign_namespaces(cluster, &mut objects).await?;
        Plan::of(cluster, discovery, objects, force).await
    }

    async fn of(
        cluster: &Cluster,
        discovery: Discovery,
        objects: Vec<Object>,
        force: bool,
    ) -> Result<Self, Error> {
        let namespaces: BTreeSet<String> =
            objects.iter().filter(|it| it.kind == "Namespace").map(|it| it.name.clone()).collect();
        let mut tries = JoinSet::new();
        for (position, object) in objects.into_iter().enumerate() {
            let (cluster, discovery, namespaces) = (cluster.clone(), discovery.clone(), namespaces.clone());
            tries.spawn(async move {
                (position, try_object(&cluster, &discovery, &namespaces, object, force).await)
            });
        }
        let mut outcomes: Vec<(usize, Result<Planned, Error>)> = tries.join_all().await;
        outcomes.sort_by_key(|(position, _)| *position);
        let (mut planned, mut errors) = (Vec::new(), Vec::new());
        for (_, outcome) in outcomes {
            match outcome {
                Ok(it) => planned.push(it),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => Ok(Plan { objects: planned, discovery, force }),
            1 => Err(errors.swap_remove(0)),
            _ => Err(Error::all(errors)),
        }
    }

    /// Applies the objects that change, and calls `report` after each object.
    ///
    /// # Errors
    /// The API server rejects an object. If a dry run can find that out once the namespaces exist, nothing else has
    /// been created by then.
    pub(crate) async fn apply(
        &self,
        cluster: &Cluster,
        mut report: impl FnMut(&Planned),
    ) -> Result<(), Error> {
        let (namespaces, others): (Vec<_>, Vec<_>) =
            self.objects.iter().partition(|it| it.desired.kind == "Namespace");
        for planned in namespaces {
            self.apply_one(cluster, planned).await?;
            report(planned);
        }
        if others.iter().any(|it| it.result.is_none()) {
            // These objects were tried in another namespace only, where other policies may apply. Now theirs exists.
            let objects = others.iter().map(|it| it.desired.clone()).collect();
            let tried = Plan::of(cluster, self.discovery.clone(), objects, self.force).await;
            tried.map_err(|e| e.and("only namespaces have been created"))?;
        }
        for (done, planned) in others.iter().enumerate() {
            let progress = || {
                format!(
                    "{done} of {} objects are up to date; the next `otlp-gate apply` continues from there",
                    others.len()
                )
            };
            self.apply_one(cluster, planned).await.map_err(|e| e.and(progress()))?;
            report(planned);
        }
        Ok(())
    }

    async fn apply_one(&self, cluster: &Cluster, planned: &Planned) -> Result<(), Error> {
        if planned.change == Change::Unchanged {
            return Ok(());
        }
        let object = &planned.desired;
        let api = self.discovery.api_of(cluster, object)?;
        let applied = api.patch(&object.name, &params(self.force), &Patch::Apply(&object.value)).await;
        applied.map(drop).map_err(|e| rejected(object, &e))
    }

    /// How many objects change.
    pub(crate) fn changes(&self) -> usize {
        self.objects.iter().filter(|it| it.change != Change::Unchanged).count()
    }

    /// The desired objects, in the order of creation.
    pub(crate) fn desired(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().map(|it| &it.desired)
    }
}

/// Removes namespaces from the plan that exist and that otlp-gate does not manage. They stay unchanged.
async fn leave_foreign_namespaces(cluster: &Cluster, objects: &mut Vec<Object>) -> Result<(), Error> {
    let api = Api::<Namespace>::all(cluster.client.clone());
    let names = objects.iter().filter(|it| it.kind == "Namespace").map(|it| it.name.clone());
    for name in names.collect::<Vec<_>>() {
        let found = if_allowed(api.get_opt(&name).await);
        let found = found.map_err(|e| api_error(format_args!("cannot read namespace {name}"), &e))?;
        // A user whose rights end at the namespace cannot read it, and it exists.
        let keep = match found {
            None => false,
            Some(None) => true,
            Some(Some(it)) if it.metadata.deletion_timestamp.is_some() => {
                return Err(namespace_terminating(&name));
            }
            Some(Some(it)) => {
                it.labels().get("app.kubernetes.io/managed-by").is_some_and(|by| by == "otlp-gate")
            }
        };
        objects.retain(|it| keep || it.kind != "Namespace" || it.name != name);
    }
    Ok(())
}

/// Fails if the server's certificate is neither among the objects nor in the cluster.
async fn require_certificate(
    cluster: &Cluster,
    installation: &Installation<'_>,
    file: &Path,
) -> Result<(), Error> {
    if !installation.expects_server_certificate() {
        return Ok(());
    }
    let (name, namespace) = (installation.names.server(), &installation.names.namespace);
    if has_secret(cluster, &name, namespace).await? {
        return Ok(());
    }
    Err(Error::failed(format_args!(
        "there is no server certificate: neither {} nor secret/{name} in {namespace} exists",
        file.display()
    ))
    .hint("run `otlp-gate certs init` to create one, or name its folder with `--certs DIR`"))
}

/// Fails if an internal certificate is neither among the objects nor in the cluster. `file` is the server's certificate,
/// in the folder in which the internal ones would be.
async fn require_internal_certificates(
    cluster: &Cluster,
    installation: &Installation<'_>,
    file: &Path,
) -> Result<(), Error> {
    if !installation.expects_internal_certificates() {
        return Ok(());
    }
    for secret in internal_secrets(installation) {
        let (name, namespace) = (secret.name(), secret.namespace());
        if has_secret(cluster, name, namespace).await? {
            continue;
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        let message = format!(
            "there are no certificates for the connection to the {}: neither {} nor secret/{name} in {namespace} exists",
            secret.server.server_title(),
            folder.join("internal-ca.crt").display()
        );
        let without = match secret.server {
            InternalCertificate::Quotas => "name an engine that exists in `quotas.engine.address`",
            _ => "set `backend.collector.tls: off`",
        };
        return Err(Error::failed(message).hint(format_args!(
            "run `otlp-gate certs init`, which leaves existing certificates as they are, or {without}"
        )));
    }
    Ok(())
}

async fn has_secret(cluster: &Cluster, name: &str, namespace: &str) -> Result<bool, Error> {
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), namespace);
    let found = secrets.get_metadata_opt(name).await;
    let found = found.map_err(|e| api_error(format_args!("cannot read secret/{name} in {namespace}"), &e))?;
    Ok(found.is_some())
}

async fn try_object(
    cluster: &Cluster,
    discovery: &Discovery,
    new_namespaces: &BTreeSet<String>,
    desired: Object,
    force: bool,
) -> Result<Planned, Error> {
    let api = discovery.api_of(cluster, &desired)?;
    let live = api.get_opt(&desired.name).await.map_err(|e| rejected(&desired, &e))?;
    match api.patch(&desired.name, &params(force).dry_run(), &Patch::Apply(&desired.value)).await {
        Ok(result) => {
            let (live, result) = (live.as_ref().map(comparable).transpose()?, comparable(&result)?);
            let change = match &live {
                None => Change::Created,
                Some(live) if *live == result => Change::Unchanged,
                Some(_) => Change::Configured,
            };
            Ok(Planned { desired, live, result: Some(result), change })
        }
        // The namespace will be created first. Until then the object can be tried in another one.
        Err(kube::Error::Api(status))
            if status.is_not_found()
                && desired.namespace.as_ref().is_some_and(|it| new_namespaces.contains(it)) =>
        {
            try_in_default_namespace(cluster, discovery, &desired).await?;
            Ok(Planned { desired, live: None, result: None, change: Change::Created })
        }
        Err(error) => Err(rejected(&desired, &error)),
    }
}

/// Tries an object under another name in the namespace `default`, to find out whether the API server accepts its form.
async fn try_in_default_namespace(
    cluster: &Cluster,
    discovery: &Discovery,
    object: &Object,
) -> Result<(), Error> {
    let mut trial = object.clone();
    trial.name = format!("{}-dry-run", trial.name);
    trial.namespace = Some("default".to_owned());
    if let Some(metadata) = trial.value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".to_owned(), trial.name.clone().into());
        metadata.insert("namespace".to_owned(), "default".into());
    }
    let api = discovery.api_of(cluster, &trial)?;
    let tried = api.patch(&trial.name, &params(false).dry_run(), &Patch::Apply(&trial.value)).await;
    // A user may have rights in the new namespace but not in this one. The dry run in the new namespace follows.
    if_allowed(tried).map(drop).map_err(|e| rejected(object, &e))
}

fn params(force: bool) -> PatchParams {
    let params = PatchParams::apply(FIELD_MANAGER).validation_strict();
    if force { params.force() } else { params }
}

/// An object without the fields that only the API server and controllers set.
fn comparable(object: &DynamicObject) -> Result<Value, Error> {
    let mut value = serde_json::to_value(object)
        .map_err(|e| Error::failed(format_args!("cannot read {}: {e}", object.name_any())))?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"] {
            metadata.remove(key);
        }
    }
    Ok(value)
}
