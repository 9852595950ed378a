//! Objects that the config refers to and that are not in the cluster.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::Api;
use otlp_gate_core::policy::Problem;

use super::api_error::{api_error, if_allowed};
use super::bundles::CA_KEY;
use super::client::Cluster;
use super::discovery::Discovery;
use crate::certs::ClientTrust;
use crate::config::IssuerKind;
use crate::error::Error;
use crate::render::{Reference, ReferenceKind};
use crate::resources::cert_manager;

/// What is wrong with an object that the config refers to.
#[derive(Debug)]
pub(crate) struct Missing<'a> {
    /// The reference.
    pub(crate) reference: &'a Reference,
    /// What is wrong: lower case, no full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: String,
}

impl Missing<'_> {
    /// As a problem of the config.
    pub(crate) fn problem(&self) -> Problem {
        Problem::new(self.reference.path.clone(), self.message.clone()).hint(self.hint.clone())
    }
}

/// The keys of an object, each with its value where it is a text.
type Keys = Vec<(String, Option<String>)>;

/// The references whose object does not exist, or lacks a key. Objects that may not be read are left out.
///
/// # Errors
/// The API server does not respond.
pub(crate) async fn missing<'a>(
    cluster: &Cluster,
    references: &'a [Reference],
) -> Result<Vec<Missing<'a>>, Error> {
    let mut all = Vec::new();
    for reference in references {
        // An object that several places name is reported once.
        let same = |it: &Missing<'_>| {
            let other = it.reference;
            (other.kind, &other.namespace, &other.name, &other.keys)
                == (reference.kind, &reference.namespace, &reference.name, &reference.keys)
        };
        if all.iter().any(same) {
            continue;
        }
        let Some(found) = read(cluster, reference, &reference.namespace).await? else { continue };
        let Some(message) = complaint(reference, found.as_ref()) else { continue };
        if let Some(namespace) = &reference.or_namespace {
            let Some(found) = read(cluster, reference, namespace).await? else { continue };
            if complaint(reference, found.as_ref()).is_none() {
                continue;
            }
        }
        let mut hint = reference.hint.clone();
        if found.is_none() && !namespace_exists(cluster, &reference.namespace).await? {
            hint = format!("`kubectl create namespace {}`, then {hint}", reference.namespace);
        }
        all.push(Missing { reference, message, hint });
    }
    Ok(all)
}

/// What is wrong with an object that has these keys, or that does not exist.
fn complaint(reference: &Reference, found: Option<&Keys>) -> Option<String> {
    let object = format!("{}/{}", reference.kind.name(), reference.name);
    let namespace = match reference.kind {
        ReferenceKind::Issuer(IssuerKind::ClusterIssuer) => String::new(),
        _ => format!(" in namespace {}", reference.namespace),
    };
    let Some(found) = found else { return Some(format!("there is no {object}{namespace}")) };
    if reference.kind == ReferenceKind::ClientCas {
        return match found.iter().find(|(key, _)| key == CA_KEY) {
            None => Some(format!("{object}{namespace} has no key `{CA_KEY}`")),
            Some((_, pem)) => ClientTrust::bundle_keys(&object, pem.as_deref().unwrap_or_default())
                .err()
                .map(|e| e.to_string()),
        };
    }
    let absent = reference.keys.iter().find(|key| !found.iter().any(|(it, _)| it == *key))?;
    let has: Vec<&str> = found.iter().take(5).map(|(key, _)| key.as_str()).collect();
    let has = if has.is_empty() { "no keys".to_owned() } else { has.join(", ") };
    Some(format!("{object}{namespace} has no key `{absent}`; it has {has}"))
}

