//! A client's address, as counters have it.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv6Addr},
};

/// A client's address, in words: an `IpAddr` is a row of bytes, which takes longer to copy than to hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// Of all those together whose address is not known.
    Unknown,
    V4(u32),
    /// The upper and the lower half.
    V6(u64, u64),
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64, address.to_bits() as u64),
        }
    }
}

impl Address {
    /// The address as it stands in the name of a counter.
    pub(crate) fn write(self, out: &mut String) {
        match self {
            Self::V4(bits) => {
                let mut number = itoa::Buffer::new();
                for (index, octet) in bits.to_be_bytes().into_iter().enumerate() {
                    if index > 0 {
                        out.push('.');
                    }
                    out.push_str(number.format(octet));
                }
            }
            // Writing into a String does not fail.
            Self::V6(upper, lower) => {
                let _ = write!(out, "{}", Ipv6Addr::from_bits(u128::from(upper) << 64 | u128::from(lower)));
            }
            Self::Unknown => out.push_str("unknown"),
        }
    }
}
