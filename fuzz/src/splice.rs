//! Target: in a forwarded message, as prost reads it, every Resource has the client's attributes once and no forged
//! ones.

use std::rc::Rc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlp_gate_wire::otlp::{Owned, ResourceAttributes, Signal, splice};
use prost::Message;

/// Runs one input.
pub fn target(message: &[u8]) {
    let owned = Rc::new(Owned::new(["t"], true));
    let attributes = ResourceAttributes::new(&owned, [("t", "acme")]);
    for signal in Signal::ALL {
        let Ok(splice) = splice(signal, message, &attributes, 1 << 20) else { continue };
        let out = splice.pieces(message).collect::<Vec<_>>().concat();
        assert_eq!(out.len(), splice.len);
        if signal != Signal::Traces {
            continue;
        }
        let Ok(decoded) = ExportTraceServiceRequest::decode(&out[..]) else { continue };
        let spans = decoded.resource_spans.iter().flat_map(|entry| &entry.scope_spans);
        assert_eq!(splice.items, spans.map(|scope| scope.spans.len() as u64).sum::<u64>());
        for entry in decoded.resource_spans {
            let attributes = entry.resource.unwrap_or_default().attributes;
            assert_eq!(attributes.iter().filter(|attribute| attribute.key == "t").count(), 1);
        }
    }
}
