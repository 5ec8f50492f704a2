//! `scope = "ip"`: the address that a request counts for, with any forwarding headers.

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};

use actix_web::http::header::HeaderValue;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, HttpResponse, HttpServer, Responder, get};
use ratelimit_runtime::{ForwardingHeader, RateLimiter, RateLimiterBuilder, TrustedProxies, ratelimit};
use ratelimit_tests::app::Served;
use ratelimit_tests::http::request;

use crate::in_memory;

#[get("/")]
#[ratelimit(limit = 1, per = 2_000_000_000, scope = "ip")]
async fn once() -> impl Responder {
    HttpResponse::Ok()
}

pub(super) const PROXY: &str = "10.0.0.1";
const STRANGER: &str = "203.0.113.99";

/// A request as it arrives: from a peer, with lines of a forwarding header.
pub(super) struct Arrival<'a> {
    pub(super) peer: Option<&'a str>,
    pub(super) lines: Vec<(&'a str, Vec<u8>)>,
}

/// The text of a failed assertion. It shortens a huge header.
impl fmt::Debug for Arrival<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines from {:?}", self.lines.len(), self.peer)?;
        self.lines.iter().take(3).try_for_each(|(name, value)| {
            let value = String::from_utf8_lossy(value);
            write!(f, "; {name}: {}", value.chars().take(100).collect::<String>())
        })
    }
}

pub(super) fn from(peer: &str) -> Arrival<'_> {
    Arrival { peer: Some(peer), lines: Vec::new() }
}

impl<'a> Arrival<'a> {
    pub(super) fn line(mut self, name: &'a str, value: impl Into<Vec<u8>>) -> Self {
        self.lines.push((name, value.into()));
        self
    }

    fn xff(self, value: impl Into<Vec<u8>>) -> Self {
        self.line("X-Forwarded-For", value)
    }

    fn forwarded(self, value: impl Into<Vec<u8>>) -> Self {
        self.line("Forwarded", value)
    }
}

pub(super) async fn status(limiter: &RateLimiter, arrival: &Arrival<'_>) -> u16 {
    let app = init_service(App::new().app_data(limiter.clone()).service(once)).await;
    let mut request = TestRequest::get().uri("/");
    if let Some(peer) = arrival.peer {
        let peer: IpAddr = peer.parse().expect("an address");
        request = request.peer_addr(SocketAddr::new(peer, 4711));
    }
    for (name, value) in &arrival.lines {
        request = request.append_header((*name, HeaderValue::from_bytes(value).expect("a header's value")));
    }
    request.send_request(&app).await.status().as_u16()
}

/// Asserts that the request uses up the one request of the client at `address`, and nobody else's.
pub(super) async fn assert_counts_for(limiter: RateLimiterBuilder, arrival: Arrival<'_>, address: &str) {
    let limiter = limiter.build().expect("a limiter in memory");
    assert_eq!(status(&limiter, &arrival).await, 200, "{arrival:?}");
    assert_eq!(status(&limiter, &arrival).await, 429, "{arrival:?} is not one client");
    assert_eq!(status(&limiter, &from(address)).await, 429, "{arrival:?} does not count for {address}");
    assert_eq!(status(&limiter, &from(STRANGER)).await, 200, "{arrival:?} counts for a stranger");
}

pub(super) fn direct() -> RateLimiterBuilder {
    RateLimiter::builder()
}

/// Trusts 10.0.0.0/8 and one IPv6 address, and reads `X-Forwarded-For`.
fn behind_networks() -> RateLimiterBuilder {
    let networks = TrustedProxies::networks(["10.0.0.0/8", "fd00::1"]).expect("networks");
    direct().trusted_proxies(networks)
}

/// Like [`behind_networks`], but reads `Forwarded`.
fn behind_forwarded() -> RateLimiterBuilder {
    let networks = TrustedProxies::networks(["10.0.0.0/8"]).expect("networks");
    direct().trusted_proxies(networks.header(ForwardingHeader::Forwarded))
}

fn behind_hops(hops: usize) -> RateLimiterBuilder {
    direct().trusted_proxies(TrustedProxies::hops(hops))
}

#[actix_web::test]
async fn without_trusted_proxies_the_peer_is_the_client_whatever_the_headers_say() {
    let spoofed =
        || from("192.0.2.1").xff("198.51.100.7").forwarded("for=198.51.100.7").line("X-Real-IP", "198.51.100.7");
    assert_counts_for(direct(), from("192.0.2.1"), "192.0.2.1").await;
    assert_counts_for(direct(), spoofed(), "192.0.2.1").await;
    assert_counts_for(behind_hops(0), spoofed(), "192.0.2.1").await;
}

