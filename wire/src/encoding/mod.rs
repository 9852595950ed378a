//! From the bytes of a request's body to the OTLP message in it.

mod grpc;
mod gzip;
mod zstd;

pub use grpc::{Frame, FrameError, HEADER_LEN, announced, frame, header};
pub use gzip::{MAX_MEMBERS, gunzip, unzlib};
pub use zstd::{MAX_BLOCKS, unzstd};

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
