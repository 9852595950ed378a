//! Target: a whole request with any headers and any body in any chunks is forwarded or rejected, and no memory is held
//! afterwards.

use std::rc::Rc;

use otlp_gate_core::gate::{Gate, Head, Memory, Request};
use otlp_gate_core::identity::Identity;
use otlp_gate_core::quota::{Store, StoreFailed};
use otlp_gate_core::time::Timestamp;

/// A store that returns the same bytes for every key.
struct Any<'a>(&'a [u8]);

impl Store for Any<'_> {
    fn get(&self, _key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        Ok(Some((self.0.to_vec(), 1)))
    }

    fn set(&self, _key: &str, _value: &[u8], _version: u32) -> Result<bool, StoreFailed> {
        Ok(true)
    }
}

const POLICY: &str = r#"{"clients":[{"name":"a","match":{"dns":"a"},"attributes":{"t":"acme"}}],
    "quotas":{"tiers":{"default":{"requests":"5/s","bytes":"1MiB/s","items":"1k/s"}}}}"#;

/// Runs one input.
pub fn target(input: (u8, u8, Vec<&[u8]>, &[u8], u64)) {
    let (kind, encoding, chunks, stored, now) = input;
    let now = Timestamp::from_nanos(now);
    let Ok(gate) = Gate::load(POLICY.as_bytes()).map(Rc::new) else { panic!("the policy is valid") };
    let identity = Identity::from_texts(&[], &["a"], None, Some([0; 32]));
    let Ok(client) = gate.client(&identity).map(Rc::new) else { panic!("the client is known") };
    let signal = otlp_gate_wire::otlp::Signal::ALL[usize::from(kind % 4)];
    let (path, content_type, name): (_, &[u8], &[u8]) = match kind / 4 % 3 {
        0 => (signal.grpc_path(), b"application/grpc", b"grpc-encoding"),
        1 => (signal.http_path(), b"application/x-protobuf", b"content-encoding"),
        _ => (signal.http_path(), b"application/json", b"content-encoding"),
    };
    let mut headers: Vec<(&[u8], &[u8])> =
        vec![(b":method", b"POST"), (b":path", path.as_bytes()), (b"content-type", content_type)];
    match encoding % 4 {
        0 => {}
        1 => headers.push((name, b"gzip")),
        2 if kind / 4 % 3 != 0 => headers.push((name, b"deflate")),
        _ => headers.push((name, b"zstd")),
    }
    let Ok(head) = Head::read(&headers) else { panic!("an OTLP export") };
    let (memory, store) = (Memory::default(), Any(stored));
    if let Ok(mut request) = Request::open(&gate, &client, head, &memory, &store, now) {
        for chunk in chunks {
            let Ok(body) = request.body(chunk.len()) else { break };
            body.extend_from_slice(chunk);
        }
        if let Ok(outgoing) = request.finish(&store, now) {
            let _: usize = outgoing.pieces().map(<[u8]>::len).sum();
        }
        request.refund(&store, now);
    }
    assert_eq!(memory.held(), 0);
}
