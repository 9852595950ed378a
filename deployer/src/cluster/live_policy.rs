//! The client CAs in the policy that the cluster has.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use otlp_gate_core::config::ClientCa;

use super::api_error::api_error;
use super::client::Cluster;
use crate::error::Error;
use crate::model::Installation;
use crate::providers;

/// The keys of client CAs, and the serial numbers that these have revoked, as the last `apply` with certificates left
/// them. None where there is no policy, or this user may not read it.
pub(crate) async fn live_client_cas(
    cluster: &Cluster,
    installation: &Installation<'_>,
) -> Result<Vec<ClientCa>, Error> {
    let object = providers::of(installation.config).policy_object(installation.extension);
    let (group, version) = object.api_version.split_once('/').unwrap_or(("", object.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, object.kind));
    let names = &installation.names;
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &names.namespace, &resource);
    match api.get_opt(&names.gateway).await {
        Ok(live) => {
            let policy = live.and_then(|live| object.read(&live.data));
            Ok(policy.map(|policy| policy.client_cas).unwrap_or_default())
        }
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Vec::new()),
        Err(error) => Err(api_error(format_args!("cannot read {}/{}", object.kind, names.gateway), &error)),
    }
}
