//! The CAs that issue client certificates.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A CA for clients, or several that belong together: a trust domain. Rules with `match: {ca: NAME}` are for its
/// clients only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ClientCa {
    /// The name for `match.ca` and the placeholder `{ca}`: 1 to 63 characters of `a-z 0-9 -`.
    pub(crate) name: String,
    /// A file with the certificates of the CAs, in PEM, relative to this config file. The gateway trusts them besides
    /// `client-ca.crt` in the folder `certs`. Without this key and `configMap`, the entry names the CAs in that
    /// `client-ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificates: Option<PathBuf>,
    /// A ConfigMap in the gateway's namespace that something else writes, such as trust-manager, SPIRE or a pipeline. Its
    /// `ca.crt` has the certificates of the CAs, in PEM. The gateway follows its changes without `apply`. Rules with
    /// `ca` need the CAs' keys in the policy: run `apply` after a change. With Istio, it must be the only entry. The
    /// gateway then trusts `client-ca.crt` in the folder `certs` only if an entry of its own names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config_map: Option<String>,
    /// A file with the revocation lists of these CAs, in PEM, relative to this config file. Without a list, reject a
    /// client with `deny`. The lists of the CAs in the folder `certs` are in `client.crl` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revocation_list: Option<PathBuf>,
}

impl ClientCa {
    /// Whether its CAs have revocation lists, as far as the config says. Those of the folder `certs` usually have.
    pub(crate) fn has_list(&self) -> bool {
        self.is_of_folder() || self.revocation_list.is_some()
    }

    /// Whether it names the CAs in the folder `certs`.
    pub(crate) fn is_of_folder(&self) -> bool {
        self.certificates.is_none() && self.config_map.is_none()
    }

    /// Makes the paths of its files relative to the folder of the config file.
    pub(super) fn resolve(&mut self, folder: &Path) {
        for file in [&mut self.certificates, &mut self.revocation_list].into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }
}
