//! Sixteen bytes of a text, compared all at once: SSE2, NEON or WebAssembly's SIMD.

use wide::u8x16;

/// Sixteen bytes of a text. Behind its end, they are zero.
#[derive(Clone, Copy)]
pub(super) struct Chunk(u8x16);

/// The number of bytes in a chunk.
pub(super) const LEN: usize = 16;

impl Chunk {
    /// The bytes from `at` on.
    #[inline(always)]
    pub(super) fn of(text: &[u8], at: usize) -> Self {
        let rest = text.get(at..).unwrap_or_default();
        match rest.first_chunk::<LEN>() {
            Some(&bytes) => Chunk(u8x16::new(bytes)),
            None => Self::of_last(rest),
        }
    }

    #[cold]
    fn of_last(rest: &[u8]) -> Self {
        let mut bytes = [0; LEN];
        bytes.iter_mut().zip(rest).for_each(|(byte, &of)| *byte = of);
        Chunk(u8x16::new(bytes))
    }

    /// Which bytes end a run of plain ones in a string: quotes, backslashes and control characters. The lowest bit is
    /// that of the first byte.
    #[inline(always)]
    pub(super) fn specials(self) -> u32 {
        let is = |byte| self.0.simd_eq(u8x16::splat(byte));
        (is(b'"') | is(b'\\') | self.at_most(0x1f)).to_bitmask()
    }

    /// Which bytes are not ASCII.
    #[inline(always)]
    pub(super) fn not_ascii(self) -> u32 {
        self.0.to_bitmask()
    }

    /// Which bytes are not digits.
    #[inline(always)]
    pub(super) fn not_digits(self) -> u32 {
        Self::all_but(Chunk(self.0 - u8x16::splat(b'0')).at_most(9))
    }

    /// Which bytes are not JSON's whitespace.
    #[inline(always)]
    pub(super) fn not_spaces(self) -> u32 {
        let is = |byte| self.0.simd_eq(u8x16::splat(byte));
        Self::all_but(is(b' ') | is(b'\n') | is(b'\r') | is(b'\t'))
    }

    /// All ones for each byte that is at most `most`.
    #[inline(always)]
    fn at_most(self, most: u8) -> u8x16 {
        self.0.min(u8x16::splat(most)).simd_eq(self.0)
    }

    #[inline(always)]
    fn all_but(found: u8x16) -> u32 {
        !found.to_bitmask() & 0xffff
    }
}
