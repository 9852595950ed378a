//! RESP, the protocol of Valkey and Redis (version 2), as far as reports need it.
//!
//! Source: the protocol specification, "RESP protocol description".

/// The longest line of a reply that is read, in bytes.
const LONGEST_LINE: usize = 1024;

/// One reply of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A status, such as `OK`.
    Status(&'a [u8]),
    /// An error: a code in capitals, and a text.
    Error(&'a [u8]),
    /// Bytes.
    Bulk(&'a [u8]),
}

/// Appends the start of a command with so many arguments; its name is the first.
pub(super) fn command(out: &mut Vec<u8>, arguments: usize) {
    number(out, b'*', arguments);
}

/// Appends an argument.
pub(super) fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The whole replies in `bytes`, up to the first that is cut off or of another kind.
pub fn replies(mut bytes: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    core::iter::from_fn(move || {
        let (&kind, rest) = bytes.split_first()?;
        let end = rest.iter().take(LONGEST_LINE).position(|byte| *byte == b'\r')?;
        let (line, behind) = rest.split_at_checked(end)?;
        let behind = behind.strip_prefix(b"\r\n")?;
        let (reply, behind) = match kind {
            b'+' => (Reply::Status(line), behind),
            b'-' => (Reply::Error(line), behind),
            b'$' => {
                let len: usize = core::str::from_utf8(line).ok()?.parse().ok()?;
                let (bulk, behind) = behind.split_at_checked(len)?;
                (Reply::Bulk(bulk), behind.strip_prefix(b"\r\n")?)
            }
            _ => return None,
        };
        bytes = behind;
        Some(reply)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_the_engine_reads_it() {
        let mut out = Vec::new();
        command(&mut out, 2);
        argument(&mut out, b"GET");
        argument(&mut out, b"a\r\nb");
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n");
    }

    #[test]
    fn replies_are_read_up_to_the_first_that_is_not_whole() {
        let read = |bytes: &'static [u8]| replies(bytes).collect::<Vec<_>>();
        assert_eq!(
            read(b"+OK\r\n-ERR no\r\n$4\r\na\r\nb\r\n$0\r\n\r\n+O"),
            [Reply::Status(b"OK"), Reply::Error(b"ERR no"), Reply::Bulk(b"a\r\nb"), Reply::Bulk(b"")]
        );
        for lie in [
            &b"$5\r\nabcd\r\n"[..],
            b"$4\r\nabcdef",
            b"$-1\r\n",
            b"$99999999999999999999999\r\nx\r\n",
            b"$+1\r",
            b":1\r\n",
            b"*1\r\n+OK\r\n",
            b"upstream connect error",
            b"",
            b"+OK\rX",
        ] {
            assert_eq!(replies(lie).count(), 0, "{}", lie.escape_ascii());
        }
        let long = [b"+".as_slice(), &[b'x'; LONGEST_LINE], b"\r\n"].concat();
        assert_eq!(replies(&long).count(), 0);
    }
}
