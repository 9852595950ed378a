//! What the JSON splice lets through holds the client's attributes once per Resource and no forged ones, as serde_json
//! reads it, and what it calls JSON is JSON.

use std::rc::Rc;

use otlp_gate_wire::otlp::{Owned, ResourceAttributes, Signal, splice_json};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Takes one input.
pub fn target(message: &[u8]) {
    let owned = Rc::new(Owned::new(["t"], true));
    let stamp = ResourceAttributes::new(&owned, [("t", "acme")]);
    for signal in Signal::ALL {
        let Ok(splice) = splice_json(signal, message, &stamp, 1 << 20) else { continue };
        let out = splice.pieces(message).collect::<Vec<_>>().concat();
        assert_eq!(out.len(), splice.len);
        assert!(serde_json::from_slice::<IgnoredAny>(&out).is_ok(), "not JSON");
        // Deeper than it follows, or half a surrogate pair where the gate reads nothing.
        let Ok(decoded) = serde_json::from_slice::<Value>(&out) else { continue };
        if signal != Signal::Traces {
            continue;
        }
        let containers =
            ["resourceSpans", "resource_spans"].iter().filter_map(|name| decoded[*name].as_array());
        let mut spans = 0;
        for container in containers.flatten() {
            let attributes = container["resource"]["attributes"].as_array().map_or(&[][..], Vec::as_slice);
            assert_eq!(attributes.iter().filter(|attribute| attribute["key"] == "t").count(), 1);
            let scopes = ["scopeSpans", "scope_spans"].iter().filter_map(|name| container[*name].as_array());
            spans +=
                scopes.flatten().filter_map(|scope| scope["spans"].as_array()).map(Vec::len).sum::<usize>();
        }
        assert_eq!(splice.items, spans as u64);
    }
}
