//! What the worst inputs known cost: nanoseconds for each byte that a client is charged for them. Times depend on the machine, so this runs
//! when it is asked for: `cargo test --release --test cost -- --ignored --nocapture`.

use std::io::Write;

use otlp_gate_fuzz::costly::{Reading, time};

const MIB: usize = 1 << 20;

/// A field with a length in front.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
    out
}

/// One entry with one Resource of this content.
fn resource(content: &[u8]) -> Vec<u8> {
    field(1, &field(1, content))
}

/// Blocks of deflate with tables of their own and nothing else, in gzip: RFC 1951, 3.2.7.
fn empty_blocks(times: usize) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    // A fixed block that ends at once is ten bits; eight of them are ten bytes.
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
    // Stored blocks (RFC 1951, 3.2.4), so that nothing here has to compress.
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
fn what_a_byte_costs_at_worst() {
    let json = |entry: &str, times: usize| {
        [b"{\"resourceSpans\":[", vec![entry; times].join(",").as_bytes(), b"]}"].concat()
    };
    let corpus = [
        ("attributes without content", Reading::Protobuf, resource(&[0x0a, 0].repeat(4 * MIB))),
        ("owned attributes", Reading::Protobuf, resource(&field(1, &field(1, b"tenant.id")).repeat(100_000))),
        ("groups", Reading::Protobuf, [0x0b, 0x0c].repeat(4 * MIB)),
        ("fields of one byte", Reading::Protobuf, [0x78, 0].repeat(4 * MIB)),
        ("empty entries", Reading::Protobuf, [0x0a, 0].repeat(60_000)),
        ("spans without content", Reading::Protobuf, field(1, &field(2, &[0x12, 0].repeat(4 * MIB)))),
        ("JSON, empty entries", Reading::Json, json("{}", 100_000)),
        (
            "JSON, empty attributes",
            Reading::Json,
            json(&format!("{{\"resource\":{{\"attributes\":[{}]}}}}", vec!["{}"; MIB].join(",")), 1),
        ),
        (
            "JSON, escapes",
            Reading::Json,
            json(
                &format!("{{\"resource\":{{\"attributes\":[{{\"key\":\"{}\"}}]}}}}", "\\u0061".repeat(MIB)),
                1,
            ),
        ),
        (
            "JSON, members",
            Reading::Json,
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
            Reading::Json,
            json(&format!("{{\"x\":[{}]}}", vec!["[[[[]]]]"; MIB].join(",")), 1),
        ),
        ("gzip, empty blocks", Reading::Gzip, empty_blocks(MIB / 10)),
        ("gzip, many members", Reading::Gzip, gzip(256, b"")),
        (
            "zstd, tiny blocks",
            Reading::Zstd,
            [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x68][..], &[0x0a, 0, 0, 7].repeat(4000)].concat(),
        ),
    ];
    let mut out = std::io::stdout().lock();
    for (name, reading, message) in corpus {
        let (took, bytes) = time(reading, &message);
        // Of protobuf and JSON every signal is read.
        let signals = if matches!(reading, Reading::Protobuf | Reading::Json) { 4.0 } else { 1.0 };
        let each = took.as_nanos() as f64 / bytes as f64 / signals;
        let _ = writeln!(out, "{each:8.1} ns a byte, {bytes:9} bytes: {name}");
    }
}
