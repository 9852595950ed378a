//! From the body of a request to the OTLP message in it: gRPC frames and compression.

mod deflate;
mod grpc;
mod zstd;

pub use deflate::gzip_length;
pub use grpc::{Frame, FrameError, HEADER_LEN, announced, frame, header};

/// A compression of bodies and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip (RFC 1952): all members of the body.
    Gzip,
    /// zlib (RFC 1950): one stream. HTTP calls it `deflate`.
    Zlib,
    /// zstd (RFC 8878): all frames of the body.
    Zstd,
}

impl Compression {
    /// The most parts that a body may have: members of gzip, streams of zlib, blocks of zstd in all frames together.
    pub const fn max_parts(self) -> usize {
        match self {
            Compression::Gzip => deflate::MAX_MEMBERS,
            Compression::Zlib => 1,
            Compression::Zstd => zstd::MAX_BLOCKS,
        }
    }

    /// Inflates `body` to at most `limit` bytes. Memory in use stays below twice the limit; for zstd below three times
    /// the limit, or 16 MiB where that is more.
    ///
    /// # Errors
    /// See [`InflateError`].
    pub fn inflate(self, body: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        self.inflate_into(body, limit, &mut out, &mut 0)?;
        Ok(out)
    }

    /// Does what [`Compression::inflate`] does, into `out`, which must be empty. Sets `work` to the cost in bytes, also
    /// when it fails: what was inflated, and more for a body of many parts.
    ///
    /// # Errors
    /// See [`InflateError`].
    pub fn inflate_into(
        self,
        body: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
        work: &mut usize,
    ) -> Result<(), InflateError> {
        match self {
            Compression::Gzip => deflate::gunzip(body, limit, out, work),
            Compression::Zlib => deflate::unzlib(body, limit, out, work),
            Compression::Zstd => zstd::unzstd(body, limit, out, work),
        }
    }
}

/// Why a body cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// It has another format, or is damaged or truncated.
    Invalid,
    /// It inflates to more than the limit.
    TooLarge,
    /// It has more than [`Compression::max_parts`] parts.
    TooManyParts,
}

/// What the parts of a body cost in addition to what they inflate to, in bytes. To set up a decoder for a member or
/// tables for a block takes as long as to inflate 8 KiB. An ordinary body has few parts, which cost nothing.
fn cost_of_parts(parts: usize) -> usize {
    const FREE: usize = 16;
    const EACH: usize = 8 << 10;
    parts.saturating_sub(FREE).saturating_mul(EACH)
}
