//! The request of a gRPC health check. Source: grpc/health/v1/health.proto.

use super::protobuf::{Malformed, Reader};

/// The service in a HealthCheckRequest (field 1). An empty name stands for the whole server.
///
/// # Errors
/// The message is malformed, or has the field twice.
pub fn health_service(message: &[u8]) -> Result<&[u8], Malformed> {
    let (mut service, mut reader) = (None, Reader::whole(message));
    while let Some(field) = reader.next()? {
        if field.number == 1 {
            let span = field.message()?;
            if service.replace(message.get(span.start..span.end).unwrap_or_default()).is_some() {
                return Err(Malformed { what: "more than one service", at: field.start });
            }
        }
    }
    Ok(service.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_check_has_one_service_or_none() {
        assert_eq!(health_service(b""), Ok(&b""[..]));
        assert_eq!(health_service(b"\x0a\x01a"), Ok(&b"a"[..]));
        // With an unknown field.
        assert_eq!(health_service(b"\x10\x07\x0a\x01a"), Ok(&b"a"[..]));
        for bad in [&b"\x0a\x05a"[..], b"\x08\x01", b"\x0a\x01a\x0a\x01a", b"hello"] {
            assert!(health_service(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(message in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = health_service(&message);
        }
    }
}