/// The keys of the object: `Some(None)` if it does not exist; `None` if it may not be read, or its kind is not served,
/// which is reported elsewhere.
async fn read(
    cluster: &Cluster,
    reference: &Reference,
    namespace: &str,
) -> Result<Option<Option<Keys>>, Error> {
    let Reference { name, kind, .. } = reference;
    let client = cluster.client.clone();
    let failed =
        |e: kube::Error| api_error(format_args!("cannot read {}/{name} in {namespace}", kind.name()), &e);
    Ok(match kind {
        ReferenceKind::Secret => {
            let found = if_allowed(Api::<Secret>::namespaced(client, namespace).get_opt(name).await);
            let keys = |it: Secret| it.data.unwrap_or_default().into_keys().map(|key| (key, None)).collect();
            found.map_err(failed)?.map(|found| found.map(keys))
        }
        ReferenceKind::ConfigMap | ReferenceKind::ClientCas => {
            let found = if_allowed(Api::<ConfigMap>::namespaced(client, namespace).get_opt(name).await);
            let keys = |it: ConfigMap| {
                let texts = it.data.unwrap_or_default().into_iter().map(|(key, text)| (key, Some(text)));
                texts.chain(it.binary_data.unwrap_or_default().into_keys().map(|key| (key, None))).collect()
            };
            found.map_err(failed)?.map(|found| found.map(keys))
        }
        ReferenceKind::Issuer(issuer) => {
            let discovery = Discovery::of(cluster, [cert_manager::API_VERSION]).await?;
            let api = discovery.api(cluster, cert_manager::API_VERSION, issuer.name(), Some(namespace));
            let Some(api) = api else { return Ok(None) };
            let found = if_allowed(api.get_opt(name).await).map_err(failed)?;
            found.map(|found| found.map(|_| Keys::new()))
        }
    })
}

/// Whether a namespace exists, or may not be read.
async fn namespace_exists(cluster: &Cluster, name: &str) -> Result<bool, Error> {
    let found = if_allowed(Api::<Namespace>::all(cluster.client.clone()).get_opt(name).await);
    let found = found.map_err(|e| api_error(format_args!("cannot read namespace {name}"), &e))?;
    Ok(!matches!(found, Some(None)))
}

#[cfg(test)]
mod tests {
    use otlp_gate_core::policy::ConfigPath;

    use super::*;

    fn complain(kind: ReferenceKind, keys: &[&str], found: Option<&[(&str, &str)]>) -> Option<String> {
        let reference = Reference {
            path: ConfigPath::of("a"),
            kind,
            namespace: "gate".to_owned(),
            or_namespace: None,
            name: "backend".to_owned(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            hint: String::new(),
        };
        let found = found.map(|keys| {
            keys.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect()
        });
        complaint(&reference, found.as_ref())
    }

    #[test]
    fn an_object_that_is_missing_or_lacks_a_key_is_named() {
        let cluster_issuer = ReferenceKind::Issuer(IssuerKind::ClusterIssuer);
        for (kind, keys, found, message) in [
            (ReferenceKind::Secret, &["a"][..], None, "there is no secret/backend in namespace gate"),
            (cluster_issuer, &[], None, "there is no clusterissuer/backend"),
            (
                ReferenceKind::Secret,
                &["a", "b"],
                Some(&[("a", ""), ("c", "")][..]),
                "secret/backend in namespace gate has no key `b`; it has a, c",
            ),
            (
                ReferenceKind::ConfigMap,
                &["a"],
                Some(&[]),
                "configmap/backend in namespace gate has no key `a`; it has no keys",
            ),
            (
                ReferenceKind::ClientCas,
                &[],
                Some(&[("bundle.crt", "")]),
                "configmap/backend in namespace gate has no key `ca.crt`",
            ),
            (
                ReferenceKind::ClientCas,
                &[],
                Some(&[("ca.crt", "x")]),
                "configmap/backend: expected certificates in PEM: found none",
            ),
        ] {
            assert_eq!(complain(kind, keys, found).as_deref(), Some(message));
        }
        assert_eq!(complain(ReferenceKind::Secret, &["a"], Some(&[("a", "")])), None);
        assert_eq!(complain(cluster_issuer, &[], Some(&[])), None);
    }
}
