//! gzip (RFC 1952), one member after another until the input ends, as Go's reader takes it, and zlib (RFC 1950).

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{InflateError, cost_of_parts};

/// The most members of a gzip body. Each needs a decoder to be set up, so twenty bytes of input could cost as much as a
/// page.
pub(super) const MAX_MEMBERS: usize = 256;

/// zlib's window bits for gzip with its header and the largest window.
const GZIP: u8 = 16 + 15;

/// zlib's window bits for its own format and the largest window.
const ZLIB: u8 = 15;

/// Inflates all members of `body`.
pub(super) fn gunzip(
    body: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
    work: &mut usize,
) -> Result<(), InflateError> {
    out.reserve_exact(first_capacity(body, limit));
    let mut rest = body;
    for parts in 1..=MAX_MEMBERS {
        let inflated = member(rest, out, limit, GZIP);
        *work = out.len() + cost_of_parts(parts);
        rest = inflated?;
        if rest.is_empty() {
            return Ok(());
        }
    }
    Err(InflateError::TooManyParts)
}

/// Inflates one stream. Bytes after it are an error: Go's reader does not look at them, and no byte may have two
/// readings.
pub(super) fn unzlib(
    body: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
    work: &mut usize,
) -> Result<(), InflateError> {
    let inflated = member(body, out, limit, ZLIB);
    *work = out.len();
    match inflated? {
        [] => Ok(()),
        _ => Err(InflateError::Invalid),
    }
}

/// The length in the trailer of a gzip body: what its last member inflates to, modulo 2^32. A client can send any
/// number.
pub fn gzip_length(body: &[u8]) -> Option<u64> {
    Some(u64::from(u32::from_le_bytes(*body.last_chunk()?)))
}

/// Inflates the first member of `body`. Returns the bytes after it.
fn member<'a>(
    mut body: &'a [u8],
    out: &mut Vec<u8>,
    limit: usize,
    format: u8,
) -> Result<&'a [u8], InflateError> {
    let mut inflate = Inflate::new(true, format);
    loop {
        if out.len() == out.capacity() {
            // One byte above the limit, to tell a stream that ends at the limit from one that goes on.
            let more = out.len().max(4096).min((limit + 1).saturating_sub(out.len()));
            out.reserve_exact(more);
        }
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress_uninit(body, out.spare_capacity_mut(), InflateFlush::NoFlush);
        let (read, written) =
            ((inflate.total_in() - read) as usize, (inflate.total_out() - written) as usize);
        // SAFETY: the decoder has just written `written` bytes at the start of the spare capacity.
        unsafe { out.set_len(out.len() + written) };
        // Bytes that came out before an error cost as much as others, so they are counted first.
        let status = status.map_err(|_| InflateError::Invalid)?;
        body = body.get(read..).unwrap_or_default();
        if out.len() > limit {
            return Err(InflateError::TooLarge);
        }
        match status {
            Status::StreamEnd => return Ok(body),
            // There was room left, and the member does not end: the input is truncated.
            _ if read == 0 && written == 0 => return Err(InflateError::Invalid),
            _ if body.is_empty() && out.len() < out.capacity() => return Err(InflateError::Invalid),
            _ => {}
        }
    }
}

