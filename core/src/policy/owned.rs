//! Owned attributes: the keys under which only the filter sets values.

use super::probe_client::VERIFY_ATTRIBUTE;
use crate::config::PolicyConfig;
use crate::sort;

/// The keys of a policy's owned attributes, sorted: those that it sets for any client, and those that another gateway
/// sets.
pub fn owned_attributes(config: &PolicyConfig) -> Vec<String> {
    let own = config.clients.iter().flat_map(|client| client.attributes.keys());
    let all = own.chain(config.attributes.keys()).chain(&config.owned).map(String::as_str);
    let all = sort::set(all.chain(config.verify.then_some(VERIFY_ATTRIBUTE)));
    all.into_iter().map(str::to_owned).collect()
}
