//! gRPC's length-prefixed messages. Source: gRPC over HTTP2, "Length-Prefixed-Message".

/// The length of the header in front of a message, in bytes: a flag, and a length of 32 bits.
pub const HEADER_LEN: usize = 5;

/// The one message of a unary call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whether the message is compressed by the algorithm in the `grpc-encoding` header.
    pub compressed: bool,
    /// The message, without its header.
    pub message: &'a [u8],
}

/// Why a body is not the one message of a unary call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The body is empty.
    Empty,
    /// The body ends before the message.
    Truncated,
    /// More bytes follow the first message.
    Trailing,
    /// The flag is neither 0 nor 1.
    Flag,
}

impl FrameError {
    /// What is wrong, in words for the client.
    pub fn what(self) -> &'static str {
        match self {
            FrameError::Empty => "the request has no gRPC message",
            FrameError::Truncated => "the gRPC message is truncated",
            FrameError::Trailing => "more than one gRPC message in a unary call",
            FrameError::Flag => "unknown flag in front of the gRPC message",
        }
    }
}

/// Reads the one message in the whole body of a unary call.
///
/// # Errors
/// The body is not exactly one message.
pub fn frame(body: &[u8]) -> Result<Frame<'_>, FrameError> {
    if body.is_empty() {
        return Err(FrameError::Empty);
    }
    let Some((&[flag, a, b, c, d], message)) = body.split_first_chunk() else {
        return Err(FrameError::Truncated);
    };
    if flag > 1 {
        return Err(FrameError::Flag);
    }
    let len = u64::from(u32::from_be_bytes([a, b, c, d]));
    match (message.len() as u64).cmp(&len) {
        core::cmp::Ordering::Less => Err(FrameError::Truncated),
        core::cmp::Ordering::Greater => Err(FrameError::Trailing),
        core::cmp::Ordering::Equal => Ok(Frame { compressed: flag == 1, message }),
    }
}

/// The length of a body according to the header of its first message, in bytes; `None` while the header has not
/// arrived. A client may send less.
pub fn announced(body: &[u8]) -> Option<u64> {
    let (&[_, a, b, c, d], _) = body.split_first_chunk()?;
    Some(HEADER_LEN as u64 + u64::from(u32::from_be_bytes([a, b, c, d])))
}

/// The header of an uncompressed message of `len` bytes; `None` if the length does not fit in 32 bits.
pub fn header(len: usize) -> Option<[u8; HEADER_LEN]> {
    let [a, b, c, d] = u32::try_from(len).ok()?.to_be_bytes();
    Some([0, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_exactly_one_message() {
        let plain = Frame { compressed: false, message: b"ab" };
        for (body, want) in [
            (&b"\0\0\0\0\x02ab"[..], Ok(plain)),
            (b"\x01\0\0\0\x02ab", Ok(Frame { compressed: true, ..plain })),
            (b"\0\0\0\0\0", Ok(Frame { message: b"", ..plain })),
            (b"", Err(FrameError::Empty)),
            (b"\0\0\0\0", Err(FrameError::Truncated)),
            (b"\0\0\0\0\x03ab", Err(FrameError::Truncated)),
            (b"\0\xff\xff\xff\xffab", Err(FrameError::Truncated)),
            (b"\0\0\0\0\x01ab", Err(FrameError::Trailing)),
            (b"\0\0\0\0\0\0\0\0\0\0", Err(FrameError::Trailing)),
            (b"\x02\0\0\0\x02ab", Err(FrameError::Flag)),
        ] {
            assert_eq!(frame(body), want, "{body:?}");
        }
    }

    #[test]
    fn a_header_is_read_back() {
        let body = [&header(3).unwrap()[..], b"abc"].concat();
        assert_eq!(frame(&body), Ok(Frame { compressed: false, message: b"abc" }));
        assert_eq!(announced(&body), Some(8));
        assert_eq!(announced(&body[..5]), Some(8));
        assert_eq!(announced(&body[..4]), None);
        assert_eq!(announced(&[1, 255, 255, 255, 255]), Some(u64::from(u32::MAX) + 5));
    }
}
