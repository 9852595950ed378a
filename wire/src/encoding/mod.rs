//! From the bytes of a request's body to the OTLP message in it.

mod grpc;
mod gzip;

pub use grpc::{Frame, FrameError, HEADER_LEN, frame, header};
pub use gzip::{GunzipError, MAX_MEMBERS, gunzip};