#[actix_web::test]
async fn a_peer_that_is_no_trusted_proxy_cannot_speak_for_others() {
    assert_counts_for(behind_networks(), from("192.0.2.1").xff("198.51.100.7"), "192.0.2.1").await;
    assert_counts_for(behind_forwarded(), from("192.0.2.1").forwarded("for=198.51.100.7"), "192.0.2.1").await;
}

#[actix_web::test]
async fn the_header_is_read_from_the_right_as_far_as_proxies_are_trusted() {
    for (value, client) in [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("192.0.2.1,10.0.0.3 ,  10.0.0.2", "192.0.2.1"),
        ("198.51.100.7, 192.0.2.1", "192.0.2.1"),
        ("10.9.9.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ] {
        assert_counts_for(behind_networks(), from(PROXY).xff(value), client).await;
    }
    assert_counts_for(behind_networks(), from(PROXY), PROXY).await;
    assert_counts_for(behind_networks(), from("fd00::1").xff("192.0.2.1"), "192.0.2.1").await;
}

#[actix_web::test]
async fn hops_count_entries_from_the_right() {
    for (hops, value, client) in [
        (1, "198.51.100.7, 192.0.2.1", "192.0.2.1"),
        (2, "198.51.100.7, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        (2, "192.0.2.1", "192.0.2.1"),
        (9, "192.0.2.1, 10.0.0.2", "192.0.2.1"),
    ] {
        assert_counts_for(behind_hops(hops), from(PROXY).xff(value), client).await;
    }
}

#[actix_web::test]
async fn several_lines_of_one_header_are_one_list() {
    let arrival = from(PROXY).xff("198.51.100.7").xff("192.0.2.1, 10.0.0.3").xff("10.0.0.2");
    assert_counts_for(behind_networks(), arrival, "192.0.2.1").await;
}

#[actix_web::test]
async fn each_way_to_write_an_address_is_understood() {
    for (value, client) in [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("\"192.0.2.1:4711\"", "192.0.2.1"),
        ("2001:db8:1:2::3", "2001:db8:1:2::3"),
        ("[2001:db8:1:2::3]", "2001:db8:1:2::3"),
        ("[2001:db8:1:2::3]:4711", "2001:db8:1:2::3"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
    ] {
        assert_counts_for(behind_networks(), from(PROXY).xff(value), client).await;
        let forwarded = format!("For=\"{}\";proto=https;by=10.0.0.1", value.trim_matches('"'));
        assert_counts_for(behind_forwarded(), from(PROXY).forwarded(forwarded), client).await;
    }
    assert_counts_for(direct(), from("::ffff:192.0.2.1"), "192.0.2.1").await;
}

#[actix_web::test]
async fn forwarded_is_read_as_its_rfc_writes_it() {
    for (value, client) in [
        ("for=192.0.2.1", "192.0.2.1"),
        ("FOR=192.0.2.1", "192.0.2.1"),
        ("proto=http;by=203.0.113.43;for=192.0.2.1", "192.0.2.1"),
        ("for=198.51.100.7, for=192.0.2.1;proto=https, for=10.0.0.2", "192.0.2.1"),
        ("for=198.51.100.7;by=\"a, b, for=192.0.2.1", "192.0.2.1"),
    ] {
        assert_counts_for(behind_forwarded(), from(PROXY).forwarded(value), client).await;
    }
}

/// Nothing that a proxy copies from the client into quotes is read as the client's address.
#[actix_web::test]
async fn what_a_proxy_quotes_of_the_client_does_not_say_who_it_is() {
    let spoofed: [fn(&str) -> String; 10] = [
        |spoof| format!("for=5.6.7.8;host=\"a,for={spoof}\";proto=https"),
        |spoof| format!("for=5.6.7.8;host=\"a,for={spoof},b\";proto=https"),
        |spoof| format!("for=5.6.7.8;host=\"a, for={spoof};b=\";by=\"c\""),
        |spoof| format!("host=\"a;for={spoof}\";for=5.6.7.8"),
        |spoof| format!("host=\"a;for={spoof};b\";for=5.6.7.8;proto=https"),
        |spoof| format!("for=5.6.7.8;host=\"a\\\",for={spoof};b=\\\"\";proto=https"),
        |spoof| format!("for=5.6.7.8;host=\"a\\\",for={spoof}\""),
        |spoof| format!("host=\"a\\\";for={spoof};b=\\\"\";for=5.6.7.8"),
        |spoof| format!("host=\"a\\\";for={spoof}\";for=5.6.7.8"),
        |spoof| format!("host=\"a\\\\\\\";for={spoof};b=\\\"\";for=5.6.7.8"),
    ];
    let hop = || direct().trusted_proxies(TrustedProxies::hops(1).header(ForwardingHeader::Forwarded));
    let two_hops = || direct().trusted_proxies(TrustedProxies::hops(2).header(ForwardingHeader::Forwarded));
    for forwarded in spoofed {
        for (trusted, proxies) in [
            (behind_forwarded(), ""),
            (behind_forwarded(), ", for=10.0.0.2"),
            (hop(), ""),
            (two_hops(), ", for=10.0.0.2"),
        ] {
            let limiter = trusted.build().expect("a limiter in memory");
            let mut statuses = Vec::new();
            for spoof in ["9.9.9.1", "9.9.9.2", "[2001:db8::1]", "9.9.9.4"] {
                let value = forwarded(spoof) + proxies;
                statuses.push(status(&limiter, &from(PROXY).forwarded(value)).await);
            }
            let example = forwarded("9.9.9.1") + proxies;
            assert_eq!(statuses, [200, 429, 429, 429], "{example}: each address is another client");
            assert_eq!(status(&limiter, &from("9.9.9.1")).await, 200, "{example}: somebody else pays");
        }
    }
}

#[actix_web::test]
async fn the_address_beside_what_a_proxy_quotes_is_read() {
    for value in ["host=\"a;for=9.9.8.1\";for=5.6.7.8", "for=5.6.7.8;host=\"a;for=9.9.8.1\";proto=https"] {
        assert_counts_for(behind_forwarded(), from(PROXY).forwarded(value), "5.6.7.8").await;
    }
}

#[actix_web::test]
async fn networks_that_are_written_as_mapped_addresses_are_those_of_ipv4() {
    for (network, peer) in [
        ("::ffff:10.0.0.0/104", PROXY),
        ("::ffff:10.0.0.0/104", "::ffff:10.0.0.1"),
        ("::ffff:a00:0/104", PROXY),
        ("::ffff:10.0.0.1/128", PROXY),
        ("::ffff:10.0.0.1", PROXY),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::ffff:0.0.0.0/96", PROXY),
    ] {
        let behind = || direct().trusted_proxies(TrustedProxies::networks([network]).expect(network));
        assert_counts_for(behind(), from(peer).xff("192.0.2.1"), "192.0.2.1").await;
    }
    for (network, peer) in [("::ffff:10.0.0.0/104", "11.0.0.1"), ("::ffff:127.0.0.1", "127.0.0.2")] {
        let behind = direct().trusted_proxies(TrustedProxies::networks([network]).expect(network));
        assert_counts_for(behind, from(peer).xff("192.0.2.1"), peer).await;
    }
}

/// Parts of a list that was split at its commas.
#[actix_web::test]
async fn white_space_around_a_network_does_not_count() {
    let behind = TrustedProxies::networks(" 10.0.0.0/8,\t10.9.9.9 \n".split(',')).expect("networks");
    assert_counts_for(direct().trusted_proxies(behind), from(PROXY).xff("192.0.2.1"), "192.0.2.1").await;
    let translated = direct().nat64_prefix(" 2001:db8:64::/96\n");
    assert_counts_for(translated, from("2001:db8:64::192.0.2.1"), "192.0.2.1").await;
}

#[actix_web::test]
async fn only_the_chosen_header_is_read() {
    let both = || from(PROXY).xff("192.0.2.1").forwarded("for=192.0.2.2");
    assert_counts_for(behind_networks(), both(), "192.0.2.1").await;
    assert_counts_for(behind_forwarded(), both(), "192.0.2.2").await;
}

#[actix_web::test]
async fn an_entry_that_is_no_address_counts_for_the_proxy_that_wrote_it() {
    for value in [
        "unknown",
        "_gazonk",
        "_hidden:80",
        "",
        " ",
        ",",
        "garbage",
        "192.0.2",
        "192.0.2.256",
        "0x7f.1",
        "192.0.2.1:port",
        "[2001:db8::1",
        "2001:db8::1]",
        "[]",
        "localhost",
        "192.0.2.1/32",
        "fe80::1%eth0",
        "-1",
        "\"",
        "<script>",
    ] {
        assert_counts_for(behind_networks(), from(PROXY).xff(value), PROXY).await;
        // Nor may they lead to what the client wrote further left.
        assert_counts_for(behind_networks(), from(PROXY).xff(format!("192.0.2.1, {value}, 10.0.0.7")), "10.0.0.7")
            .await;
        assert_counts_for(behind_forwarded(), from(PROXY).forwarded(format!("for={value}")), PROXY).await;
        assert_counts_for(behind_hops(1), from(PROXY).xff(format!("192.0.2.1, {value}")), PROXY).await;
    }
    assert_counts_for(behind_networks(), from(PROXY).xff(vec![b'1', 0xff, 0xfe]), PROXY).await;
    assert_counts_for(behind_forwarded(), from(PROXY).forwarded("192.0.2.1"), PROXY).await;
    assert_counts_for(behind_forwarded(), from(PROXY).forwarded("by=192.0.2.1;host=192.0.2.1"), PROXY).await;
}

#[actix_web::test]
async fn many_and_huge_headers_are_read_from_the_right_too() {
    let huge = "198.51.100.7, ".repeat(4000) + "192.0.2.1";
    assert_counts_for(behind_networks(), from(PROXY).xff(huge), "192.0.2.1").await;
    let all_trusted = "10.0.0.2, ".repeat(4000) + "10.0.0.3";
    assert_counts_for(behind_networks(), from(PROXY).xff(all_trusted), "10.0.0.2").await;
    assert_counts_for(behind_networks(), from(PROXY).xff("x".repeat(60_000)), PROXY).await;
    let many = (0..1000).fold(from(PROXY), |arrival, _| arrival.xff("198.51.100.7"));
    assert_counts_for(behind_networks(), many.xff("192.0.2.1"), "192.0.2.1").await;
}

#[actix_web::test]
async fn ipv6_clients_are_counted_by_their_network() {
    let in_64 = ("2001:db8:1:2:aaaa::1", "2001:db8:1:2:bbbb::2", "2001:db8:1:3::1");
    let in_48 = ("2001:db8:1:2::1", "2001:db8:1:ffff::1", "2001:db8:2::1");
    let in_128 = ("2001:db8::1", "2001:db8::1", "2001:db8::2");
    let in_0 = ("2001:db8::1", "3fff::1", "192.0.2.1");
    for (builder, (first, same, other)) in [
        (direct(), in_64),
        (direct().ipv6_prefix(48), in_48),
        (direct().ipv6_prefix(128), in_128),
        (direct().ipv6_prefix(0), in_0),
    ] {
        let limiter = builder.build().expect("a limiter in memory");
        assert_eq!(status(&limiter, &from(first)).await, 200, "{first}");
        assert_eq!(status(&limiter, &from(same)).await, 429, "{same}");
        assert_eq!(status(&limiter, &from(other)).await, 200, "{other}");
    }
}

#[actix_web::test]
async fn requests_without_a_peer_address_share_one_counter() {
    let nowhere = || Arrival { peer: None, lines: Vec::new() };
    for builder in [direct(), behind_networks()] {
        let limiter = builder.build().expect("a limiter in memory");
        assert_eq!(status(&limiter, &nowhere()).await, 200);
        assert_eq!(status(&limiter, &nowhere().xff("192.0.2.1")).await, 429, "a free pass");
        assert_eq!(status(&limiter, &from("192.0.2.1")).await, 200, "somebody else");
    }
    let limiter = behind_hops(1).build().expect("a limiter in memory");
    assert_eq!(status(&limiter, &nowhere().xff("192.0.2.1")).await, 200);
    assert_eq!(status(&limiter, &from("192.0.2.1")).await, 429, "the hop says who it is");
}

#[test]
fn a_server_on_a_unix_socket_limits_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let (limiter, _clock) = in_memory();
    // The TCP listener is not used.
    let _server = Served::start(move |_| {
        let app = move || App::new().app_data(limiter.clone()).service(once);
        HttpServer::new(app).workers(1).listen_uds(listener).expect("the server listens").run()
    });
    let ask = || {
        let mut socket = UnixStream::connect(&path).expect("a connection");
        socket.write_all(request("GET", "/", &[("Connection", "close")]).as_bytes()).expect("a request");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    };
    assert!(ask().starts_with("HTTP/1.1 200"));
    assert!(ask().starts_with("HTTP/1.1 429"));
}

#[test]
fn a_network_that_is_none_is_an_error_that_names_it() {
    for text in ["", "10.0.0.0/33", "localhost", "10.0.0", "::/129", "10.0.0.0/8, ::1"] {
        let error = TrustedProxies::networks(["10.0.0.0/8", text]).expect_err(text);
        assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
    }
}
