//! What the backend's answer says of a request: whether it took it, and whether its client may send it again.
//!
//! Sources: OTLP specification ("Failures", "OTLP/gRPC Throttling", "OTLP/HTTP Response"), google/rpc/status.proto.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use otlp_gate_wire::otlp::find_bytes;

/// A backend's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It took the request.
    Taken,
    /// It did not take the request, and says that it may be sent again: its client gets back what it was charged.
    Again,
    /// It did not take the request for good. That stays charged: else what no backend takes could be sent without end.
    Refused,
}

/// gRPC's binary headers come with padding or without (gRPC over HTTP2, "Binary-Header").
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The longest status details that are looked at, in bytes of base64: more than a header may have in Envoy.
const LONGEST: usize = 64 << 10;

impl Answer {
    /// What an answer over gRPC says by its `grpc-status` and `grpc-status-details-bin`.
    pub fn grpc(status: &[u8], details: impl FnOnce() -> Option<Vec<u8>>) -> Answer {
        match status {
            b"0" => Answer::Taken,
            b"14" => Answer::Again,
            b"8" if details().is_some_and(|details| has_retry_info(&details)) => Answer::Again,
            _ => Answer::Refused,
        }
    }

    /// What an answer over HTTP says by its status. One to gRPC that has no `grpc-status` is read so, too, as clients do.
    pub fn http(status: &[u8]) -> Answer {
        match status {
            [b'2', _, _] => Answer::Taken,
            b"429" | b"502" | b"503" | b"504" => Answer::Again,
            _ => Answer::Refused,
        }
    }
}

/// Whether a google.rpc.Status in base64 has google.rpc.RetryInfo among its details (3), each a google.protobuf.Any whose
/// type_url is 1.
fn has_retry_info(details: &[u8]) -> bool {
    let Some(status) = details.get(..LONGEST.min(details.len())).and_then(|text| BASE64.decode(text).ok())
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

    /// What another gate says, as a backend: over its quota for now, or for good.
    fn details(refusal: Throttled) -> Option<Vec<u8>> {
        let response = Reason::Quota { client: None, refusal }.response(Protocol::Grpc, 0);
        let found = response.headers.into_iter().find(|(name, _)| *name == "grpc-status-details-bin");
        found.map(|(_, value)| value.into_bytes())
    }

    #[test]
    fn only_what_may_be_sent_again_comes_back() {
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
            ("0", &none as &dyn Fn() -> Option<Vec<u8>>, Answer::Taken),
            ("14", &none, Answer::Again),
            ("8", &over, Answer::Again),
            ("8", &padded, Answer::Again),
            ("8", &none, Answer::Refused),
            ("8", &other, Answer::Refused),
            ("8", &|| Some(b"%%%".to_vec()), Answer::Refused),
            ("8", &|| Some(vec![b'A'; 1 << 20]), Answer::Refused),
            // No other status is made one that may be sent again by its details.
            ("3", &over, Answer::Refused),
            ("13", &over, Answer::Refused),
            ("1", &none, Answer::Refused),
            ("4", &none, Answer::Refused),
            ("08", &over, Answer::Refused),
            ("", &none, Answer::Refused),
            ("no number", &none, Answer::Refused),
        ] {
            assert_eq!(Answer::grpc(status.as_bytes(), details), want, "{status}");
        }
        for (status, want) in [
            ("200", Answer::Taken),
            ("202", Answer::Taken),
            ("429", Answer::Again),
            ("502", Answer::Again),
            ("503", Answer::Again),
            ("504", Answer::Again),
            ("400", Answer::Refused),
            ("408", Answer::Refused),
            ("413", Answer::Refused),
            ("500", Answer::Refused),
            ("501", Answer::Refused),
            ("302", Answer::Refused),
            ("2000", Answer::Refused),
            ("", Answer::Refused),
        ] {
            assert_eq!(Answer::http(status.as_bytes()), want, "{status}");
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
