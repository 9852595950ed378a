//! Target: a body that is read as a gRPC frame is exactly that frame, and a frame that is written is read back.

use otlp_gate_wire::encoding::{HEADER_LEN, frame, header};

/// Runs one input.
pub fn target(body: &[u8]) {
    if let Ok(read) = frame(body) {
        assert_eq!(read.message, &body[HEADER_LEN..]);
        let [flag, length @ ..] = header(read.message.len()).expect("it fits in 32 bits");
        assert_eq!((flag, &length[..]), (0, &body[1..HEADER_LEN]));
        assert_eq!(read.compressed, body[0] == 1);
    }
    let framed = [&header(body.len()).expect("it fits in 32 bits")[..], body].concat();
    let read = frame(&framed).expect("it was written here");
    assert_eq!((read.message, read.compressed), (body, false));
    for cut in 0..framed.len() {
        assert!(frame(&framed[..cut]).is_err());
    }
}
