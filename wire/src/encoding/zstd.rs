//! zstd (RFC 8878), one frame after another until the input ends, without skippable frames, as Go's klauspost/compress
//! takes it.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{InflateError, cost_of_parts};

/// The most blocks in all frames of a body. Ten bytes can ask for tables that cost as much as a page. Encoders make
/// blocks of 128 KiB, so no body needs nearly as many.
pub(super) const MAX_BLOCKS: usize = 4096;

/// The largest window that a frame may ask for, in bytes. RFC 8878 (3.1.1.1.2) requires every decoder to support it,
/// and encoders do not use a larger one by default. The decoder holds as much before it returns anything.
const MAX_WINDOW: usize = 8 << 20;

/// The most bytes that a block inflates to (RFC 8878, 3.1.1.2.4).
const LARGEST_BLOCK: usize = 128 << 10;

/// The reserved bit of a frame's descriptor, which follows the magic number. No frame may set it.
const RESERVED: u8 = 8;

/// Inflates all frames of `body`.
pub(super) fn unzstd(
    body: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
    work: &mut usize,
) -> Result<(), InflateError> {
    let mut blocks = MAX_BLOCKS;
    let mut rest = body;
    while !rest.is_empty() {
        let inflated = frame(rest, out, limit, &mut blocks);
        let parts = MAX_BLOCKS - blocks;
        *work = out.len() + cost_of_parts(parts);
        if inflated.is_err() {
            // The decoder has also worked on what it holds and did not return.
            *work = (*work).max((parts * LARGEST_BLOCK).min(limit.max(MAX_WINDOW)));
        }
        rest = inflated?;
    }
    Ok(())
}

