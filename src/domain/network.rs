//! Addresses and networks of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: an address and how many of its first bits count. An address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The header in which proxies name who asked them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: 192.0.2.1, 198.51.100.7:1234`.
    #[default]
    XForwardedFor,
    /// RFC 7239: `Forwarded: for="[2001:db8::1]:1234";proto=https`.
    Forwarded,
}

impl Network {
    /// `192.0.2.0/24`, `2001:db8::/32`, or an address. Bits behind the prefix must be zero, or it is a typing error.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => {
                let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
                (address, Some(prefix.parse().ok().filter(|_| digits)?))
            }
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().ok()?;
        let bits = bits_of(address);
        let network = Self {
            address,
            prefix: prefix.unwrap_or(bits),
        };
        (network.prefix <= bits && first_bits(address, network.prefix) == address)
            .then_some(network)
    }

    /// The network of this many first bits that an address is in.
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(bits_of(address));
        Self {
            address: first_bits(address, prefix),
            prefix,
        }
    }

    /// What a stranger has who has one address: a /24, or of IPv6 a /64.
    pub fn around(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        Self::of(address, prefix)
    }

    /// Whether an address is in it. An IPv4 address written as IPv6 is the same address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = match self.address {
            IpAddr::V4(_) => address.to_canonical(),
            IpAddr::V6(_) => address,
        };
        bits_of(address) == bits_of(self.address)
            && first_bits(address, self.prefix) == self.address
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self::of(address, 128)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits_of(self.address) {
            return self.address.fmt(f);
        }
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn first_bits(address: IpAddr, count: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(count)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(count)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_alike() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:192.0.2.8"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "127.0.0.1"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
        ] {
            let parsed = Network::parse(network).expect("a network");
            assert!(parsed.contains(address(inside)), "{network} {inside}");
            assert!(!parsed.contains(address(outside)), "{network} {outside}");
            assert_eq!(parsed.to_string(), network);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::/129",
            "proxy",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(Network::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_stranger_has_more_than_one_address() {
        let around = |text| Network::around(address(text)).to_string();
        assert_eq!(around("192.0.2.7"), "192.0.2.0/24");
        assert_eq!(around("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }
}
