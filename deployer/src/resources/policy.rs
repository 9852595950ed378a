//! The policy as the filter is sent it.

use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use otlp_gate_core::config::PolicyConfig;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Module;
use crate::error::Error;

/// Above this many bytes of JSON the policy is compressed; below it people can read it in the cluster.
const READABLE: usize = 64 << 10;
/// etcd takes requests of 1.5 MiB, and the object is more than its policy.
const LARGEST: usize = 1 << 20;

/// How a policy becomes smaller.
pub(crate) const SMALLER_POLICY: &str = "write rules for many clients at once, with {word} in `match` and `name`; take out of `deny` what has expired";

/// Which policy it is: the beginning of a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// In hex digits.
    pub text: String,
    /// As the filter's metric `otlp_gate_policy_revision` has it.
    pub number: u64,
}

/// The revision of a policy, and of the module that acts by it. Where one of them differs, it does.
pub fn revision(policy: &PolicyConfig, module: &Module) -> Result<Revision, Error> {
    let text = serde_json::to_vec(&PolicyConfig { revision: String::new(), ..policy.clone() })
        .map_err(|e| Error::failed(format_args!("cannot write the policy: {e}")))?;
    let bytes = Sha256::new().chain_update(text).chain_update(module.source()).finalize();
    let number = bytes.iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte));
    Ok(Revision { text: format!("{number:012x}"), number })
}

/// The policy as JSON, with its revision; or, where that is large, as `{"gzip": base64}`.
///
/// # Errors
/// It does not fit into one Kubernetes object.
pub fn plugin_config(policy: &PolicyConfig, module: &Module) -> Result<Value, Error> {
    let cannot = |e: &dyn std::fmt::Display| Error::failed(format_args!("cannot write the policy: {e}"));
    let policy = &PolicyConfig { revision: revision(policy, module)?.text, ..policy.clone() };
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
