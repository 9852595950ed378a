//! From the bytes of a request's body to the OTLP message in it.

mod grpc;
mod gzip;
mod zstd;

pub use grpc::{Frame, FrameError, HEADER_LEN, announced, frame, header};
pub use gzip::{MAX_MEMBERS, gunzip, gunzip_into, gzip_says, unzlib, unzlib_into};
pub use zstd::{MAX_BLOCKS, unzstd, unzstd_into};

/// Why a body cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// Not of this encoding, damaged, or cut off.
    Invalid,
    /// More than the limit comes out of it.
    TooLarge,
    /// More than [`MAX_MEMBERS`] members of gzip, or [`MAX_BLOCKS`] blocks of zstd.
    TooManyParts,
}

/// What the parts of a body cost beside what comes out of them, in bytes: a member's decoder or a block's tables take as long as so
/// many. A body of usual size has few parts, and these cost nothing.
fn cost_of_parts(parts: usize) -> usize {
    const USUAL: usize = 16;
    const EACH: usize = 8 << 10;
    parts.saturating_sub(USUAL).saturating_mul(EACH)
}
