//! Target: no input takes long for its size. Clients are charged by bytes, so the time per byte must be bounded.
//!
//! The input is repeated until its time can be measured. It is a finding if the fastest of three runs exceeds the
//! bound. The bound is several times what the worst known inputs take, so a busy machine is no finding.

use std::rc::Rc;
use std::time::{Duration, Instant};

use otlp_gate_wire::encoding::Compression;
use otlp_gate_wire::otlp::{Owned, ResourceAttributes, Signal, splice, splice_json};

/// The time that each byte may take, and the time that a run may take in addition.
const EACH: Duration = Duration::from_nanos(if cfg!(debug_assertions) { 20_000 } else { 1000 });
const SLACK: Duration = Duration::from_millis(5);

/// The least size of an input, in bytes.
const SIZE: usize = 64 << 10;

/// The format of an input.
#[derive(Debug, Clone, Copy)]
pub enum Format {
    /// Protobuf.
    Protobuf,
    /// JSON.
    Json,
    /// gzip. The inflated bytes are not read.
    Gzip,
    /// zstd. The inflated bytes are not read.
    Zstd,
}

/// Reads `message`. Returns the bytes that a client is charged for it.
pub fn read(format: Format, message: &[u8]) -> usize {
    let owned = Rc::new(Owned::new(["tenant.id", "otlp_gate.client"], true));
    let attributes =
        ResourceAttributes::new(&owned, [("tenant.id", "acme"), ("otlp_gate.client", "acme-edge")]);
    let (mut out, mut work) = (Vec::new(), 0);
    let limit = 64 << 20;
    match format {
        Format::Protobuf => {
            for signal in Signal::ALL {
                if let Ok(splice) = splice(signal, message, &attributes, limit) {
                    assert!(splice.pieces(message).map(<[u8]>::len).sum::<usize>() == splice.len);
                }
            }
        }
        Format::Json => {
            for signal in Signal::ALL {
                if let Ok(splice) = splice_json(signal, message, &attributes, limit) {
                    assert!(splice.pieces(message).map(<[u8]>::len).sum::<usize>() == splice.len);
                }
            }
        }
        Format::Gzip => drop(Compression::Gzip.inflate_into(message, limit, &mut out, &mut work)),
        Format::Zstd => drop(Compression::Zstd.inflate_into(message, limit, &mut out, &mut work)),
    }
    message.len().max(work)
}

/// The time of the fastest of three runs, and the bytes that a client is charged.
pub fn time(format: Format, message: &[u8]) -> (Duration, usize) {
    let mut bytes = 0;
    let runs = (0..3).map(|_| {
        let begin = Instant::now();
        bytes = read(format, message);
        begin.elapsed()
    });
    (runs.min().unwrap_or_default(), bytes)
}

/// Runs one input.
pub fn target((kind, input): (u8, &[u8])) {
    if input.is_empty() {
        return;
    }
    let times = SIZE.div_ceil(input.len());
    let (format, message) = match kind % 4 {
        0 => (Format::Protobuf, input.repeat(times)),
        1 => (Format::Json, [b"{\"resourceSpans\":[", &input.repeat(times)[..], b"{}]}"].concat()),
        2 => (Format::Gzip, input.repeat(times)),
        _ => (Format::Zstd, input.repeat(times)),
    };
    let (took, bytes) = time(format, &message);
    let most = SLACK + EACH * u32::try_from(bytes).unwrap_or(u32::MAX);
    assert!(took <= most, "{took:?} for {bytes} bytes of {format:?}");
}
