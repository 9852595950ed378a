//! The policy as the deployer hands it to the filter: JSON, or gzip of it in base64 where it is large.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Gate;
use crate::config::PolicyConfig;
use crate::policy::Policy;
use otlp_gate_wire::encoding::gunzip;

/// The largest policy, inflated, in bytes: 10,000 clients take a tenth of it.
const LARGEST: usize = 32 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compressed {
    gzip: String,
}

impl Gate {
    /// Loads a policy. The error lists every mistake in it.
    pub fn load(configuration: &[u8]) -> Result<Gate, String> {
        let inflated;
        let json = match serde_json::from_slice::<Compressed>(configuration) {
            Ok(Compressed { gzip }) => {
                let wire = STANDARD.decode(gzip).map_err(|error| format!("policy is not base64: {error}"))?;
                inflated =
                    gunzip(&wire, LARGEST).map_err(|error| format!("policy is not gzip: {error:?}"))?;
                &inflated
            }
            Err(_) => configuration,
        };
        let config: PolicyConfig =
            serde_json::from_slice(json).map_err(|error| format!("policy cannot be read: {error}"))?;
        let policy = Policy::compile(&config).map_err(|problems| {
            let problems: Vec<String> =
                problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
            format!("policy has mistakes: {}", problems.join("; "))
        })?;
        let revision = u64::from_str_radix(&config.revision, 16).unwrap_or_default();
        Ok(Gate { revision, ..Gate::new(policy) })
    }
}
