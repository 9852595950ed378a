//! Other gates in the cluster whose quotas are common with this gate's (`quotas.scope: shared`), and whose limits differ.

use kube::ResourceExt as _;
use kube::api::ListParams;
use otlp_gate_core::config::{PolicyConfig, Scope};

use super::api_error::{api_error, if_allowed};
use super::attached::Attachment;
use super::client::Cluster;
use super::discovery::Discovery;
use super::managers::is_ours;
use crate::error::Error;
use crate::model::{Installation, title};
use crate::providers::POLICY_OBJECTS;

/// The policies of other gates that share this gate's quotas under other limits. The engine has separate buckets for
/// them.
///
/// # Errors
/// The API server does not respond. What RBAC does not allow to list is left out.
pub(crate) async fn other_limits(
    cluster: &Cluster,
    installation: &Installation<'_>,
) -> Result<Vec<Attachment>, Error> {
    let own = &installation.policy;
    if installation.quota_engine().is_none() || own.quotas.effective_scope() != Scope::Shared {
        return Ok(Vec::new());
    }
    let discovery = Discovery::of(cluster, POLICY_OBJECTS.iter().map(|it| it.api_version)).await?;
    let mut found = Vec::new();
    for object in POLICY_OBJECTS {
        let (namespace, all) = (&installation.names.namespace, ListParams::default());
        let listed =
            if_allowed(discovery.list(cluster, (object.api_version, object.kind), namespace, &all).await);
        let listed = listed.map_err(|e| api_error(format_args!("cannot list every {}", object.kind), &e))?;
        for it in listed.unwrap_or_default().iter().filter(|it| is_ours(it)) {
            let Some(effect) = object.read(&it.data).and_then(|policy| difference(own, &policy)) else {
                continue;
            };
            let object = title(object.kind, it.namespace().as_deref(), &it.name_any());
            found.push(Attachment { object, effect, is_unsafe: true });
        }
    }
    Ok(found)
}

/// What differs in the limits of two gates that share their quotas, as the rest of a sentence about the other one.
fn difference(own: &PolicyConfig, other: &PolicyConfig) -> Option<String> {
    let name = |policy: &PolicyConfig| policy.quotas.engine.as_ref().map(|it| it.name.clone());
    if own.gate == other.gate || other.quotas.effective_scope() != Scope::Shared || name(own) != name(other) {
        return None;
    }
    let (own, other) = (&own.quotas, &other.quotas);
    let tiers = own.tiers.iter().filter(|(name, tier)| other.tiers.get(*name).is_some_and(|it| it != *tier));
    let mut differ: Vec<String> = tiers.map(|(name, _)| format!("tier `{name}`")).collect();
    if own.total != other.total {
        differ.push("`quotas.total`".to_owned());
    }
    (!differ.is_empty()).then(|| {
        format!(
            "shares the quotas of this gate and has other limits: {}. These do not count together: a client gets them in \
             each of the two gates",
            differ.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_gates_that_share_their_quotas_are_compared() {
        let policy = |gate: &str, quotas: Value| -> PolicyConfig {
            serde_json::from_value(json!({"gate": gate, "quotas": quotas})).unwrap()
        };
        let tiers = |spans: &str| json!({"gold": {"spans": spans}, "default": {"items": "5/s"}});
        let shared =
            |name: &str, tiers: Value| json!({"scope": "shared", "engine": {"name": name}, "tiers": tiers});
        let own = policy("a/gate", shared("eu", tiers("5/s")));
        let found = |gate: &str, quotas: Value| difference(&own, &policy(gate, quotas));
        assert_eq!(found("b/gate", shared("eu", tiers("5/s"))), None);
        assert_eq!(found("b/gate", shared("eu", json!({"other": {"spans": "1/s"}}))), None);
        assert_eq!(found("b/gate", shared("us", tiers("6/s"))), None);
        assert_eq!(found("a/gate", shared("eu", tiers("6/s"))), None);
        let gateway = json!({"engine": {"name": "eu"}, "tiers": tiers("6/s")});
        assert_eq!(found("b/gate", gateway), None);
        assert!(found("b/gate", shared("eu", tiers("6/s"))).unwrap().contains("limits: tier `gold`."));
        let mut total = shared("eu", tiers("5/s"));
        total["total"] = json!({"items": "1/s"});
        assert!(found("b/gate", total).unwrap().contains("limits: `quotas.total`."));
    }
}
