//! Extended key usages: their names and OIDs.

/// The names of extended key usages by OID (RFC 5280, section 4.2.1.12).
pub const EXTENDED_KEY_USAGES: [(&str, &str); 7] = [
    ("1.3.6.1.5.5.7.3.1", "serverAuth"),
    ("1.3.6.1.5.5.7.3.2", "clientAuth"),
    ("1.3.6.1.5.5.7.3.3", "codeSigning"),
    ("1.3.6.1.5.5.7.3.4", "emailProtection"),
    ("1.3.6.1.5.5.7.3.8", "timeStamping"),
    ("1.3.6.1.5.5.7.3.9", "OCSPSigning"),
    ("2.5.29.37.0", "anyExtendedKeyUsage"),
];

/// The name of an extended key usage, or its OID if it has none.
pub fn extended_key_usage_name(oid: &str) -> &str {
    EXTENDED_KEY_USAGES.iter().find(|(own, _)| *own == oid).map_or(oid, |(_, name)| name)
}

/// Whether a text is a dotted OID as a certificate's are written: without leading zeros, and with a first number of 0
/// to 2 (X.660, section 7.6).
pub fn is_oid(text: &str) -> bool {
    let arc = |arc: &str| {
        !arc.is_empty()
            && arc.bytes().all(|byte| byte.is_ascii_digit())
            && (arc == "0" || !arc.starts_with('0'))
    };
    let mut arcs = text.split('.');
    let (first, second) = (arcs.next().unwrap_or_default(), arcs.next().unwrap_or_default());
    let small = second.parse().is_ok_and(|second: u32| second < 40);
    matches!((first, small), ("0" | "1", true) | ("2", _)) && arc(second) && arcs.all(arc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_oids_are_unlike() {
        for (oid, name) in EXTENDED_KEY_USAGES {
            assert_eq!(extended_key_usage_name(oid), name);
            assert!(is_oid(oid) && !is_oid(name), "{oid}");
        }
        assert_eq!(extended_key_usage_name("1.2.3"), "1.2.3");
    }

    #[test]
    fn an_oid_is_written_in_one_way() {
        for oid in ["0.0", "1.39", "2.999.1", "1.3.6.1.4.1.311.20.2.2"] {
            assert!(is_oid(oid), "{oid}");
        }
        for text in
            ["", "1", "1.", ".1", "1..2", "1.40", "3.1", "01.2", "1.02", "1.2.00", "1.2 ", "a.b", "2.+1"]
        {
            assert!(!is_oid(text), "{text}");
        }
    }
}
