//! The headers in which proxies name their clients, and how an address is written there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::{HttpRequest, http::header::HeaderName};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED: HeaderName = HeaderName::from_static("forwarded");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static CF_CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");
static TRUE_CLIENT_IP: HeaderName = HeaderName::from_static("true-client-ip");
static FLY_CLIENT_IP: HeaderName = HeaderName::from_static("fly-client-ip");

/// The header in which the trusted proxies name the client. Exactly one is read: with several, a client could write one that the
/// proxies pass on. Choose the header that your proxy writes by itself, and not one that it passes on.
///
/// `X-Forwarded-For` and `Forwarded` are lists. Each proxy appends to them, and they are read from the right.
///
/// The others have a single address, with which the proxy must *replace* what the client wrote. Such a header counts only if it has
/// one line, and only an address in it: with or without a port (an IPv6 address with a port is in brackets). With several lines or a
/// list, the proxy did not replace the header, and any of the values may be the client's. Then, and without an address, the request
/// counts for the proxy, and the requests of all clients who try this share one counter.
///
/// ```
/// use ratelimit_runtime::{ForwardingHeader, TrustedProxies};
///
/// # fn main() -> Result<(), ratelimit_runtime::Error> {
/// let one_proxy = TrustedProxies::hops(1).header(ForwardingHeader::Forwarded);
/// // In nginx: proxy_set_header X-Real-IP $remote_addr;
/// let nginx = TrustedProxies::networks(["10.0.0.0/8"])?.header(ForwardingHeader::XRealIp);
/// # drop((one_proxy, nginx));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardingHeader {
    /// `X-Forwarded-For: 192.0.2.60, 10.0.0.1`
    #[default]
    XForwardedFor,
    /// `Forwarded: for=192.0.2.60;proto=https, for="[2001:db8::1]:4711"` (RFC 7239)
    Forwarded,
    /// `X-Real-IP: 192.0.2.60`, as nginx, Traefik and others can be set up to write it.
    XRealIp,
    /// `CF-Connecting-IP: 192.0.2.60`, of Cloudflare.
    CfConnectingIp,
    /// `True-Client-IP: 192.0.2.60`, of Akamai and Cloudflare, where it is switched on.
    TrueClientIp,
    /// `Fly-Client-IP: 192.0.2.60`, of Fly.io.
    FlyClientIp,
    /// Any other header with a single address.
    ///
    /// ```
    /// use actix_web::http::header::HeaderName;
    /// use ratelimit_runtime::{ForwardingHeader, TrustedProxies};
    ///
    /// const ENVOY: HeaderName = HeaderName::from_static("x-envoy-external-address");
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let envoy = TrustedProxies::networks(["10.0.0.0/8"])?.header(ForwardingHeader::Single(ENVOY));
    /// # drop(envoy);
    /// # Ok(())
    /// # }
    /// ```
    Single(HeaderName),
}

/// How a header names the client.
pub(crate) enum Format {
    /// By the entries of a list, each of which this function reads.
    List(fn(&str) -> Option<IpAddr>),
    /// By one address.
    Single,
}

impl ForwardingHeader {
    /// The headers whose names are known, those that are lists first.
    const KNOWN: [Self; 6] = [
        Self::XForwardedFor,
        Self::Forwarded,
        Self::XRealIp,
        Self::CfConnectingIp,
        Self::TrueClientIp,
        Self::FlyClientIp,
    ];

    /// The header's name.
    pub(crate) fn name(&self) -> &HeaderName {
        match self {
            Self::XForwardedFor => &X_FORWARDED_FOR,
            Self::Forwarded => &FORWARDED,
            Self::XRealIp => &X_REAL_IP,
            Self::CfConnectingIp => &CF_CONNECTING_IP,
            Self::TrueClientIp => &TRUE_CLIENT_IP,
            Self::FlyClientIp => &FLY_CLIENT_IP,
            Self::Single(name) => name,
        }
    }

    pub(crate) fn format(&self) -> Format {
        match self {
            Self::XForwardedFor => Format::List(node),
            Self::Forwarded => Format::List(forwarded_for),
            Self::XRealIp | Self::CfConnectingIp | Self::TrueClientIp | Self::FlyClientIp | Self::Single(_) => {
                Format::Single
            }
        }
    }

    /// The first of the known headers that a request has.
    pub(crate) fn of(request: &HttpRequest) -> Option<Self> {
        Self::KNOWN.into_iter().find(|header| request.headers().contains_key(header.name()))
    }
}

/// The address in the `for` parameter of one element of `Forwarded`.
///
/// A proxy may pass on what the client chose, in quotes: `host="a,for=192.0.2.1"`. A piece of such a string, which the
/// split at commas has left with an odd number of quotes, is no element; nor is one with an escape, which could hide
/// a quote.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let quotes = element.bytes().filter(|&byte| byte == b'"').count();
    if quotes % 2 == 1 || element.contains('\\') {
        return None;
    }
    let mut quoted = false;
    let outside_quotes = |char| {
        quoted ^= char == '"';
        char == ';' && !quoted
    };
    let value = element.split(outside_quotes).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    value.and_then(node)
}

/// An address with or without a port, brackets or quotes. `unknown` and obfuscated names (`_gazonk`) are none.
pub(crate) fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"').trim();
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from))?;
    Some(address.to_canonical())
}