/// The length in the trailer of the last member, at most what deflate can reach. It is a hint: trailers may be wrong.
fn first_capacity(body: &[u8], limit: usize) -> usize {
    const MAX_RATIO: usize = 1032;
    let hint = body.last_chunk().map_or(0, |tail| u32::from_le_bytes(*tail) as usize);
    hint.min(body.len().saturating_mul(MAX_RATIO)).min(limit).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::super::Compression;
    use super::{GZIP, InflateError, MAX_MEMBERS, Status, ZLIB, first_capacity, gzip_length};
    use proptest::prelude::*;
    use zlib_rs::{Deflate, DeflateFlush};

    fn gunzip(body: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        Compression::Gzip.inflate(body, limit)
    }

    fn unzlib(body: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        Compression::Zlib.inflate(body, limit)
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        compress(data, GZIP)
    }

    fn compress(data: &[u8], format: u8) -> Vec<u8> {
        let mut out = vec![0; data.len() + 1000];
        let mut deflate = Deflate::new(6, true, format);
        assert_eq!(deflate.compress(data, &mut out, DeflateFlush::Finish), Ok(Status::StreamEnd));
        out.truncate(deflate.total_out() as usize);
        out
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert_eq!(gunzip(&bomb, 1 << 20), Err(InflateError::TooLarge));
        assert_eq!(gunzip(&bomb, (10 << 20) - 1), Err(InflateError::TooLarge));
        assert_eq!(gunzip(&bomb, 10 << 20).unwrap().len(), 10 << 20);
    }

    #[test]
    fn a_wrong_trailer_is_only_a_hint() {
        let mut wrong = gzip(&[7; 100]);
        let end = wrong.len();
        wrong[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(gunzip(&wrong, 64 << 20), Err(InflateError::Invalid));
        assert!(first_capacity(&wrong, 64 << 20) < 100_000);
    }

    #[test]
    fn members_are_bounded() {
        let one = gzip(b"");
        assert_eq!(gunzip(&one.repeat(MAX_MEMBERS), 10), Ok(vec![]));
        assert_eq!(gunzip(&one.repeat(MAX_MEMBERS + 1), 10), Err(InflateError::TooManyParts));
    }

    #[test]
    fn work_is_reported_also_on_errors() {
        let work = |wire: &[u8], limit| {
            let mut work = 0;
            let result = Compression::Gzip.inflate_into(wire, limit, &mut Vec::new(), &mut work);
            (result, work)
        };
        let good = gzip(&[7; 5000]);
        assert_eq!(gzip_length(&good), Some(5000));
        assert_eq!(work(&good, 9000), (Ok(()), 5000));
        assert_eq!(work(&good, 4000), (Err(InflateError::TooLarge), 4001));
        assert_eq!(work(&[&good[..], b"x"].concat(), 9000), (Err(InflateError::Invalid), 5000));
        let mut damaged = good.clone();
        let end = damaged.len();
        damaged[end - 6] ^= 1;
        assert_eq!(work(&damaged, 9000), (Err(InflateError::Invalid), 5000));
        let (_, many) = work(&gzip(b"").repeat(MAX_MEMBERS), 9000);
        assert!(many > 1 << 20, "{many}");
    }

    #[test]
    fn other_bytes_than_gzip_are_rejected() {
        let good = gzip(b"hello");
        assert_eq!(gunzip(b"", 100), Err(InflateError::Invalid));
        assert_eq!(gunzip(b"hello", 100), Err(InflateError::Invalid));
        assert_eq!(gunzip(&[&good[..], b"x"].concat(), 100), Err(InflateError::Invalid));
        assert_eq!(gunzip(&[&good[..], &[0; 8]].concat(), 100), Err(InflateError::Invalid));
        for cut in 0..good.len() {
            assert_eq!(gunzip(&good[..cut], 100), Err(InflateError::Invalid), "{cut}");
        }
        let mut damaged = good.clone();
        let crc = good.len() - 8;
        damaged[crc] ^= 1;
        assert_eq!(gunzip(&damaged, 100), Err(InflateError::Invalid));
    }

    #[test]
    fn other_bytes_than_one_zlib_stream_are_rejected() {
        let good = compress(b"hello", ZLIB);
        assert_eq!(unzlib(&good, 5), Ok(b"hello".to_vec()));
        assert_eq!(unzlib(&good, 4), Err(InflateError::TooLarge));
        let raw = &good[2..good.len() - 4];
        // The header with the flag for a preset dictionary and its check bits.
        let dictionary = [&[0x78, 0xbb, 0, 0, 0, 1][..], &good[2..]].concat();
        for bad in [&b""[..], b"hello", raw, &gzip(b"hello"), &dictionary] {
            assert_eq!(unzlib(bad, 100), Err(InflateError::Invalid), "{bad:?}");
        }
        for behind in [&b"x"[..], &[0; 8], &good] {
            assert_eq!(unzlib(&[&good, behind].concat(), 100), Err(InflateError::Invalid), "{behind:?}");
        }
        for cut in 0..good.len() {
            assert_eq!(unzlib(&good[..cut], 100), Err(InflateError::Invalid), "{cut}");
        }
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(unzlib(&damaged, 100), Err(InflateError::Invalid));
        let bomb = compress(&vec![0; 10 << 20], ZLIB);
        assert_eq!(unzlib(&bomb, (10 << 20) - 1), Err(InflateError::TooLarge));
        assert_eq!(unzlib(&bomb, 10 << 20).unwrap().len(), 10 << 20);
    }

    proptest! {
        #[test]
        fn members_come_out_in_order(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..4),
        ) {
            let wire: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
            prop_assert_eq!(gunzip(&wire, 1 << 20), Ok(parts.concat()));
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..300usize, flip in any::<u8>(),
        ) {
            for (format, inflate) in [(GZIP, gunzip as fn(&[u8], usize) -> _), (ZLIB, unzlib)] {
                let _ = inflate(&bytes, 1000);
                let mut wire = compress(&bytes, format);
                prop_assert_eq!(inflate(&wire, 1000), Ok(bytes.clone()));
                let at = at % wire.len();
                wire[at] ^= flip;
                if let Ok(out) = inflate(&wire, 1000) {
                    prop_assert!(out.len() <= 1000);
                }
            }
        }
    }
}
