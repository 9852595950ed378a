//! The outcome of a forwarded request, from its response: whether the backend accepted it, and if not, whether its
//! client may retry.
//!
//! Sources: OTLP specification ("Failures", "OTLP/gRPC Throttling", "OTLP/HTTP Response"), google/rpc/status.proto.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use otlp_gate_wire::otlp::find_bytes;

/// What became of a forwarded request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The backend accepted it.
    Accepted,
    /// The backend rejected it and allows a retry: what it was charged is refunded.
    Retryable,
    /// The backend rejected it for good. It stays charged: otherwise a client could send without end what no backend
    /// accepts.
    Rejected,
}

/// Values of gRPC's binary headers may have padding or not (gRPC over HTTP2, "Binary-Header").
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The longest status details that are read, in bytes of base64: more than Envoy allows in a header.
const LONGEST_DETAILS: usize = 64 << 10;

impl Outcome {
    /// The outcome by the `grpc-status` and `grpc-status-details-bin` of a gRPC response.
    pub fn of_grpc(status: &[u8], details: impl FnOnce() -> Option<Vec<u8>>) -> Outcome {
        match status {
            b"0" => Outcome::Accepted,
            b"14" => Outcome::Retryable,
            b"8" if details().is_some_and(|details| has_retry_info(&details)) => Outcome::Retryable,
            _ => Outcome::Rejected,
        }
    }

    /// The outcome by the status of an HTTP response; also of a response to gRPC without `grpc-status`, as gRPC clients
    /// read it.
    pub fn of_http(status: &[u8]) -> Outcome {
        match status {
            [b'2', _, _] => Outcome::Accepted,
            b"429" | b"502" | b"503" | b"504" => Outcome::Retryable,
            _ => Outcome::Rejected,
        }
    }
}

/// Whether a google.rpc.Status in base64 has a google.rpc.RetryInfo among its details (field 3). Each detail is a
/// google.protobuf.Any with its type_url in field 1.
fn has_retry_info(details: &[u8]) -> bool {
    let Some(status) =
        details.get(..LONGEST_DETAILS.min(details.len())).and_then(|text| BASE64.decode(text).ok())
    else {
        return false;
    };
    find_bytes(&status, 3).any(|any| find_bytes(any, 1).any(|url| url.ends_with(b"/google.rpc.RetryInfo")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::quota::{Dimension, Limit, Throttled};
    use crate::response::{Protocol, Reason};
    use proptest::prelude::*;

    /// The details that another gate sends as a backend: over quota for now, or a request that never fits.
    fn details(throttled: Throttled) -> Option<Vec<u8>> {
        let response = Reason::Quota { client: None, throttled }.response(Protocol::Grpc, 0);
        let found = response.headers.into_iter().find(|(name, _)| *name == "grpc-status-details-bin");
        found.map(|(_, value)| value.into_bytes())
    }

    #[test]
    fn only_retryable_responses_are_retryable() {
        let limit = Limit { rate: 1, capacity: 1 };
        let dimension = Dimension::Items;
        let wait = Duration::from_secs(1);
        let over = || details(Throttled::RetryAfter { dimension, limit, asked: 1, wait });
        let padded = || {
            over().map(|mut text| {
                text.resize(text.len().next_multiple_of(4), b'=');
                text
            })
        };
        let other = || Some(b"CAgSA25vGigKJnR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5FcnJvckluZm8".to_vec());
        let none: fn() -> Option<Vec<u8>> = || None;
        for (status, details, want) in [
            ("0", &none as &dyn Fn() -> Option<Vec<u8>>, Outcome::Accepted),
            ("14", &none, Outcome::Retryable),
            ("8", &over, Outcome::Retryable),
            ("8", &padded, Outcome::Retryable),
            ("8", &none, Outcome::Rejected),
            ("8", &other, Outcome::Rejected),
            ("8", &|| Some(b"%%%".to_vec()), Outcome::Rejected),
            ("8", &|| Some(vec![b'A'; 1 << 20]), Outcome::Rejected),
            // RetryInfo makes no other status retryable.
            ("3", &over, Outcome::Rejected),
            ("13", &over, Outcome::Rejected),
            ("1", &none, Outcome::Rejected),
            ("4", &none, Outcome::Rejected),
            ("08", &over, Outcome::Rejected),
            ("", &none, Outcome::Rejected),
            ("no number", &none, Outcome::Rejected),
        ] {
            assert_eq!(Outcome::of_grpc(status.as_bytes(), details), want, "{status}");
        }
        for (status, want) in [
            ("200", Outcome::Accepted),
            ("202", Outcome::Accepted),
            ("429", Outcome::Retryable),
            ("502", Outcome::Retryable),
            ("503", Outcome::Retryable),
            ("504", Outcome::Retryable),
            ("400", Outcome::Rejected),
            ("408", Outcome::Rejected),
            ("413", Outcome::Rejected),
            ("500", Outcome::Rejected),
            ("501", Outcome::Rejected),
            ("302", Outcome::Rejected),
            ("2000", Outcome::Rejected),
            ("", Outcome::Rejected),
        ] {
            assert_eq!(Outcome::of_http(status.as_bytes()), want, "{status}");
        }
    }

    proptest! {
        #[test]
        fn no_details_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            has_retry_info(&bytes);
            has_retry_info(BASE64.encode(&bytes).as_bytes());
        }
    }
}
