//! The cost of the worst known inputs, in nanoseconds per byte that a client is charged. Times depend on the machine,
//! so the measurement runs only on request: `cargo test --release --test cost -- --ignored --nocapture`.

use std::io::Write;

use otlp_gate_fuzz::costly::{Format, time};
use otlp_gate_wire::otlp::put_bytes;

const MIB: usize = 1 << 20;

/// A length-delimited field.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, u32::from(number), bytes);
    out
}

/// An entry with a Resource of this content.
fn resource(content: &[u8]) -> Vec<u8> {
    field(1, &field(1, content))
}

/// gzip of many deflate blocks without content.
fn empty_blocks(times: usize) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    // A block with fixed codes (RFC 1951, 3.2.6) and only the end code has ten bits. Eight of them have ten bytes.
    let mut bits = 0u128;
    for block in 0..8 {
        bits |= 0b010u128 << (block * 10);
    }
    out.extend(bits.to_le_bytes()[..10].repeat(times));
    out.extend([3, 0]);
    out.extend([0; 8]);
    out
}

fn gzip(members: usize, content: &[u8]) -> Vec<u8> {
    // Stored blocks (RFC 1951, 3.2.4) need no compressor.
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    member.extend((content.len() as u16).to_le_bytes());
    member.extend((!(content.len() as u16)).to_le_bytes());
    member.extend(content);
    member.extend([0; 4]);
    member.extend((content.len() as u32).to_le_bytes());
    member.repeat(members)
}

#[test]
#[ignore = "measures time"]
fn cost_per_byte_of_the_worst_inputs() {
    let json = |entry: &str, times: usize| {
        [b"{\"resourceSpans\":[", vec![entry; times].join(",").as_bytes(), b"]}"].concat()
    };
    let corpus = [
        ("attributes without content", Format::Protobuf, resource(&[0x0a, 0].repeat(4 * MIB))),
        ("owned attributes", Format::Protobuf, resource(&field(1, &field(1, b"tenant.id")).repeat(100_000))),
        ("groups", Format::Protobuf, [0x0b, 0x0c].repeat(4 * MIB)),
        ("fields of one byte", Format::Protobuf, [0x78, 0].repeat(4 * MIB)),
        ("empty entries", Format::Protobuf, [0x0a, 0].repeat(60_000)),
        ("spans without content", Format::Protobuf, field(1, &field(2, &[0x12, 0].repeat(4 * MIB)))),
        ("JSON, empty entries", Format::Json, json("{}", 100_000)),
        (
            "JSON, empty attributes",
            Format::Json,
            json(&format!("{{\"resource\":{{\"attributes\":[{}]}}}}", vec!["{}"; MIB].join(",")), 1),
        ),
        (
            "JSON, escapes",
            Format::Json,
            json(
                &format!("{{\"resource\":{{\"attributes\":[{{\"key\":\"{}\"}}]}}}}", "\\u0061".repeat(MIB)),
                1,
            ),
        ),
        (
            "JSON, members",
            Format::Json,
            json(
                &format!(
                    "{{{}}}",
                    (0..MIB / 4).map(|n| format!("\"{n:x}\":0")).collect::<Vec<_>>().join(",")
                ),
                1,
            ),
        ),
        (
            "JSON, nested arrays",
            Format::Json,
            json(&format!("{{\"x\":[{}]}}", vec!["[[[[]]]]"; MIB].join(",")), 1),
        ),
        ("gzip, empty blocks", Format::Gzip, empty_blocks(MIB / 10)),
        ("gzip, many members", Format::Gzip, gzip(256, b"")),
        (
            "zstd, tiny blocks",
            Format::Zstd,
            [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x68][..], &[0x0a, 0, 0, 7].repeat(4000)].concat(),
        ),
    ];
    let mut out = std::io::stdout().lock();
    for (name, format, message) in corpus {
        let (took, bytes) = time(format, &message);
        // Protobuf and JSON are read once for each signal.
        let signals = if matches!(format, Format::Protobuf | Format::Json) { 4.0 } else { 1.0 };
        let each = took.as_nanos() as f64 / bytes as f64 / signals;
        let _ = writeln!(out, "{each:8.1} ns per byte, {bytes:9} bytes: {name}");
    }
}
