//! Target: a forwarded message is JSON, and in it, as serde_json reads it, every Resource has the client's attributes
//! once and no forged ones.

use std::rc::Rc;

use otlp_gate_wire::otlp::{Owned, ResourceAttributes, Signal, splice_json};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Runs one input.
pub fn target(message: &[u8]) {
    let owned = Rc::new(Owned::new(["t"], true));
    let attributes = ResourceAttributes::new(&owned, [("t", "acme")]);
    for signal in Signal::ALL {
        let Ok(splice) = splice_json(signal, message, &attributes, 1 << 20) else { continue };
        let out = splice.pieces(message).collect::<Vec<_>>().concat();
        assert_eq!(out.len(), splice.len);
        assert!(serde_json::from_slice::<IgnoredAny>(&out).is_ok(), "not JSON");
        // serde_json cannot read it all: nested too deeply for it, or an unpaired surrogate where the filter reads
        // nothing.
        let Ok(decoded) = serde_json::from_slice::<Value>(&out) else { continue };
        if signal != Signal::Traces {
            continue;
        }
        let entries = ["resourceSpans", "resource_spans"].iter().filter_map(|name| decoded[*name].as_array());
        let mut spans = 0;
        for entry in entries.flatten() {
            let attributes = entry["resource"]["attributes"].as_array().map_or(&[][..], Vec::as_slice);
            assert_eq!(attributes.iter().filter(|attribute| attribute["key"] == "t").count(), 1);
            let scopes = ["scopeSpans", "scope_spans"].iter().filter_map(|name| entry[*name].as_array());
            spans +=
                scopes.flatten().filter_map(|scope| scope["spans"].as_array()).map(Vec::len).sum::<usize>();
        }
        assert_eq!(splice.items, spans as u64);
    }
}
