//! Decides which kind of Istio's objects has the filter, by what the cluster serves and what is in it.

use kube::api::DynamicObject;

use super::api_error::{api_error, if_allowed};
use super::client::Cluster;
use super::discovery::Discovery;
use super::istio::{self, Version};
use super::managers::is_ours;
use crate::config::{Config, ExtensionMode, Provider};
use crate::error::Error;
use crate::model::{EXTENSION_API, Extension, ExtensionKind, title};

/// The kind to apply, and whether it replaces the other kind.
///
/// That the API server serves TrafficExtension does not suffice: CustomResourceDefinitions are upgraded before istiod,
/// and stay when it is downgraded. An istiod before 1.30 ignores the objects, and the gateway would have no filter.
///
/// # Errors
/// The config requires TrafficExtension and an istiod ignores it, or the API server does not respond.
pub(crate) async fn detect_extension(cluster: &Cluster, config: &Config) -> Result<Extension, Error> {
    if !config.gateway.enabled || config.gateway.provider != Provider::Istio {
        return Ok(Extension::from_config(config));
    }
    let discovery = Discovery::of(cluster, [EXTENSION_API]).await?;
    let wasm_plugin = live(cluster, &discovery, config, ExtensionKind::WasmPlugin).await?;
    let traffic_extension = live(cluster, &discovery, config, ExtensionKind::TrafficExtension).await?;
    let versions = istio::versions(cluster).await?;
    let kind = match config.gateway.extension {
        ExtensionMode::WasmPlugin => ExtensionKind::WasmPlugin,
        ExtensionMode::TrafficExtension => {
            require_support(&versions)?;
            ExtensionKind::TrafficExtension
        }
        ExtensionMode::Auto => {
            let served = discovery.plural(EXTENSION_API, ExtensionKind::TrafficExtension.name()).is_some();
            automatic(served, &versions, wasm_plugin.as_ref().map(is_ours))
        }
    };
    let other = match kind {
        ExtensionKind::WasmPlugin => traffic_extension,
        ExtensionKind::TrafficExtension => wasm_plugin,
    };
    // A TrafficExtension that an istiod ignores is no second filter, and a WasmPlugin must not wait for its removal.
    let other_acts = kind == ExtensionKind::TrafficExtension || supported(&versions);
    Ok(Extension { kind, replaces: other_acts && other.as_ref().is_some_and(is_ours) })
}

/// The kind to apply, by whether the API server serves TrafficExtension, by the versions of istiod, and by whether
/// otlp-gate applied the WasmPlugin in the cluster, if there is one. What another tool applied is what `render` wrote:
/// that stays.
fn automatic(served: bool, versions: &[Version], wasm_plugin_is_ours: Option<bool>) -> ExtensionKind {
    match served && supported(versions) && wasm_plugin_is_ours != Some(false) {
        true => ExtensionKind::TrafficExtension,
        false => ExtensionKind::WasmPlugin,
    }
}

/// Whether every istiod is known to act on TrafficExtensions.
fn supported(versions: &[Version]) -> bool {
    !versions.is_empty() && versions.iter().all(Version::has_traffic_extension)
}

/// Fails if an istiod is known to ignore TrafficExtension.
fn require_support(versions: &[Version]) -> Result<(), Error> {
    let Some(old) = versions.iter().find(|it| it.number.is_some() && !it.has_traffic_extension()) else {
        return Ok(());
    };
    let message = format!(
        "`gateway.extension` is `TrafficExtension`, and {} is older than Istio 1.30, which ignores it",
        old.istiod
    );
    Err(Error::failed(message).hint("upgrade Istio, or set `extension: auto`"))
}

/// The gate's object of a kind, as it is in the cluster.
async fn live(
    cluster: &Cluster,
    discovery: &Discovery,
    config: &Config,
    kind: ExtensionKind,
) -> Result<Option<DynamicObject>, Error> {
    let (name, namespace) = (&config.gateway.name, &config.gateway.namespace);
    let Some(api) = discovery.api(cluster, EXTENSION_API, kind.name(), Some(namespace)) else {
        return Ok(None);
    };
    let found = if_allowed(api.get_opt(name).await);
    let title = title(kind.name(), Some(namespace), name);
    found.map(Option::flatten).map_err(|e| api_error(format_args!("cannot read {title}"), &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn istiod(number: Option<(u32, u32)>) -> Version {
        Version { istiod: "istiod in istio-system".to_owned(), number }
    }

    #[test]
    fn traffic_extension_is_used_where_every_istiod_acts_on_it() {
        let (new, old, unknown) = (istiod(Some((1, 30))), istiod(Some((1, 29))), istiod(None));
        for (served, versions, wasm_plugin, traffic_extension) in [
            (true, vec![&new], None, true),
            (true, vec![&new, &new], Some(true), true),
            // Another tool applied what `render` wrote.
            (true, vec![&new], Some(false), false),
            (false, vec![&new], None, false),
            (true, vec![], None, false),
            (true, vec![&unknown], None, false),
            (true, vec![&old], None, false),
            // A canary upgrade.
            (true, vec![&new, &old], Some(true), false),
        ] {
            let versions: Vec<Version> = versions.into_iter().cloned().collect();
            let kind = automatic(served, &versions, wasm_plugin);
            assert_eq!(kind == ExtensionKind::TrafficExtension, traffic_extension, "{versions:?}");
        }
    }

    #[test]
    fn a_required_traffic_extension_needs_an_istiod_that_is_not_older() {
        assert!(require_support(&[istiod(Some((1, 31)))]).is_ok());
        assert!(require_support(&[istiod(None)]).is_ok());
        let error = require_support(&[istiod(Some((1, 31))), istiod(Some((1, 29)))]).unwrap_err().to_string();
        assert!(error.contains("istiod in istio-system is older than Istio 1.30"), "{error}");
    }
}
