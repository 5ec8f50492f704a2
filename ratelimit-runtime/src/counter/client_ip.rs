//! The client's address, also behind trusted proxies.
//!
//! Most forwarding headers are lists. Each proxy appends the address of its caller on the right. So the header is read from the right,
//! and only as far as its writers are trusted. The rest is what the client wrote.
//!
//! Other headers have one address, with which the proxy replaces what the client wrote. Where such a header has several values, the
//! proxy did not replace it, and nobody can tell which value is whose. So none is believed.

mod embedded;
pub(crate) mod forwarding_header;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::{HttpRequest, http::header::HeaderName};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    counter::{
        address::Address,
        client_ip::forwarding_header::{Format, ForwardingHeader},
    },
    error::Error,
};

/// The proxies in front of this server that may name a client's address.
///
/// Without them, the client is whoever has connected: so all clients of a proxy share one counter. The log warns once of a
/// request that seems to have come through a proxy, if its limiter trusts none. Such a request has one of the headers that
/// [`ForwardingHeader`] names, and comes from a private address, from this machine, or from a CDN that marks
/// it with `CDN-Loop`; the same headers from anywhere else are what a client has made up. With trusted proxies, the log warns once
/// of a proxy that sends one of these headers and not the one that is read. Where no proxy is to be trusted,
/// [`hops(0)`](Self::hops) says so, and nothing is logged.
///
/// ```
/// use ratelimit_runtime::{ForwardingHeader, RateLimiter, TrustedProxies};
///
/// # fn main() -> Result<(), ratelimit_runtime::Error> {
/// let proxies = TrustedProxies::networks(["10.0.0.0/8", "fd00::/8"])?.header(ForwardingHeader::Forwarded);
/// let limiter = RateLimiter::builder().trusted_proxies(proxies).build()?;
/// # drop(limiter);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    trust: Trust,
    header: ForwardingHeader,
}

#[derive(Clone, Debug)]
enum Trust {
    Networks(Vec<IpNet>),
    Hops(usize),
}

impl TrustedProxies {
    /// Proxies with an address in one of `networks`: each an address (`10.0.0.1`) or a network in CIDR notation
    /// (`10.0.0.0/8`). The client is the rightmost address in the header that is not in one of them. A proxy behind NAT64 is
    /// trusted by its IPv6 address (`64:ff9b::a00:0/104`), not by the IPv4 address in it.
    ///
    /// # Errors
    /// [`Error::Network`], naming the first text that is neither.
    pub fn networks<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let parse = |text: T| {
            let text = text.as_ref().trim();
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map(to_canonical).map_err(|_| Error::Network { value: text.to_owned() })
        };
        let networks = networks.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { trust: Trust::Networks(networks), header: ForwardingHeader::default() })
    }

    /// As many proxies as `hops`, whatever their addresses: the client is the entry of that number, counted
    /// from the right. For a server that can be reached through its proxies alone (on a Unix socket, say), and
    /// where their number is fixed. Zero trusts none, and says that this is meant. With a header of a single address, any other number
    /// means: believe it.
    #[must_use]
    pub fn hops(hops: usize) -> Self {
        Self { trust: Trust::Hops(hops), header: ForwardingHeader::default() }
    }

    /// The header to read; `X-Forwarded-For` unless set.
    #[must_use]
    pub fn header(mut self, header: ForwardingHeader) -> Self {
        self.header = header;
        self
    }

    /// The name of the header to read.
    pub(crate) fn header_name(&self) -> &HeaderName {
        self.header.name()
    }

    /// Whether `peer` may say what a client's address is.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match &self.trust {
            Trust::Networks(networks) => {
                peer.is_some_and(|peer| networks.iter().any(|network| network.contains(&peer)))
            }
            Trust::Hops(hops) => *hops > 0,
        }
    }

    /// The client behind `peer`. Where an entry is no address, the chain ends at the proxy that wrote it.
    fn client(&self, peer: Option<IpAddr>, request: &HttpRequest) -> Option<IpAddr> {
        let parse = match self.header.format() {
            Format::List(parse) => parse,
            Format::Single if self.trusts(peer) => return self.single_address(request).or(peer),
            Format::Single => return peer,
        };
        let mut client = peer;
        match &self.trust {
            Trust::Networks(networks) => {
                let trusted = |address: &IpAddr| networks.iter().any(|network| network.contains(address));
                let mut entries = self.entries(request, parse);
                while client.as_ref().is_some_and(trusted) {
                    let Some(Some(address)) = entries.next() else { break };
                    client = Some(address);
                }
            }
            Trust::Hops(hops) => {
                for entry in self.entries(request, parse).take(*hops) {
                    let Some(address) = entry else { break };
                    client = Some(address);
                }
            }
        }
        client
    }

    /// The header's entries from right to left, over all its lines; `None` for what is no address.
    ///
    /// Split at every comma, also within quotes: a quote that a client left open must not swallow what the proxies
    /// appended.
    fn entries<'a>(
        &self,
        request: &'a HttpRequest,
        parse: fn(&str) -> Option<IpAddr>,
    ) -> impl Iterator<Item = Option<IpAddr>> + use<'a> {
        let lines: Vec<_> = request.headers().get_all(self.header_name()).collect();
        lines
            .into_iter()
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','))
            .map(move |entry| std::str::from_utf8(entry).ok().and_then(parse))
    }

    /// The address in a header that has one; `None` if it has several lines, or anything but an address.
    fn single_address(&self, request: &HttpRequest) -> Option<IpAddr> {
        let mut lines = request.headers().get_all(self.header_name());
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        std::str::from_utf8(line.as_bytes()).ok().and_then(forwarding_header::node)
    }
}

