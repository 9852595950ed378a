//! IP addresses and networks that a match names.

use core::fmt;
use core::net::IpAddr;

/// An address (a network with all bits) or a network, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads an address, or an address, `/` and a number of bits (RFC 4632, section 3.1; RFC 4291, section 2.3).
    ///
    /// # Errors
    /// The text is neither, or has bits after the network's. An IPv4 address in IPv6 form is none: certificates have
    /// IPv4 addresses in four bytes (RFC 5280, section 4.2.1.6), and one with sixteen is another address.
    pub(super) fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let most = width(base);
        let bits = match bits {
            None => most,
            Some(bits) => number(bits).filter(|bits| *bits <= most).ok_or(NetworkError::Bits(most))?,
        };
        if let IpAddr::V6(base) = base
            && let Some(base) = base.to_ipv4_mapped()
        {
            let bits = bits.saturating_sub(96);
            return Err(NetworkError::Mapped(Network { base: masked(IpAddr::V4(base), bits), bits }));
        }
        let network = Network { base: masked(base, bits), bits };
        if network.base == base { Ok(network) } else { Err(NetworkError::Host(network)) }
    }

    /// The network with this number of bits that an address is in; of an IPv4 address at most 32 count.
    pub(super) fn of(address: IpAddr, bits: u8) -> Self {
        let bits = bits.min(width(address));
        Network { base: masked(address, bits), bits }
    }

    /// The network of at most this many bits that it is in.
    pub(super) fn wider(self, bits: u8) -> Self {
        Network::of(self.base, bits.min(self.bits))
    }

    /// The number of bits that all its addresses have in common.
    pub(super) fn bits(self) -> u8 {
        self.bits
    }

    /// Whether an address is in it.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        self.base.is_ipv4() == address.is_ipv4() && masked(address, self.bits) == self.base
    }

    /// Whether all addresses of another network are in it.
    pub(super) fn covers(self, other: Network) -> bool {
        self.bits <= other.bits && self.contains(other.base)
    }
}

/// As in the config: an address without its number of bits.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == width(self.base) {
            write!(f, "{}", self.base)
        } else {
            write!(f, "{}/{}", self.base, self.bits)
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A number without sign and leading zeros.
fn number(digits: &str) -> Option<u8> {
    let plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().ok()).flatten()
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or_default();
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or_default();
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

/// Why a text is not an address or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NetworkError {
    /// The part before `/` is not an address.
    Address,
    /// The part after `/` is not a number of bits, of which there are at most this many.
    Bits(u8),
    /// The address has bits after those of the network, which is this one.
    Host(Network),
    /// It is an IPv4 address or network in IPv6 form; in its own form it is this.
    Mapped(Network),
}

impl NetworkError {
    /// What to write instead.
    pub(super) fn hint(self) -> String {
        match self {
            NetworkError::Address => "write `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`".to_owned(),
            NetworkError::Bits(most) => format!("write the number of bits of the network, 0 to {most}"),
            NetworkError::Host(network) | NetworkError::Mapped(network) => format!("write `{network}`"),
        }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NetworkError::Address => "it is not an IP address or network",
            NetworkError::Bits(_) => "the part after `/` is not a number of bits",
            NetworkError::Host(_) => "the address has bits after those of the network",
            NetworkError::Mapped(_) => "it is an IPv4 address in IPv6 form, which certificates do not have",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_in_networks() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "::ffff:10.0.0.1", "0.0.0.0"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("2001:DB8:0::1", "2001:db8::1", "2001:db8::2"),
            // An IPv4 address in IPv6 form is another address.
            ("10.0.0.0/8", "10.0.0.1", "::ffff:10.0.0.1"),
        ] {
            assert!(network(text).contains(address(inside)), "{text} {inside}");
            assert!(!network(text).contains(address(outside)), "{text} {outside}");
        }
    }

    #[test]
    fn what_is_read_is_written_again() {
        for text in ["10.0.0.0/8", "10.1.2.3", "::/0", "2001:db8::1", "2001:db8::/127"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("10.1.2.3/32").to_string(), "10.1.2.3");
    }

    #[test]
    fn anything_else_is_an_error_with_a_hint() {
        let address = "write `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`";
        for (text, hint) in [
            ("", address),
            ("10", address),
            ("10.0.0", address),
            ("10.0.0.256", address),
            ("010.0.0.1", address),
            ("10.0.0.*", address),
            ("a.example", address),
            ("/8", address),
            ("fe80::1%eth0", address),
            ("[::1]", address),
            (" 10.0.0.1", address),
            ("10.0.0.0/", "write the number of bits of the network, 0 to 32"),
            ("10.0.0.0/33", "write the number of bits of the network, 0 to 32"),
            ("10.0.0.0/08", "write the number of bits of the network, 0 to 32"),
            ("10.0.0.0/+8", "write the number of bits of the network, 0 to 32"),
            ("10.0.0.0/255.0.0.0", "write the number of bits of the network, 0 to 32"),
            ("10.0.0.0/8/8", "write the number of bits of the network, 0 to 32"),
            ("::/129", "write the number of bits of the network, 0 to 128"),
            ("10.1.2.3/8", "write `10.0.0.0/8`"),
            ("2001:db8::1/32", "write `2001:db8::/32`"),
            ("::ffff:10.0.0.1", "write `10.0.0.1`"),
            ("::ffff:10.1.0.0/104", "write `10.0.0.0/8`"),
            ("::ffff:a00:1", "write `10.0.0.1`"),
        ] {
            assert_eq!(Network::parse(text).unwrap_err().hint(), hint, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_network_contains_what_it_is_made_of(bytes in any::<[u8; 16]>(), v4 in any::<bool>(), bits in any::<u8>()) {
            let address = if v4 { IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]) } else { IpAddr::from(bytes) };
            let network = Network::of(address, bits);
            prop_assert!(network.contains(address));
            prop_assert!(Network::of(address, 0).covers(network));
            prop_assert_eq!(network.covers(Network::of(address, 0)), network.bits() == 0);
            if !matches!(address, IpAddr::V6(it) if it.to_ipv4_mapped().is_some()) {
                prop_assert_eq!(Network::parse(&network.to_string()), Ok(network));
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f:./%]{0,24}") {
            let _ = Network::parse(&text);
        }
    }
}
