//! Deletes the gate's objects that are no longer desired.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, DynamicObject, ListParams};

use super::api_error::api_error;
use super::client::Cluster;
use super::discovery::Discovery;
use super::managers::is_ours;
use crate::error::Error;
use crate::model::{Installation, Names, Object, title};
use crate::render::{KINDS, internal_secrets};

/// The result of pruning.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    /// Titles of the objects that were deleted, or in a dry run would be.
    pub(crate) removed: Vec<String>,
    /// Titles of objects that have the gate's labels but that otlp-gate did not apply. They are not deleted.
    pub(crate) skipped: Vec<String>,
}

impl Pruned {
    /// A line for each object that was skipped.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let note = |it| {
            format!("{:<11} {it}: it has the gate's labels, but otlp-gate has not applied it", "skipped")
        };
        self.skipped.iter().map(note)
    }
}

/// Deletes the gate's objects that are not in `retained`, or with `dry_run` only lists them.
///
/// # Errors
/// The API server does not allow to list or delete them.
pub(crate) async fn prune(
    cluster: &Cluster,
    names: &Names,
    retained: &[Object],
    dry_run: bool,
) -> Result<Pruned, Error> {
    let keep: BTreeSet<(&str, Option<&str>, &str)> =
        retained.iter().map(|it| (it.kind.as_str(), it.namespace.as_deref(), it.name.as_str())).collect();
    let discovery = Discovery::of(cluster, KINDS.iter().map(|(version, _)| *version)).await?;
    let mut pruned = Pruned::default();
    // In reverse order of creation: the routes go first, so that a gate without its filter or policies serves no
    // client.
    for (version, kind) in KINDS.iter().rev() {
        for object in labelled(cluster, &discovery, names, version, kind).await? {
            let (name, namespace) = (object.name_any(), object.namespace());
            if keep.contains(&(*kind, namespace.as_deref(), &name)) {
                continue;
            }
            let title = title(kind, namespace.as_deref(), &name);
            if !is_ours(&object) {
                pruned.skipped.push(title);
                continue;
            }
            if !dry_run {
                let Some(api) = discovery.api(cluster, version, kind, namespace.as_deref()) else { continue };
                match api.delete(&name, &DeleteParams::background()).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() => continue,
                    done => done.map_err(|e| api_error(format_args!("cannot delete {title}"), &e))?,
                };
            }
            pruned.removed.push(title);
        }
    }
    Ok(pruned)
}

/// The objects that prune keeps: the desired ones, and certificates that are in the cluster but not on this machine.
pub(crate) fn retained(
    installation: &Installation<'_>,
    desired: impl IntoIterator<Item = Object>,
) -> Result<Vec<Object>, Error> {
    let mut objects: Vec<Object> = desired.into_iter().collect();
    let names = &installation.names;
    // cert-manager takes over a Secret that `apply` has written. Without it, the gateway would have no certificate until
    // cert-manager has issued another one.
    if installation.config.gateway.enabled && installation.certificates.server.is_none() {
        let metadata = names.metadata(&names.server());
        objects.push(Object::builtin(&Secret { metadata, ..Secret::default() })?);
    }
    if installation.expects_client_cas() {
        let metadata = names.metadata(&names.client_ca());
        objects.push(Object::builtin(&ConfigMap { metadata, ..ConfigMap::default() })?);
    }
    if installation.expects_internal_certificates() {
        for secret in internal_secrets(installation) {
            objects.push(Object::builtin(&Secret { metadata: secret.metadata, ..Secret::default() })?);
        }
    }
    Ok(objects)
}

/// Objects of one kind with the gate's labels, in all namespaces, or in the gate's own if RBAC does not allow the
/// former.
async fn labelled(
    cluster: &Cluster,
    discovery: &Discovery,
    names: &Names,
    version: &str,
    kind: &str,
) -> Result<Vec<DynamicObject>, Error> {
    let params = ListParams::default().labels(&names.selector());
    let listed = discovery.list(cluster, (version, kind), &names.namespace, &params).await;
    let mut items = listed.map_err(|e| api_error(format_args!("cannot list every {kind}"), &e))?;
    // An object that a controller derived from one of ours may have its labels. It is deleted with its owner.
    items.retain(|object| object.owner_references().is_empty());
    Ok(items)
}
