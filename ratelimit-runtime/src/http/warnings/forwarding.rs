//! A proxy whose clients are counted as one: it names them in a header that the limiter does not read.
//!
//! Any client can send such a header. So without trusted proxies only a peer counts that is not on the open internet,
//! or one that a CDN has marked; and with them only a peer that is trusted.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Once,
};

use actix_web::{HttpRequest, http::header::HeaderName};

use crate::{
    counter::client_ip::{TrustedProxies, forwarding_header::ForwardingHeader},
    limiter::clients::Clients,
};

/// What a CDN writes into a request to the server behind it (RFC 8586).
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Looks at a request that counts for an address.
pub(super) fn look(clients: &Clients, request: &HttpRequest) {
    static REPORTED: Once = Once::new();

    if REPORTED.is_completed() {
        return;
    }
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let message = match &clients.ip.trusted {
        None => nobody_trusted(peer, request),
        Some(proxies) => unread_header(proxies, peer, request),
    };
    if let Some(message) = message {
        REPORTED.call_once(|| log::warn!("{message}"));
    }
}

fn nobody_trusted(peer: Option<IpAddr>, request: &HttpRequest) -> Option<String> {
    let header = ForwardingHeader::of(request)?;
    if peer.is_some_and(is_public) && !request.headers().contains_key(CDN_LOOP) {
        return None;
    }
    let (whose, proxies) = match peer {
        Some(peer) => (format!("from `{peer}`"), format!("networks([\"{peer}\"])?")),
        None => ("over a Unix socket".to_owned(), "hops(1)".to_owned()),
    };
    let name = header.name();
    let which = match &header {
        ForwardingHeader::XForwardedFor => String::new(),
        header => format!(".header(ForwardingHeader::{header:?})"),
    };
    Some(format!(
        "a request {whose} has the header `{name}`, and the limiter trusts no proxy: all clients of a proxy share one \
         counter; if this is your proxy, write `RateLimiter::builder().trusted_proxies(TrustedProxies::{proxies}{which})`; \
         if it is none, `TrustedProxies::hops(0)` says so (RL017)"
    ))
}

fn unread_header(proxies: &TrustedProxies, peer: Option<IpAddr>, request: &HttpRequest) -> Option<String> {
    let read = proxies.header_name();
    if request.headers().contains_key(read) || !proxies.trusts(peer) {
        return None;
    }
    let header = ForwardingHeader::of(request)?;
    let sent = header.name();
    let whose = peer.map_or_else(|| "over a Unix socket".to_owned(), |peer| format!("from the trusted `{peer}`"));
    // A client can send the header, too. To read what the proxy only passes on would let clients choose whom they count as.
    Some(format!(
        "a request {whose} has the header `{sent}`, and not `{read}`, which the limiter reads: all clients of the proxy \
         share one counter; if the proxy writes `{sent}` itself, write `TrustedProxies::header(ForwardingHeader::{header:?})`, \
         or else let the proxy send `{read}` (RL018)"
    ))
}

/// Whether a peer may be a client somewhere on the internet, and not a proxy beside the server.
fn is_public(peer: IpAddr) -> bool {
    /// For the networks of providers (RFC 6598), which some clouds use for their own.
    const SHARED: (Ipv4Addr, u32) = (Ipv4Addr::new(100, 64, 0, 0), !0 << 22);

    let is_internal = match peer {
        IpAddr::V4(peer) => {
            let is_shared = peer.to_bits() & SHARED.1 == SHARED.0.to_bits();
            peer.is_loopback() || peer.is_private() || peer.is_link_local() || is_shared
        }
        IpAddr::V6(peer) => peer.is_loopback() || peer.is_unique_local() || peer.is_unicast_link_local(),
    };
    !is_internal
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn is_reported(peer: &str, header: &str) -> bool {
        let request = TestRequest::default().insert_header((header, "192.0.2.1"));
        nobody_trusted(peer.parse().ok(), &request.to_http_request()).is_some()
    }

    #[test]
    fn a_peer_beside_the_server_is_taken_for_a_proxy() {
        for peer in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "100.127.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(is_reported(peer, "x-forwarded-for"), "{peer}");
            assert!(!is_reported(peer, "x-forwarded-proto"), "{peer}");
        }
        assert!(is_reported("no address, but a Unix socket", "x-forwarded-for"));
    }

    #[test]
    fn a_peer_on_the_internet_may_be_a_client_that_makes_something_up() {
        for peer in ["203.0.113.7", "172.32.0.1", "100.128.0.1", "100.63.255.255", "2001:db8::1", "fbff::1"] {
            assert!(!is_reported(peer, "x-forwarded-for"), "{peer}");
            let request = TestRequest::default().insert_header(("x-real-ip", "192.0.2.1"));
            let request = request.insert_header((CDN_LOOP, "cdn.example")).to_http_request();
            assert!(nobody_trusted(peer.parse().ok(), &request).is_some(), "{peer} is a CDN");
        }
    }
}
