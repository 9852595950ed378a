//! The policy as the filter receives it.

use std::io::{Read as _, Write as _};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use otlp_gate_core::config::PolicyConfig;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ExtensionKind;
use crate::error::Error;
use crate::module::Location;

/// Bytes of JSON above which the policy is compressed. A smaller one stays readable in the cluster.
const READABLE: usize = 64 << 10;
/// Bytes of a compressed policy: etcd accepts requests of up to 1.5 MiB, and the object contains more than the policy.
const LARGEST: usize = 1 << 20;

/// Hint for a policy that is too large.
pub(crate) const SMALLER_POLICY: &str = "write rules for many clients at once, with {word} in `match` and `name`; remove expired entries from `deny`";

/// Identifies a policy and module: the first 48 bits of a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    /// 12 hex digits.
    pub(crate) text: String,
    /// The value of the filter's metric `otlp_gate_policy_revision`.
    pub(crate) number: u64,
}

/// The revision of a policy, of the module that applies it, and of the kind of object that has both. It changes when
/// any of them changes.
pub(crate) fn revision(
    policy: &PolicyConfig,
    module: &Location,
    kind: ExtensionKind,
) -> Result<Revision, Error> {
    let text = serde_json::to_vec(&PolicyConfig { revision: String::new(), ..policy.clone() })
        .map_err(|e| Error::failed(format_args!("cannot write the policy: {e}")))?;
    let bytes =
        Sha256::new().chain_update(text).chain_update(module.source()).chain_update(kind.mark()).finalize();
    let number = bytes.iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte));
    Ok(Revision { text: format!("{number:012x}"), number })
}

/// The policy with its revision as JSON, or as `{"gzip": base64}` where the JSON is larger than 64 KiB.
///
/// # Errors
/// The policy does not fit into one Kubernetes object.
pub(crate) fn plugin_config(
    policy: &PolicyConfig,
    module: &Location,
    kind: ExtensionKind,
) -> Result<Value, Error> {
    let cannot = |e: &dyn std::fmt::Display| Error::failed(format_args!("cannot write the policy: {e}"));
    let policy = &PolicyConfig { revision: revision(policy, module, kind)?.text, ..policy.clone() };
    let text = serde_json::to_vec(policy).map_err(|e| cannot(&e))?;
    if text.len() <= READABLE {
        return serde_json::to_value(policy).map_err(|e| cannot(&e));
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let gzip = gzip.write_all(&text).and_then(|()| gzip.finish()).map_err(|e| cannot(&e))?;
    let encoded = STANDARD.encode(gzip);
    if encoded.len() > LARGEST {
        return Err(Error::failed(format_args!(
            "the policy of {} client rules takes {} bytes compressed, and one Kubernetes object has room for {LARGEST}",
            policy.clients.len(),
            encoded.len()
        ))
        .hint(SMALLER_POLICY));
    }
    Ok(json!({"gzip": encoded}))
}

/// Reads what [`plugin_config`] wrote; `None` for anything else.
pub(crate) fn read_plugin_config(value: &Value) -> Option<PolicyConfig> {
    // Compressed JSON of the largest policy is smaller by far.
    const LARGEST_INFLATED: u64 = 64 << 20;
    let Some(gzip) = value.get("gzip").and_then(Value::as_str) else {
        return serde_json::from_value(value.clone()).ok();
    };
    let bytes = STANDARD.decode(gzip).ok()?;
    serde_json::from_reader(GzDecoder::new(bytes.as_slice()).take(LARGEST_INFLATED)).ok()
}
