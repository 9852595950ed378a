//! The second signature that a certificate with an ECDSA signature has.

use super::der::{BIT_STRING, Der, INTEGER, SEQUENCE, element};

/// The orders of the curves whose signatures Envoy verifies (SEC 2, section 2.4 to 2.6; NIST SP 800-186).
const ORDERS: [&[u8]; 4] = [
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x16\xa2\xe0\xb8\xf0\x3e\x13\xdd\x29\x45\x5c\x5c\x2a\x3d",
    b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xc7\x63\x4d\x81\xf4\x37\x2d\xdf\x58\x1a\x0d\xb2\x48\xb0\xa7\x7a\xec\xec\x19\x6a\xcc\xc5\x29\x73",
    b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfa\x51\x86\x87\x83\xbf\x2f\x96\x6b\x7f\xcc\x01\x48\xf7\x09\xa5\xd0\x3b\xb5\xc9\xb8\x89\x9c\x47\xae\xbb\x6f\xb7\x1e\x91\x38\x64\x09",
];

/// The other valid signature of the same bytes, if this is an ECDSA signature (RFC 3279, section 2.2.3): for `(r, s)`
/// it is `(r, n - s)`. The curve is that of the issuer's key, which is unknown here, but its order is as long as the
/// numbers.
pub(super) fn other_signature(signature: &[u8]) -> Option<Vec<u8>> {
    let mut outer = Der(signature);
    let mut pair = Der(outer.only(SEQUENCE)?);
    let r = pair.next()?;
    let s = pair.only(INTEGER)?;
    let magnitude = |bytes: &'_ [u8]| bytes.iter().skip_while(|byte| **byte == 0).count();
    let longest = magnitude(r.content_of(INTEGER)?).max(magnitude(s));
    // Numbers that are 8 bytes shorter than the order occur in about one of 2^64 signatures.
    let order = ORDERS.into_iter().find(|order| (order.len() - 7..=order.len()).contains(&longest))?;
    let mut padded = vec![0; order.len()];
    let significant = s.get(s.len() - magnitude(s)..)?;
    padded.get_mut(order.len() - significant.len()..)?.copy_from_slice(significant);
    let mut borrow = 0;
    let mut other: Vec<u8> = Vec::with_capacity(order.len() + 1);
    for (n, s) in order.iter().zip(&padded).rev() {
        let difference = i16::from(*n) - i16::from(*s) - borrow;
        borrow = i16::from(difference < 0);
        other.push((difference & 0xff) as u8);
    }
    if borrow != 0 {
        return None;
    }
    while other.last() == Some(&0) {
        other.pop();
    }
    if other.last().is_none_or(|first| *first >= 0x80) {
        other.push(0);
    }
    other.reverse();
    let numbers = [r.whole, &element(INTEGER, &other)].concat();
    Some(element(SEQUENCE, &numbers))
}

/// The certificate of a signed part, an algorithm and a signature.
pub(super) fn certificate_of(signed: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let bits = element(BIT_STRING, &[&[0], signature].concat());
    element(SEQUENCE, &[signed, algorithm, &bits].concat())
}

/// The same certificate with the other ECDSA signature, as its holder can make it.
#[cfg(test)]
pub(crate) fn with_other_signature(certificate: &[u8]) -> Vec<u8> {
    let mut parts = Der(Der(certificate).only(SEQUENCE).unwrap());
    let (signed, algorithm) = (parts.next().unwrap(), parts.next().unwrap());
    let signature = parts.only(BIT_STRING).unwrap();
    certificate_of(signed.whole, algorithm.whole, &other_signature(&signature[1..]).unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signatures_of_the_supported_curves_have_another() {
        for order in ORDERS {
            let one = element(
                SEQUENCE,
                &[element(INTEGER, &[&[0][..], &order[1..]].concat()), element(INTEGER, &[1])].concat(),
            );
            // n - 1
            let mut last = order.to_vec();
            *last.last_mut().unwrap() -= 1;
            let last = if last[0] >= 0x80 { [&[0][..], &last].concat() } else { last };
            let other = other_signature(&one).unwrap();
            assert!(other.ends_with(&element(INTEGER, &last)), "{order:?}");
            assert_eq!(other_signature(&other), Some(one));
        }
        let zero = element(SEQUENCE, &[element(INTEGER, &[1]), element(INTEGER, &[1])].concat());
        assert_eq!(other_signature(&zero), None);
        assert_eq!(other_signature(&[5; 256]), None);
        // A number above the order is none of a signature.
        let above = element(
            SEQUENCE,
            &[element(INTEGER, &[1]), element(INTEGER, &[&[0], &[0xff; 32][..]].concat())].concat(),
        );
        assert_eq!(other_signature(&above), None);
    }
}
