//! Server-side apply: what would change, changing it, and removing what is no longer wanted.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::Value;
use tokio::task::JoinSet;

use super::ownership::applied_by_us;
use super::refusal::refused;
use super::{Cluster, Discovery, FIELD_MANAGER, failed};
use crate::error::Error;
use crate::resources::{KINDS, Names, Object};

/// What applying an object does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is not there yet.
    Created,
    /// It is there, and other.
    Configured,
    /// It is as it should be.
    Unchanged,
}

/// What would be applied.
#[derive(Debug)]
pub struct Plan {
    /// Each object, in the order in which they are made.
    pub objects: Vec<Planned>,
}

/// An object that would be applied.
#[derive(Debug)]
pub struct Planned {
    /// As it is wanted.
    pub object: Object,
    /// As it is in the cluster.
    pub live: Option<Value>,
    /// As it would be then. `None` where its namespace is not there yet.
    pub then: Option<Value>,
    /// What that does.
    pub change: Change,
}

impl Plan {
    /// Lets the API server try all of it without doing it.
    ///
    /// # Errors
    /// All that the API server would refuse, at once.
    pub async fn of(
        cluster: &Cluster,
        discovery: &Discovery,
        objects: Vec<Object>,
        force: bool,
    ) -> Result<Self, Error> {
        let made: BTreeSet<String> =
            objects.iter().filter(|it| it.kind == "Namespace").map(|it| it.name.clone()).collect();
        let mut tries = JoinSet::new();
        for (position, object) in objects.into_iter().enumerate() {
            let (cluster, discovery, made) = (cluster.clone(), discovery.clone(), made.clone());
            tries.spawn(async move { (position, attempt(&cluster, &discovery, &made, object, force).await) });
        }
        let mut done: Vec<(usize, Result<Planned, Error>)> = tries.join_all().await;
        done.sort_by_key(|(position, _)| *position);
        let (mut planned, mut refused) = (Vec::new(), Vec::new());
        for (_, outcome) in done {
            match outcome {
                Ok(it) => planned.push(it),
                Err(error) => refused.push(error),
            }
        }
        match refused.len() {
            0 => Ok(Plan { objects: planned }),
            1 => Err(refused.swap_remove(0)),
            _ => Err(Error::all(refused)),
        }
    }

    /// Does it. What is as it should be is not touched.
    ///
    /// # Errors
    /// What the API server refuses. Where it does so before anything but the namespace is made, nothing else was.
    pub async fn apply(
        &self,
        cluster: &Cluster,
        discovery: &Discovery,
        force: bool,
        mut told: impl FnMut(&Planned),
    ) -> Result<(), Error> {
        let (namespaces, others): (Vec<_>, Vec<_>) =
            self.objects.iter().partition(|it| it.object.kind == "Namespace");
        for planned in namespaces {
            planned.apply(cluster, discovery, force).await?;
            told(planned);
        }
        if others.iter().any(|it| it.then.is_none()) {
            // What could be tried in another namespace only has one now, where other rules may hold.
            let objects = others.iter().map(|it| it.object.clone()).collect();
            let tried = Plan::of(cluster, discovery, objects, force).await;
            tried.map_err(|e| e.and("nothing has been made but namespaces"))?;
        }
        for (done, planned) in others.iter().enumerate() {
            let goes_on = || {
                format!(
                    "{done} of {} objects are in the cluster as they should be; the next `otlp-gate apply` goes on from there",
                    others.len()
                )
            };
            planned.apply(cluster, discovery, force).await.map_err(|e| e.and(goes_on()))?;
            told(planned);
        }
        Ok(())
    }

    /// How many objects it changes.
    pub fn changes(&self) -> usize {
        self.objects.iter().filter(|it| it.change != Change::Unchanged).count()
    }
}

impl Planned {
    async fn apply(&self, cluster: &Cluster, discovery: &Discovery, force: bool) -> Result<(), Error> {
        if self.change == Change::Unchanged {
            return Ok(());
        }
        let object = &self.object;
        let api = api(cluster, discovery, object)?;
        let done = api.patch(&object.name, &params(force), &Patch::Apply(&object.value)).await;
        done.map(drop).map_err(|e| refused(object, &e))
    }
}

/// What pruning did, or would do.
#[derive(Debug, Default)]
pub struct Pruned {
    /// What was removed.
    pub removed: Vec<String>,
    /// What has the gate's labels and was not applied by otlp-gate, so that it is somebody else's to remove.
    pub left: Vec<String>,
}

