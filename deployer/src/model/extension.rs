//! The kind of Istio's object with the filter.

use crate::config::{Config, ExtensionMode};

/// Group and version of both kinds.
pub(crate) const EXTENSION_API: &str = "extensions.istio.io/v1alpha1";

/// The object with the filter, in one gate's cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    /// The kind to apply.
    pub(crate) kind: ExtensionKind,
    /// Whether the gate's object of the other kind is in the cluster, and acts on the gateway until it is deleted.
    pub(crate) replaces: bool,
}

/// A kind of Istio's that adds a filter to a gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ExtensionKind {
    /// WasmPlugin, which every version of Istio has.
    #[default]
    WasmPlugin,
    /// TrafficExtension, from Istio 1.30 on.
    TrafficExtension,
}

impl Extension {
    /// The object where no cluster is asked.
    pub(crate) fn from_config(config: &Config) -> Self {
        let kind = match config.gateway.extension {
            ExtensionMode::Auto | ExtensionMode::WasmPlugin => ExtensionKind::WasmPlugin,
            ExtensionMode::TrafficExtension => ExtensionKind::TrafficExtension,
        };
        Extension { kind, replaces: false }
    }
}

impl ExtensionKind {
    /// The kind's name in Kubernetes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ExtensionKind::WasmPlugin => "WasmPlugin",
            ExtensionKind::TrafficExtension => "TrafficExtension",
        }
    }

    /// The kind that it replaces.
    pub(crate) fn other(self) -> Self {
        match self {
            ExtensionKind::WasmPlugin => ExtensionKind::TrafficExtension,
            ExtensionKind::TrafficExtension => ExtensionKind::WasmPlugin,
        }
    }

    /// What a policy's revision contains of the kind, so that a proxy's revision shows which object its filter is from.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            ExtensionKind::WasmPlugin => "",
            ExtensionKind::TrafficExtension => "TrafficExtension",
        }
    }
}
