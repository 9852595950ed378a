//! How Envoy makes labels from the names of the filter's metrics.

use serde_json::{Value, json};

/// The tags that the filter writes into the names of its metrics (`client=.=acme;.;…`) and that become labels.
pub(crate) const METRIC_TAGS: [&str; 3] = ["client", "signal", "result"];

/// Envoy's `stats_tags` (`envoy.config.metrics.v3.TagSpecifier`). The first group of each expression is removed from
/// the metric's name, the second is the label's value. Istio writes its `extraStatTags` in the same form.
pub(crate) fn stats_tags() -> [Value; 3] {
    METRIC_TAGS.map(|tag| json!({"tag_name": tag, "regex": format!("({tag}=\\.=(.*?);\\.;)")}))
}
