//! Checks whether Envoy Gateway takes dynamic modules.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;

use super::Check;
use crate::cluster::{Cluster, api_error, if_allowed, ignores_dynamic_module};
use crate::config::{Config, FilterHost};
use crate::error::Error;
use crate::module::native;

const SUBJECT: &str = "native module";

/// None if the filter is a Wasm module, or the definition is missing, which the check of kinds reports, or may not be
/// read.
pub(super) async fn check(cluster: &Cluster, config: &Config) -> Result<Option<Check>, Error> {
    const NAME: &str = "envoyextensionpolicies.gateway.envoyproxy.io";
    if config.gateway.host == FilterHost::Wasm {
        return Ok(None);
    }
    if let Some(why) = ignores_dynamic_module(cluster, config).await? {
        return Ok(Some(Check::fail(SUBJECT, why, native::UPGRADE_HINT)));
    }
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let found = if_allowed(api.get_opt(NAME).await);
    let found = found.map_err(|e| api_error("cannot read Envoy Gateway's definitions", &e))?;
    Ok(found.flatten().map(|definition| of(&definition)))
}

fn of(definition: &CustomResourceDefinition) -> Check {
    let has = |key: &str| {
        definition.spec.versions.iter().any(|version| {
            let schema = version.schema.as_ref().and_then(|it| it.open_api_v3_schema.as_ref());
            let spec = schema.and_then(|it| it.properties.as_ref()?.get("spec"));
            spec.and_then(|it| it.properties.as_ref()).is_some_and(|it| it.contains_key(key))
        })
    };
    if has("dynamicModule") {
        Check::pass(SUBJECT, "Envoy Gateway takes dynamic modules")
    } else {
        Check::fail(SUBJECT, "this Envoy Gateway takes no dynamic modules", native::UPGRADE_HINT)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::CheckResult;
    use super::*;

    #[test]
    fn only_a_definition_with_the_field_passes() {
        for (field, result) in [("dynamicModule", CheckResult::Pass), ("wasm", CheckResult::Fail)] {
            let schema = json!({"openAPIV3Schema": {"properties": {"spec": {"properties": {field: {}}}}}});
            let version = json!({"name": "v1alpha1", "served": true, "storage": true, "schema": schema});
            let definition = serde_json::from_value(json!({
                "metadata": {},
                "spec": {"group": "g", "names": {"kind": "k", "plural": "p"}, "scope": "Namespaced", "versions": [version]},
            }));
            assert_eq!(of(&definition.unwrap()).result, result, "{field}");
        }
    }
}
