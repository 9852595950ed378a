//! The functions that run for every byte of a request.

use std::rc::Rc;

use otlp_gate_wire::encoding::Compression;
use otlp_gate_wire::otlp::{Owned, ResourceAttributes, Signal, splice, splice_json};

use crate::{measure, messages};

const LIMIT: usize = 64 << 20;

pub(crate) fn all() {
    let owned = Rc::new(Owned::new(["tenant.id", "otlp_gate.client"], true));
    let stamp = ResourceAttributes::new(&owned, [("tenant.id", "acme"), ("otlp_gate.client", "acme-edge")]);
    for spans in [100, 1000] {
        let protobuf = messages::protobuf(spans);
        measure(&format!("splice {spans} spans of protobuf"), || {
            splice(Signal::Traces, &protobuf, &stamp, LIMIT)
        });
        let json = messages::json(spans);
        measure(&format!("splice {spans} spans of JSON"), || {
            splice_json(Signal::Traces, &json, &stamp, LIMIT)
        });
        let gzip = messages::gzip(&protobuf);
        measure(&format!("gunzip {spans} spans"), || Compression::Gzip.inflate(&gzip, LIMIT));
    }
}