/// Inflates or skips the first frame of `body`. Returns the bytes after it.
fn frame<'a>(
    body: &'a [u8],
    out: &mut Vec<u8>,
    limit: usize,
    blocks: &mut usize,
) -> Result<&'a [u8], InflateError> {
    // A decoder for each frame: a new one allocates memory for its output, while one that is used again allocates a
    // whole window.
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(limit.max(MAX_WINDOW) as u64);
    let mut rest = body;
    match decoder.init(&mut rest) {
        Ok(()) => {}
        Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
            return rest.get(length as usize..).ok_or(InflateError::Invalid);
        }
        Err(FrameDecoderError::WindowSizeTooBig { .. }) => return Err(InflateError::TooLarge),
        Err(_) => return Err(InflateError::Invalid),
    }
    if body.get(4).is_none_or(|descriptor| descriptor & RESERVED != 0) {
        return Err(InflateError::Invalid);
    }
    let before = out.len();
    let (size, room) = (decoder.content_size(), limit.saturating_sub(before));
    if size > room as u64 {
        return Err(InflateError::TooLarge);
    }
    while !decoder.is_finished() {
        *blocks = blocks.checked_sub(1).ok_or(InflateError::TooManyParts)?;
        decoder
            .decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|_| InflateError::Invalid)?;
        if decoder.can_collect() > limit.saturating_sub(out.len()) {
            return Err(InflateError::TooLarge);
        }
        out.reserve(decoder.can_collect());
        decoder.collect_to_writer(&mut *out).map_err(|_| InflateError::Invalid)?;
    }
    // The decoder reports 0 both for no size and for a size of 0.
    if size != 0 && size != (out.len() - before) as u64 {
        return Err(InflateError::Invalid);
    }
    if decoder.get_checksum_from_data().is_some_and(|sum| decoder.get_calculated_checksum() != Some(sum)) {
        return Err(InflateError::Invalid);
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::super::Compression;
    use super::{InflateError, MAX_BLOCKS};

    fn unzstd(body: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        Compression::Zstd.inflate(body, limit)
    }

    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    /// A descriptor byte: with a window, without a size.
    const WINDOW: u8 = 0;
    /// A descriptor byte: with a size of one byte, without a window.
    const SIZE: u8 = 0x20;
    /// The default window of encoders.
    const EIGHT_MIB: u8 = 13 << 3;
    /// Types of blocks. A block header has 3 bytes: whether it is the last (1 bit), its type (2 bits), its size (21
    /// bits).
    const RAW: u32 = 0;
    const RLE: u32 = 2;

    fn zstd(data: &[u8]) -> Vec<u8> {
        compress_to_vec(data, CompressionLevel::Fastest)
    }

    fn block(last: bool, kind: u32, size: u32, content: &[u8]) -> Vec<u8> {
        [&(size << 3 | kind | u32::from(last)).to_le_bytes()[..3], content].concat()
    }

    fn by_hand(header: &[u8], blocks: &[Vec<u8>]) -> Vec<u8> {
        [&MAGIC[..], header, &blocks.concat()].concat()
    }

    fn skippable(content: &[u8]) -> Vec<u8> {
        [&[0x5f, 0x2a, 0x4d, 0x18][..], &(content.len() as u32).to_le_bytes(), content].concat()
    }

    /// 16 MiB in 128 blocks of 4 bytes.
    fn bomb() -> Vec<u8> {
        let blocks: Vec<_> = (0..128).map(|at| block(at == 127, RLE, 128 << 10, &[7])).collect();
        by_hand(&[WINDOW, EIGHT_MIB], &blocks)
    }

    /// Written by klauspost/compress 1.20.4: `EncodeAll`, and a `Writer` that was flushed in between.
    #[test]
    fn frames_written_by_go_are_read() {
        let want = "telemetry of acme, ".repeat(40) + "the end";
        for text in [
            "KLUv/UQA/wEVAQCUAXRlbGVtZXRyeSBvZiBhY21lLCBoZSBlbmQBVBEELcdZCcrvqQ==",
            "KLUv/QRo5AAANAF0ZWxlbWV0cnkgb2YgYWNtZSwgAVQRBCwtLH0AADBoZSBlbmQBVAAILMogAQnK76k=",
        ] {
            let wire = STANDARD.decode(text).unwrap();
            assert_eq!(unzstd(&wire, 1000), Ok(want.clone().into_bytes()));
            assert_eq!(unzstd(&wire, want.len() - 1), Err(InflateError::TooLarge));
            for cut in 1..wire.len() {
                assert_eq!(unzstd(&wire[..cut], 1000), Err(InflateError::Invalid), "{cut}");
            }
            let mut damaged = wire.clone();
            *damaged.last_mut().unwrap() ^= 1;
            assert_eq!(unzstd(&damaged, 1000), Err(InflateError::Invalid), "a wrong checksum");
        }
    }

    #[test]
    fn frames_follow_one_another_and_skippable_ones_are_empty() {
        let wire = [skippable(b"x"), zstd(b"he"), skippable(b""), zstd(b""), zstd(b"llo"), skippable(b"y")];
        assert_eq!(unzstd(&wire.concat(), 5), Ok(b"hello".to_vec()));
        assert_eq!(unzstd(&wire.concat(), 4), Err(InflateError::TooLarge));
        // As in Go, whose encoder writes nothing for an empty input.
        assert_eq!(unzstd(b"", 5), Ok(vec![]));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        assert_eq!(unzstd(&bomb(), 1 << 20), Err(InflateError::TooLarge));
        assert_eq!(unzstd(&bomb(), (16 << 20) - 1), Err(InflateError::TooLarge));
        assert_eq!(unzstd(&bomb(), 16 << 20).unwrap().len(), 16 << 20);
    }

    #[test]
    fn a_window_or_size_that_is_too_large_is_rejected_at_the_header() {
        let empty = [block(true, RAW, 0, b"")];
        assert_eq!(unzstd(&by_hand(&[WINDOW, EIGHT_MIB], &empty), 10), Ok(vec![]));
        for header in [
            // the next larger window; 2 TiB; sizes of 11 bytes, and of all that 64 bits hold
            &[WINDOW, EIGHT_MIB + 1][..],
            &[WINDOW, 31 << 3],
            &[SIZE, 11],
            &[SIZE | 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(unzstd(&by_hand(header, &empty), 10), Err(InflateError::TooLarge), "{header:?}");
        }
        // With a larger limit, windows may be larger, too.
        assert_eq!(unzstd(&by_hand(&[WINDOW, 14 << 3], &empty), 16 << 20), Ok(vec![]));
    }

    #[test]
    fn blocks_are_bounded() {
        let many = |count: usize| {
            let blocks: Vec<_> = (1..=count).map(|at| block(at == count, RAW, 0, b"")).collect();
            by_hand(&[WINDOW, 0], &blocks)
        };
        assert_eq!(unzstd(&many(MAX_BLOCKS), 10), Ok(vec![]));
        assert_eq!(unzstd(&many(MAX_BLOCKS + 1), 10), Err(InflateError::TooManyParts));
        assert_eq!(unzstd(&many(1).repeat(MAX_BLOCKS + 1), 10), Err(InflateError::TooManyParts));
    }

    #[test]
    fn other_bytes_than_zstd_are_rejected() {
        let last = |size, content: &[u8]| [block(true, RAW, size, content)];
        assert_eq!(unzstd(&by_hand(&[SIZE, 2], &last(2, b"ab")), 10), Ok(b"ab".to_vec()));
        for (case, wire) in [
            ("no zstd", b"hello".to_vec()),
            ("bytes behind it", [zstd(b"hello"), b"x".to_vec()].concat()),
            ("zeros behind it", [zstd(b"hello"), vec![0; 8]].concat()),
            ("a truncated skippable frame", skippable(b"abc")[..9].to_vec()),
            ("a dictionary", by_hand(&[SIZE | 1, 7, 2], &last(2, b"ab"))),
            ("the reserved bit", by_hand(&[SIZE | 8, 2], &last(2, b"ab"))),
            ("less than the size", by_hand(&[SIZE, 3], &last(2, b"ab"))),
            ("more than the size", by_hand(&[SIZE, 1], &last(2, b"ab"))),
            ("the reserved type of block", by_hand(&[SIZE, 2], &[block(true, 6, 2, b"ab")])),
            (
                "a block above 128 KiB",
                by_hand(&[WINDOW, EIGHT_MIB], &[block(true, RLE, (128 << 10) + 1, b"a")]),
            ),
            ("literals that are missing", by_hand(&[WINDOW, EIGHT_MIB], &[block(true, 4, 2, &[0xff, 0xff])])),
        ] {
            assert_eq!(unzstd(&wire, 1 << 20), Err(InflateError::Invalid), "{case}");
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_in_order(parts in prop::collection::vec(prop::collection::vec(0..4u8, 0..3000), 1..4)) {
            let wire: Vec<u8> = parts.iter().flat_map(|part| zstd(part)).collect();
            prop_assert_eq!(unzstd(&wire, 1 << 20), Ok(parts.concat()));
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(0..8u8, 0..300), at in 0..300usize, flip in any::<u8>(),
        ) {
            let _ = unzstd(&bytes, 1000);
            let mut wire = zstd(&bytes);
            let at = at % wire.len();
            wire[at] ^= flip;
            if let Ok(out) = unzstd(&wire, 1000) {
                prop_assert!(out.len() <= 1000);
            }
        }
    }
}
