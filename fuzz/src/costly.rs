//! Nothing takes long for its size: what a client is charged by the byte costs no more than so much a byte.
//!
//! The input is repeated until it is large enough for a clock. It counts as costly where the fastest of three runs is above the
//! bound, which is several times what the worst inputs known take, so that a busy machine is no finding.

use std::rc::Rc;
use std::time::{Duration, Instant};

use otlp_gate_wire::encoding::Compression;
use otlp_gate_wire::otlp::{Owned, ResourceAttributes, Signal, splice, splice_json};

/// The most that a byte may take, and what a run may take beside.
const EACH: Duration = Duration::from_nanos(if cfg!(debug_assertions) { 20_000 } else { 1000 });
const SLACK: Duration = Duration::from_millis(5);

/// As many bytes as are looked at, at least.
const SIZE: usize = 64 << 10;

/// How a request is read.
#[derive(Debug, Clone, Copy)]
pub enum Reading {
    /// Protobuf.
    Protobuf,
    /// JSON.
    Json,
    /// gzip, and what comes out of it not at all.
    Gzip,
    /// zstd, likewise.
    Zstd,
}

/// Reads `message`; gives the bytes that it is charged by.
pub fn read(reading: Reading, message: &[u8]) -> usize {
    let owned = Rc::new(Owned::new(["tenant.id", "otlp_gate.client"], true));
    let stamp = ResourceAttributes::new(&owned, [("tenant.id", "acme"), ("otlp_gate.client", "acme-edge")]);
    let (mut out, mut work) = (Vec::new(), 0);
    let limit = 64 << 20;
    match reading {
        Reading::Protobuf => {
            for signal in Signal::ALL {
                if let Ok(splice) = splice(signal, message, &stamp, limit) {
                    assert!(splice.pieces(message).map(<[u8]>::len).sum::<usize>() == splice.len);
                }
            }
        }
        Reading::Json => {
            for signal in Signal::ALL {
                if let Ok(splice) = splice_json(signal, message, &stamp, limit) {
                    assert!(splice.pieces(message).map(<[u8]>::len).sum::<usize>() == splice.len);
                }
            }
        }
        Reading::Gzip => drop(Compression::Gzip.inflate_into(message, limit, &mut out, &mut work)),
        Reading::Zstd => drop(Compression::Zstd.inflate_into(message, limit, &mut out, &mut work)),
    }
    message.len().max(work)
}

/// The time that the fastest of three runs takes, and the bytes that it is charged by.
pub fn time(reading: Reading, message: &[u8]) -> (Duration, usize) {
    let mut bytes = 0;
    let runs = (0..3).map(|_| {
        let begin = Instant::now();
        bytes = read(reading, message);
        begin.elapsed()
    });
    (runs.min().unwrap_or_default(), bytes)
}

/// Takes one input.
pub fn target((kind, input): (u8, &[u8])) {
    if input.is_empty() {
        return;
    }
    let times = SIZE.div_ceil(input.len());
    let (reading, message) = match kind % 4 {
        0 => (Reading::Protobuf, input.repeat(times)),
        1 => (Reading::Json, [b"{\"resourceSpans\":[", &input.repeat(times)[..], b"{}]}"].concat()),
        2 => (Reading::Gzip, input.repeat(times)),
        _ => (Reading::Zstd, input.repeat(times)),
    };
    let (took, bytes) = time(reading, &message);
    let most = SLACK + EACH * u32::try_from(bytes).unwrap_or(u32::MAX);
    assert!(took <= most, "{took:?} for {bytes} bytes of {reading:?}");
}