/// Whose address a request counts for, as a limiter is set up.
#[derive(Clone, Debug)]
pub(crate) struct ClientIp {
    pub(crate) trusted: Option<TrustedProxies>,
    /// The bits of an IPv6 address that tell clients apart: a provider gives each of them a whole network.
    pub(crate) ipv6_prefix: u8,
    /// The prefixes of translators, behind which an IPv4 address tells clients apart.
    pub(crate) nat64: Vec<Ipv6Net>,
}

impl ClientIp {
    #[inline]
    pub(crate) fn of(&self, request: &HttpRequest) -> Address {
        match (&self.trusted, request.peer_addr()) {
            // By far the most, and nothing to work out.
            (None, Some(SocketAddr::V4(peer))) => Address::V4(peer.ip().to_bits()),
            (_, peer) => self.of_other(peer.map(|peer| peer.ip()), request),
        }
    }

    fn of_other(&self, peer: Option<IpAddr>, request: &HttpRequest) -> Address {
        self.resolve(peer, request).map_or(Address::Unknown, |address| self.counted(address))
    }

    /// The address of the client, which may count for a network or for the IPv4 address in it. `None`, if it is not known.
    pub(crate) fn client(&self, request: &HttpRequest) -> Option<IpAddr> {
        self.resolve(request.peer_addr().map(|peer| peer.ip()), request)
    }

    fn resolve(&self, peer: Option<IpAddr>, request: &HttpRequest) -> Option<IpAddr> {
        let peer = peer.map(|peer| peer.to_canonical());
        match &self.trusted {
            Some(trusted) => trusted.client(peer, request),
            None => peer,
        }
    }

    /// As what an address counts: one of IPv6 stands for the IPv4 address in it, or else for the network that it is in.
    pub(crate) fn counted(&self, address: IpAddr) -> Address {
        let address = match address.to_canonical() {
            IpAddr::V6(address) => match embedded::embedded(address, &self.nat64) {
                Some(address) => address.into(),
                None => self.network(address).into(),
            },
            address => address,
        };
        address.into()
    }

    fn network(&self, address: Ipv6Addr) -> Ipv6Addr {
        let host_bits = 128_u32.saturating_sub(self.ipv6_prefix.into());
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Ipv6Addr::from_bits(address.to_bits() & mask)
    }
}

/// A prefix as RFC 6052 has them, of 32, 40, 48, 56, 64 or 96 bits.
pub(crate) fn nat64_prefix(text: &str) -> Result<Ipv6Net, Error> {
    let prefix = text.trim().parse::<Ipv6Net>().ok();
    prefix
        .filter(|prefix| [32, 40, 48, 56, 64, 96].contains(&prefix.prefix_len()))
        .ok_or_else(|| Error::Nat64Prefix { value: text.to_owned() })
}

/// A network of IPv4 addresses that was written as IPv6 (`::ffff:10.0.0.0/104`), as the addresses are compared.
fn to_canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let prefix = mapped.prefix_len().checked_sub(96);
    match (mapped.addr().to_ipv4_mapped(), prefix) {
        (Some(address), Some(prefix)) => Ipv4Net::new(address, prefix).map_or(network, IpNet::V4),
        _ => network,
    }
}