/// Removes the gate's objects that are not among these; where `dry`, only says which.
pub async fn prune(cluster: &Cluster, names: &Names, wanted: &[Object], dry: bool) -> Result<Pruned, Error> {
    let keep: BTreeSet<(&str, Option<&str>, &str)> =
        wanted.iter().map(|it| (it.kind.as_str(), it.namespace.as_deref(), it.name.as_str())).collect();
    let discovery = Discovery::of(cluster, KINDS.iter().map(|(version, _)| *version)).await?;
    let mut pruned = Pruned::default();
    // What was made last goes first, so that nothing is let in where half of the gate is gone.
    for (version, kind) in KINDS.iter().rev() {
        for object in gates(cluster, &discovery, names, version, kind).await? {
            let (name, namespace) = (object.name_any(), object.namespace());
            if keep.contains(&(*kind, namespace.as_deref(), &name)) {
                continue;
            }
            let title = title(kind, namespace.as_deref(), &name);
            if !applied_by_us(&object) {
                pruned.left.push(title);
                continue;
            }
            if !dry {
                let Some(api) = discovery.api(cluster, version, kind, namespace.as_deref()) else { continue };
                match api.delete(&name, &DeleteParams::background()).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() => continue,
                    done => done.map_err(|e| failed(format_args!("cannot delete {title}"), &e))?,
                };
            }
            pruned.removed.push(title);
        }
    }
    Ok(pruned)
}

/// The gate's objects of one kind, wherever they are; where that may not be asked, those in its own namespace.
async fn gates(
    cluster: &Cluster,
    discovery: &Discovery,
    names: &Names,
    version: &str,
    kind: &str,
) -> Result<Vec<DynamicObject>, Error> {
    let mine = ListParams::default().labels(&names.selector());
    let listed = discovery.list(cluster, (version, kind), &names.namespace, &mine).await;
    let mut items = listed.map_err(|e| failed(format_args!("cannot list every {kind}"), &e))?;
    // What a controller made from one of ours may have its labels, and goes when that goes.
    items.retain(|object| object.owner_references().is_empty());
    Ok(items)
}

async fn attempt(
    cluster: &Cluster,
    discovery: &Discovery,
    made: &BTreeSet<String>,
    object: Object,
    force: bool,
) -> Result<Planned, Error> {
    let api = api(cluster, discovery, &object)?;
    let live = api.get_opt(&object.name).await.map_err(|e| refused(&object, &e))?;
    let params = params(force).dry_run();
    match api.patch(&object.name, &params, &Patch::Apply(&object.value)).await {
        Ok(then) => {
            let (live, then) = (live.as_ref().map(compared).transpose()?, compared(&then)?);
            let change = match &live {
                None => Change::Created,
                Some(live) if *live == then => Change::Unchanged,
                Some(_) => Change::Configured,
            };
            Ok(Planned { object, live, then: Some(then), change })
        }
        // The namespace comes first when it is done; what can be tried elsewhere is.
        Err(kube::Error::Api(status))
            if status.is_not_found() && object.namespace.as_ref().is_some_and(|it| made.contains(it)) =>
        {
            elsewhere(cluster, discovery, &object).await?;
            Ok(Planned { object, live: None, then: None, change: Change::Created })
        }
        Err(error) => Err(refused(&object, &error)),
    }
}

/// Whether the API server takes an object of this form, tried under another name in a namespace that is there.
async fn elsewhere(cluster: &Cluster, discovery: &Discovery, object: &Object) -> Result<(), Error> {
    let mut trial = object.clone();
    trial.name = format!("{}-dry-run", trial.name);
    trial.namespace = Some("default".to_owned());
    if let Some(metadata) = trial.value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".to_owned(), trial.name.clone().into());
        metadata.insert("namespace".to_owned(), "default".into());
    }
    let api = api(cluster, discovery, &trial)?;
    match api.patch(&trial.name, &params(false).dry_run(), &Patch::Apply(&trial.value)).await {
        // Who may make a namespace may not be let into this one; the real attempt will tell.
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(()),
        done => done.map(drop).map_err(|e| refused(object, &e)),
    }
}

fn params(force: bool) -> PatchParams {
    let params = PatchParams::apply(FIELD_MANAGER).validation_strict();
    if force { params.force() } else { params }
}

fn api(cluster: &Cluster, discovery: &Discovery, object: &Object) -> Result<Api<DynamicObject>, Error> {
    discovery.api(cluster, object.api_version(), &object.kind, object.namespace.as_deref()).ok_or_else(|| {
        Error::failed(format_args!("the cluster has no {} of {}", object.kind, object.api_version()))
    })
}

/// What of an object is compared: not who wrote it, nor how often.
fn compared(object: &DynamicObject) -> Result<Value, Error> {
    let mut value = serde_json::to_value(object)
        .map_err(|e| Error::failed(format_args!("cannot read {}: {e}", object.name_any())))?;
    if let Some(all) = value.as_object_mut() {
        all.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"] {
            metadata.remove(key);
        }
    }
    Ok(value)
}

/// How an object is called: kind, and name with its namespace.
pub(super) fn title(kind: &str, namespace: Option<&str>, name: &str) -> String {
    let kind = kind.to_lowercase();
    namespace.map_or_else(|| format!("{kind}/{name}"), |namespace| format!("{kind}/{name} in {namespace}"))
}
