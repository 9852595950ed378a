//! Client CAs in ConfigMaps that something else writes. The gateway follows them; the policy has their keys as of the last
//! `apply`.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use otlp_gate_core::config::{AuthorityKey, ClientCa};

use super::api_error::{api_error, if_allowed};
use super::client::Cluster;
use super::not_ready::NotReady;
use crate::certs::ClientTrust;
use crate::error::Error;
use crate::model::Installation;

/// The key of a ConfigMap with the certificates of client CAs, which both providers read.
pub(super) const CA_KEY: &str = "ca.crt";

/// The client CAs in a ConfigMap, where the policy depends on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// The name of the entry of `clientCAs`.
    pub(crate) ca: String,
    /// The name of the ConfigMap.
    pub(crate) config_map: String,
    /// The keys of its CAs; or why they are unknown.
    pub(crate) keys: Result<Vec<AuthorityKey>, String>,
    /// The keys in the policy in the cluster.
    pub(crate) live: Vec<AuthorityKey>,
}

impl Bundle {
    /// How many CAs of the ConfigMap are not in the policy.
    fn unknown(&self) -> usize {
        self.keys.iter().flatten().filter(|it| !has(&self.live, it)).count()
    }

    /// How many CAs of the policy are no longer in the ConfigMap.
    fn removed(&self) -> usize {
        let gone = |keys: &Vec<AuthorityKey>| self.live.iter().filter(|it| !has(keys, it)).count();
        self.keys.as_ref().map_or(0, gone)
    }

    /// Whether the policy has the CAs in the ConfigMap: what to say of it, or how they differ.
    pub(super) fn state(&self) -> Result<String, NotReady> {
        let (unknown, removed) = (self.unknown(), self.removed());
        match &self.keys {
            Err(why) => Ok(format!("unknown: configmap/{}: {why}", self.config_map)),
            Ok(keys) if unknown + removed == 0 => {
                let number = keys.len();
                Ok(format!("the policy has all CAs in configmap/{}: {number}", self.config_map))
            }
            Ok(_) => Err(NotReady::UnknownCas {
                config_map: self.config_map.clone(),
                ca: self.ca.clone(),
                unknown,
                removed,
            }),
        }
    }

    /// Why the policy has not the CAs in the ConfigMap, if it has not.
    pub(crate) fn drift(&self) -> Option<String> {
        self.state().err().map(|why| why.to_string())
    }
}

fn has(keys: &[AuthorityKey], key: &AuthorityKey) -> bool {
    keys.iter().any(|it| it.key == key.key)
}

/// Reads the ConfigMaps with client CAs. `live` are the CAs in the policy in the cluster. None where the policy does not
/// depend on which CA signed a certificate.
///
/// # Errors
/// The API server does not respond.
pub(crate) async fn client_ca_bundles(
    cluster: &Cluster,
    installation: &Installation<'_>,
    live: &[ClientCa],
) -> Result<Vec<Bundle>, Error> {
    let config = installation.config;
    let mut bundles = Vec::new();
    if !config.takes_client_cas() || !config.uses_cas() {
        return Ok(bundles);
    }
    let api = Api::<ConfigMap>::namespaced(cluster.client.clone(), &installation.names.namespace);
    for entry in &config.client_cas {
        let Some(config_map) = &entry.config_map else { continue };
        let place = format!("configmap/{config_map}");
        let found = if_allowed(api.get_opt(config_map).await);
        let found = found.map_err(|e| api_error(format_args!("cannot read {place}"), &e))?;
        let keys = match found {
            None => Err("you may not read it".to_owned()),
            Some(None) => Err("it does not exist".to_owned()),
            Some(Some(found)) => keys(&place, &found).map_err(|e| e.to_string()),
        };
        let live = live.iter().find(|ca| ca.name == entry.name).map(|ca| ca.keys.clone());
        bundles.push(Bundle {
            ca: entry.name.clone(),
            config_map: config_map.clone(),
            keys,
            live: live.unwrap_or_default(),
        });
    }
    Ok(bundles)
}

/// The keys of the CAs in a ConfigMap.
///
/// # Errors
/// Envoy cannot verify clients with it.
fn keys(place: &str, found: &ConfigMap) -> Result<Vec<AuthorityKey>, Error> {
    match found.data.as_ref().and_then(|data| data.get(CA_KEY)) {
        Some(pem) => ClientTrust::bundle_keys(place, pem),
        None => Err(Error::failed(format_args!("it has no key `{CA_KEY}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(keys: Result<&[&str], &str>, live: &[&str]) -> Bundle {
        let all = |keys: &[&str]| {
            keys.iter()
                .map(|key| AuthorityKey { key: (*key).to_owned(), ..AuthorityKey::default() })
                .collect()
        };
        Bundle {
            ca: "spire".to_owned(),
            config_map: "spire-bundle".to_owned(),
            keys: keys.map(all).map_err(str::to_owned),
            live: all(live),
        }
    }

    #[test]
    fn a_policy_without_the_cas_of_the_config_map_is_reported() {
        for (keys, live, drift) in [
            (&["a", "b"][..], &["b", "a"][..], None),
            (&["a", "b"], &["a"], Some("lacks 1 of the CAs in configmap/spire-bundle, and has 0")),
            (&["b"], &["a"], Some("lacks 1 of the CAs in configmap/spire-bundle, and has 1")),
            (&["b"], &["a", "b"], Some("lacks 0 of the CAs in configmap/spire-bundle, and has 1")),
            (&["b"], &[], Some("lacks 1 of the CAs")),
        ] {
            let found = bundle(Ok(keys), live).drift();
            assert_eq!(found.is_some(), drift.is_some(), "{keys:?} {live:?}: {found:?}");
            assert!(found.unwrap_or_default().contains(drift.unwrap_or_default()), "{keys:?} {live:?}");
        }
        let unreadable = bundle(Err("you may not read it"), &["a"]);
        assert_eq!(unreadable.drift(), None);
        assert!(unreadable.state().unwrap().contains("you may not read it"));
    }

    #[test]
    fn a_config_map_without_cas_is_named() {
        let with = |data: &[(&str, &str)]| ConfigMap {
            data: Some(data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            ..ConfigMap::default()
        };
        for (data, words) in [
            (&[("bundle.crt", "x")][..], "it has no key `ca.crt`"),
            (&[("ca.crt", "x")], "configmap/a: expected certificates in PEM: found none"),
        ] {
            let error = keys("configmap/a", &with(data)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
