//! IPv4 addresses within IPv6 addresses.
//!
//! Clients that reach this server through a translator or a tunnel share one IPv6 network, and what tells them apart is the IPv4
//! address that theirs contains. It counts in place of the network only where nobody can choose it freely: the answer to a
//! client, without which there is no connection, finds its way by the IPv4 address.
//!
//! | form | embedded address | who answers for it |
//! |---|---|---|
//! | `::ffff:0:0/96` (IPv4-mapped, RFC 4291) | counts | the operating system, of an IPv4 connection |
//! | `::/96` (IPv4-compatible, RFC 4291), `::ffff:0:0:0/96` (IPv4-translated, RFC 2765) | counts | the tunnel or translator that the answer goes to; both are deprecated |
//! | `64:ff9b::/96` (RFC 6052), `64:ff9b:1::/48` (RFC 8215), prefixes that are set (RFC 6052) | counts | the translator, which writes it |
//! | `2002::/16` (6to4, RFC 3056) | counts | the tunnel's end, to which the answer is sent; behind it are 65,536 networks |
//! | `2001::/32` (Teredo, RFC 4380) | counts | the relay, which sends the answer there |
//! | `…:0:5efe:a.b.c.d` (ISATAP, RFC 5214), and others below a network of the client's own | does not count | nobody: the client chooses the lower half of its address |

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// The byte of zeros that an address with a prefix of up to 64 bits has behind those (RFC 6052, section 2.2).
const RESERVED: usize = 8;

/// The IPv4 address that counts in place of an IPv6 address, which is no IPv4-mapped one; `prefixes` are those of the
/// translators in front of this server.
pub(super) fn embedded(address: Ipv6Addr, prefixes: &[Ipv6Net]) -> Option<Ipv4Addr> {
    if let Some(prefix) = prefixes.iter().find(|prefix| prefix.contains(&address)) {
        return Some(translated(address, prefix.prefix_len()));
    }
    match address.segments() {
        // No IPv4 address begins with a zero; `::` and `::1` are among these.
        [0, 0, 0, 0, 0, 0, 0..=0xff, _] => None,
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            Some(translated(address, 96))
        }
        [0x64, 0xff9b, 1, ..] => Some(translated(address, local_prefix(address))),
        [0x2002, upper, lower, ..] => Some(Ipv4Addr::from_bits(u32::from(upper) << 16 | u32::from(lower))),
        // It stands there inverted, so that no translator on the way takes it for one of its own.
        [0x2001, 0, .., upper, lower] => Some(Ipv4Addr::from_bits(!(u32::from(upper) << 16 | u32::from(lower)))),
        _ => None,
    }
}

/// The address behind a prefix of one of the lengths of RFC 6052, around the reserved byte.
fn translated(address: Ipv6Addr, prefix: u8) -> Ipv4Addr {
    let octets = address.octets();
    let mut behind = (usize::from(prefix / 8)..octets.len()).filter(|index| *index != RESERVED || prefix > 64);
    Ipv4Addr::from([(); 4].map(|()| behind.next().map_or(0, |index| octets[index])))
}

/// The length of the prefix that a translator uses within the one for local use, which may be any of four. The shorter ones
/// have zeros behind the address. The longest is taken where several are possible only for addresses such as `10.0.0.0`.
fn local_prefix(address: Ipv6Addr) -> u8 {
    let octets = address.octets();
    // The address, and the reserved byte within it or before it.
    let end = |prefix: u8| usize::from(prefix / 8) + 5;
    let has_zeros = |prefix: &u8| octets[end(*prefix)..].iter().all(|octet| *octet == 0);
    [48, 56, 64].into_iter().find(has_zeros).unwrap_or(96)
}
