//! Headers with a single address: the subject of a request, whatever a client writes into them.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::HeaderName;
use actix_web::test::TestRequest;
use ratelimit_runtime::{ForwardingHeader, RateLimiter, RateLimiterBuilder, TrustedProxies};

use super::client_ip::{Arrival, PROXY, assert_counts_for, direct, from, status};

const ENVOY: HeaderName = HeaderName::from_static("x-envoy-external-address");

/// Each header with a single address, by its name on the wire.
fn headers() -> [(&'static str, ForwardingHeader); 5] {
    [
        ("X-Real-IP", ForwardingHeader::XRealIp),
        ("CF-Connecting-IP", ForwardingHeader::CfConnectingIp),
        ("True-Client-IP", ForwardingHeader::TrueClientIp),
        ("Fly-Client-IP", ForwardingHeader::FlyClientIp),
        ("X-Envoy-External-Address", ForwardingHeader::Single(ENVOY)),
    ]
}

/// Trusts 10.0.0.0/8, and reads this header.
fn behind(header: ForwardingHeader) -> RateLimiterBuilder {
    direct().trusted_proxies(TrustedProxies::networks(["10.0.0.0/8"]).expect("a network").header(header))
}

fn behind_hops(hops: usize, header: ForwardingHeader) -> RateLimiterBuilder {
    direct().trusted_proxies(TrustedProxies::hops(hops).header(header))
}

#[actix_web::test]
async fn a_trusted_proxy_names_the_client_in_a_header_with_a_single_address() {
    for (name, header) in headers() {
        assert_counts_for(behind(header.clone()), from(PROXY).line(name, "192.0.2.1"), "192.0.2.1").await;
        assert_counts_for(behind(header), from(PROXY), PROXY).await;
    }
}

#[actix_web::test]
async fn a_single_address_from_a_stranger_is_not_believed() {
    for (name, header) in headers() {
        let spoofed = || from("192.0.2.1").line(name, "198.51.100.7");
        assert_counts_for(behind(header.clone()), spoofed(), "192.0.2.1").await;
        assert_counts_for(behind_hops(0, header), spoofed(), "192.0.2.1").await;
    }
}

#[actix_web::test]
async fn only_the_chosen_header_with_a_single_address_is_read() {
    for (name, header) in headers() {
        let others = headers().into_iter().filter(|(other, _)| *other != name);
        let arrival = others.fold(from(PROXY), |arrival, (other, _)| arrival.line(other, "198.51.100.7"));
        let arrival = arrival.line("X-Forwarded-For", "198.51.100.8").line("Forwarded", "for=198.51.100.9");
        assert_counts_for(behind(header), arrival.line(name, "192.0.2.1"), "192.0.2.1").await;
    }
}

#[actix_web::test]
async fn each_way_to_write_a_single_address_is_understood() {
    for (value, client) in [
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8:1:2::3", "2001:db8:1:2::3"),
        ("[2001:db8:1:2::3]", "2001:db8:1:2::3"),
        ("[2001:db8:1:2::3]:4711", "2001:db8:1:2::3"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        // The address of another trusted proxy is where the chain ends: the header says nothing of what is before it.
        ("10.0.0.2", "10.0.0.2"),
    ] {
        let header = ForwardingHeader::XRealIp;
        assert_counts_for(behind(header), from(PROXY).line("X-Real-IP", value), client).await;
    }
}

#[actix_web::test]
async fn a_header_that_has_no_single_address_counts_for_the_proxy() {
    for value in [
        "",
        " ",
        "unknown",
        "garbage",
        "192.0.2.1,",
        ",192.0.2.1",
        "192.0.2.1, 192.0.2.1",
        "198.51.100.7, 192.0.2.1",
        "192.0.2.1 198.51.100.7",
        "192.0.2.1;198.51.100.7",
        "for=192.0.2.1",
        "192.0.2.256",
        "192.0.2",
        "3221225985",
        "0x7f.1",
        "192.0.2.1/32",
        "192.0.2.1:port",
        "192.0.2.1:99999",
        "[2001:db8::1",
        "2001:db8::1]",
        "[192.0.2.1]",
        "fe80::1%eth0",
    ] {
        for (name, header) in headers() {
            assert_counts_for(behind(header), from(PROXY).line(name, value), PROXY).await;
        }
    }
    let bytes = from(PROXY).line("X-Real-IP", vec![b'1', 0xff, 0xfe]);
    assert_counts_for(behind(ForwardingHeader::XRealIp), bytes, PROXY).await;
    let huge = from(PROXY).line("X-Real-IP", "1".repeat(60_000));
    assert_counts_for(behind(ForwardingHeader::XRealIp), huge, PROXY).await;
}

/// If a proxy adds its line to the client's, in either order, the client cannot choose its subject.
#[actix_web::test]
async fn several_lines_of_a_single_address_are_one_counter_whatever_they_say() {
    for (name, header) in headers() {
        let limiter = behind(header).build().expect("a limiter in memory");
        let mut statuses = Vec::new();
        for spoof in ["9.9.9.1", "9.9.9.2", "[2001:db8::1]", "192.0.2.1", "", "9.9.9.1, 9.9.9.2"] {
            for lines in [[spoof, "192.0.2.1"], ["192.0.2.1", spoof]] {
                let arrival = from(PROXY).line(name, lines[0]).line(name, lines[1]);
                statuses.push(status(&limiter, &arrival).await);
            }
        }
        assert_eq!((statuses[0], &statuses[1..]), (200, &[429; 11][..]), "{name}");
        assert_eq!(status(&limiter, &from("192.0.2.1")).await, 200, "{name}: the client pays for it");
        assert_eq!(status(&limiter, &from("9.9.9.1")).await, 200, "{name}: somebody else pays");
        assert_eq!(status(&limiter, &from(PROXY)).await, 429, "{name}: it is the proxy's counter");
    }
}

#[actix_web::test]
async fn hops_believe_a_single_address_from_whoever_connects() {
    for hops in [1, 2, 9] {
        let behind = || behind_hops(hops, ForwardingHeader::XRealIp);
        assert_counts_for(behind(), from(PROXY).line("X-Real-IP", "192.0.2.1"), "192.0.2.1").await;
        assert_counts_for(behind(), from(PROXY).line("X-Real-IP", "garbage"), PROXY).await;
        let over_a_socket = Arrival { peer: None, lines: vec![("X-Real-IP", b"192.0.2.1".to_vec())] };
        assert_counts_for(behind(), over_a_socket, "192.0.2.1").await;
    }
}

#[actix_web::test]
async fn over_a_unix_socket_networks_believe_no_single_address() {
    let limiter = behind(ForwardingHeader::XRealIp).build().expect("a limiter in memory");
    let arrival = |value: &str| Arrival { peer: None, lines: vec![("X-Real-IP", value.into())] };
    assert_eq!(status(&limiter, &arrival("192.0.2.1")).await, 200);
    assert_eq!(status(&limiter, &arrival("192.0.2.2")).await, 429, "a free pass");
}

#[actix_web::test]
async fn a_list_header_that_is_read_as_a_single_address_has_one_entry() {
    let behind = || behind(ForwardingHeader::Single(HeaderName::from_static("x-forwarded-for")));
    assert_counts_for(behind(), from(PROXY).line("X-Forwarded-For", "192.0.2.1"), "192.0.2.1").await;
    assert_counts_for(behind(), from(PROXY).line("X-Forwarded-For", "198.51.100.7, 192.0.2.1"), PROXY).await;
}

#[actix_web::test]
async fn the_address_of_the_client_is_the_one_that_is_resolved() {
    let networks = TrustedProxies::networks(["10.0.0.0/8", "fd00::1"]).expect("networks");
    let behind = RateLimiter::builder().trusted_proxies(networks).build().expect("a limiter in memory");
    let direct = RateLimiter::in_memory();
    for (limiter, peer, forwarded, client) in [
        (&direct, Some("192.0.2.1"), "198.51.100.7", Some("192.0.2.1")),
        (&direct, Some("::ffff:192.0.2.1"), "198.51.100.7", Some("192.0.2.1")),
        // The whole address, though the request counts for its network.
        (&direct, Some("2001:db8:1:2:3:4:5:6"), "198.51.100.7", Some("2001:db8:1:2:3:4:5:6")),
        // The whole address, though the request counts for the address in it.
        (&direct, Some("64:ff9b::192.0.2.1"), "198.51.100.7", Some("64:ff9b::192.0.2.1")),
        (&direct, None, "198.51.100.7", None),
        (&behind, Some("10.0.0.1"), "192.0.2.1", Some("192.0.2.1")),
        (&behind, Some("fd00::1"), "[2001:db8::7]:4711", Some("2001:db8::7")),
        (&behind, Some("10.0.0.1"), "garbage", Some("10.0.0.1")),
        (&behind, Some("203.0.113.9"), "192.0.2.1", Some("203.0.113.9")),
    ] {
        let mut request =
            TestRequest::default().app_data(limiter.clone()).insert_header(("X-Forwarded-For", forwarded));
        if let Some(peer) = peer {
            request = request.peer_addr(SocketAddr::new(peer.parse().expect("an address"), 4711));
        }
        let client = client.map(|client| client.parse::<IpAddr>().expect("an address"));
        assert_eq!(RateLimiter::client_ip(&request.to_http_request()), client, "{peer:?}, {forwarded}");
    }
}
