//! Each example, started as a user starts it, and asked over a real socket.

use std::process::Command;
use std::time::SystemTime;

use ratelimit_tests::http::{Reply, Server, request};
use ratelimit_tests::process::Process;
#[cfg(feature = "redis")]
use ratelimit_tests::redis_server::RedisServer;
use ratelimit_tests::wait;
use ratelimit_tests::websocket::{Kind, WebSocket};

use crate::alone;
use crate::artifacts::example;

pub(crate) fn start(name: &str, url: Option<&str>) -> Process {
    let mut command = Command::new(example(name));
    command.env("PORT", "0").env_remove("RATELIMIT_URL");
    if let Some(url) = url {
        command.env("RATELIMIT_URL", url);
    }
    Process::start(&mut command)
}

/// The examples' windows are minutes of the real clock: in the last seconds of one, a test would see it end.
pub(crate) fn wait_for_the_middle_of_a_minute() {
    let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() % 60;
    wait::until("the minute is not about to end", || second() < 54);
}

/// Sends one request as often as the limit allows; returns the limit, and the answer to one request more.
fn exhaust(example: &Process, method: &str, path: &str, headers: &[(&str, &str)]) -> (u64, Reply) {
    wait_for_the_middle_of_a_minute();
    let mut connection = example.open();
    let first = connection.ask(method, path, headers);
    let (limit, remaining, _) = first.x_headers();
    assert_eq!((first.status, remaining), (200, limit - 1), "{path} {headers:?}: {first:?}");
    for remaining in (0..remaining).rev() {
        let reply = connection.ask(method, path, headers);
        assert_eq!((reply.status, reply.x_headers().1), (200, remaining), "{path} {headers:?}");
    }
    (limit, connection.ask(method, path, headers))
}

pub(crate) fn assert_refuses_after(example: &Process, limit: u64, path: &str, headers: &[(&str, &str)]) {
    let (known, refusal) = exhaust(example, "GET", path, headers);
    assert_eq!((known, refusal.status), (limit, 429), "{path} {headers:?}");
}

#[cfg(feature = "redis")]
#[test]
fn redis_goes_on_without_redis_where_it_may() {
    let _alone = alone();
    let mut redis = RedisServer::on_port();
    let both = [(); 2].map(|()| start("redis", Some(&redis.url())));
    let login = || both[0].open().ask("POST", "/login", &[]).status;
    wait_for_the_middle_of_a_minute();
    redis.assert_shared_by(&both, "/quote", 10);
    wait::until("too many have tried to log in", || login() == 429);
    redis.kill();
    wait::until("nobody may log in without Redis", || login() == 503);
    // The limit was reached, and stays so until the minute ends; a process that has not seen that serves.
    assert!(both.iter().all(|example| example.get("/quote").status == 429));
    assert_eq!(start("redis", Some(&redis.url())).get("/quote").status, 200);
}

#[cfg(feature = "redis")]
#[test]
fn credentials_logs_in_with_the_token_of_the_moment() {
    let _alone = alone();
    let redis = RedisServer::on_port();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let file = folder.path().join("token");
    let issue = |token: &str| {
        redis.ask::<()>(&["ACL", "SETUSER", "app", "on", "resetpass", &format!(">{token}"), "~*", "+@all"]);
        std::fs::write(&file, token).expect("a file that can be written");
        redis.ask::<()>(&["CLIENT", "KILL", "USER", "app"]);
    };
    issue("first");
    let mut command = Command::new(example("credentials"));
    command.env("PORT", "0").env("RATELIMIT_URL", redis.url()).env("REDIS_TOKEN_FILE", &file);
    let example = Process::start(&mut command);
    for token in ["first", "second", "third"] {
        issue(token);
        wait::until("the example counts in Redis", || example.get("/quote").status == 200);
    }
}

#[test]
fn custom_scope_counts_keys_users_and_tenants() {
    let _alone = alone();
    let example = start("custom_scope", None);
    let bearer = |token: &str| format!("Bearer {token}");
    let (alice, bob, carol) = (bearer("acme:alice"), bearer("acme:bob"), bearer("other:carol"));
    for headers in [&[("X-Api-Key", "1234")][..], &[("X-Api-Key", "5678")], &[]] {
        assert_refuses_after(&example, 5, "/search", headers);
    }
    for headers in [&[("Authorization", &*alice)][..], &[("Authorization", &bob)], &[]] {
        assert_refuses_after(&example, 5, "/inbox", headers);
    }
    for user in [&alice, &bob, &carol] {
        assert_refuses_after(&example, 3, "/reports", &[("Authorization", user)]);
    }
    assert_eq!(example.get("/reports").status, 401);
    assert_refuses_after(&example, 2, "/status", &[]);
    assert_eq!(example.get_with("/status", &[("X-Monitor", "1")]).status, 200);
}

#[test]
fn over_limit_answers_for_itself() {
    let _alone = alone();
    let example = start("over_limit", None);
    let (_, busy) = exhaust(&example, "GET", "/quote", &[]);
    assert_eq!(busy.status, 429);
    assert!(busy.body.starts_with("/quote is busy: come back in "), "{busy:?}");
    let (_, teaser) = exhaust(&example, "GET", "/search", &[]);
    assert_eq!(teaser.status, 200);
    assert!(teaser.body.starts_with("the first of many results (full results again in "), "{teaser:?}");
    let (_, watched) = exhaust(&example, "GET", "/watched", &[]);
    assert_eq!((watched.status, watched.body.as_str()), (200, "this would have been refused\n"));
}

#[test]
fn own_errors_are_those_of_the_application() {
    let _alone = alone();
    let example = start("own_errors", None);
    let (_, refusal) = exhaust(&example, "GET", "/quote", &[]);
    assert_eq!((refusal.status, refusal.header("content-type")), (429, Some("application/json")));
    let seconds = refusal.header("retry-after").unwrap_or_default();
    let body = format!("{{\"error\":{{\"code\":\"too_many_requests\",\"retry_in_seconds\":{seconds}}}}}\n");
    assert_eq!(refusal.body, body);
    let (_, teaser) = exhaust(&example, "GET", "/search", &[]);
    assert_eq!((teaser.status, teaser.body.as_str()), (200, "the first of many results\n"));
    #[cfg(feature = "redis")]
    {
        let mut redis = RedisServer::on_port();
        redis.kill();
        let unavailable = start("own_errors", Some(&redis.url())).get("/quote");
        assert_eq!((unavailable.status, unavailable.header("retry-after")), (503, Some("1")));
        assert!(unavailable.body.contains("https://status.example.com"), "{unavailable:?}");
    }
}

#[test]
fn shared_key_counts_two_handlers_together() {
    let _alone = alone();
    let example = start("shared_key", None);
    let (limit, refusal) = exhaust(&example, "POST", "/notes", &[]);
    assert_eq!((limit, refusal.status), (3, 429));
    // Three of the ten that both handlers share are gone.
    let remaining = example.get("/notes").x_headers();
    assert_eq!((remaining.0, remaining.1), (10, 6));
}

#[test]
fn algorithms_let_bursts_pass_or_not() {
    let _alone = alone();
    let example = start("algorithms", None);
    for path in ["/fixed", "/sliding"] {
        assert_refuses_after(&example, 10, path, &[]);
    }
    assert_eq!(example.get("/staggered").x_headers().0, 10);
    let mut connection = example.open();
    let burst = (0..3).map(|_| connection.get("/burst").status).collect::<Vec<_>>();
    assert_eq!((burst, connection.get("/burst").status), (vec![200; 3], 429));
    wait::until("one comes back each second", || connection.get("/burst").status == 200);
    // No more than ten a minute, and no more than three a second of them.
    let both = (0..4).map(|_| connection.get("/both").status).collect::<Vec<_>>();
    assert!(both.ends_with(&[200]) || both == [200, 200, 200, 429], "{both:?}");
}

#[test]
fn cost_takes_what_a_request_costs() {
    let _alone = alone();
    let example = start("cost", None);
    let ask = |path: &str| {
        let reply = example.get(path);
        (reply.status, reply.x_headers().1)
    };
    wait_for_the_middle_of_a_minute();
    assert_eq!(ask("/search?simple+and+elegant"), (200, 7));
    assert_eq!(ask("/search?one+two+three+four+five+six+seven+eight"), (429, 7));
    let monitor = example.get_with("/search?simple", &[("X-Monitor", "1")]);
    assert_eq!((monitor.status, monitor.header("x-ratelimit-remaining")), (200, None));
    assert_eq!((ask("/report/7"), ask("/report/7"), ask("/report/0")), ((200, 3), (429, 3), (200, 3)));
    assert_eq!(
        (ask("/quote"), ask("/export"), ask("/export"), ask("/quote")),
        ((200, 9), (200, 4), (429, 4), (200, 3))
    );
    let hello = example.get("/chat/hello");
    assert_eq!((hello.body.as_str(), hello.x_headers().1), ("HELLO (5 tokens, 25 left)\n", 25));
    let long = format!("/chat/{}", "words".repeat(10));
    assert_eq!((ask(&long), ask("/chat/hello")), ((200, 0), (429, 0)));
}

fn logs_in(example: &Process) {
    let login = |password: &str| {
        let body = format!("password={password}");
        let mut connection = example.open();
        connection.send(&format!(
            "POST /login HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        connection.reply().status
    };
    let left = || example.get("/attempts/127.0.0.1").body.chars().next();
    wait_for_the_middle_of_a_minute();
    for expected in ['2', '1', '0'] {
        assert_eq!(login("opensesame"), 200);
        wait::until("a success is given back", || left().is_some_and(|left| left > expected));
        assert_eq!((login("guess"), left()), (403, Some(expected)));
    }
    assert_eq!((login("opensesame"), example.get("/login").status), (429, 200));
    assert_eq!(example.open().ask("DELETE", "/attempts/127.0.0.1", &[]).status, 200);
    assert_eq!(left(), Some('3'));
    wait::until("who was forgiven is let in", || login("opensesame") == 200);
}

#[test]
fn login_counts_failures_until_they_are_forgiven() {
    let _alone = alone();
    logs_in(&start("login", None));
    #[cfg(feature = "redis")]
    logs_in(&start("login", Some(&RedisServer::on_port().url())));
}

#[test]
fn behind_proxy_counts_the_client_that_the_proxy_names() {
    let _alone = alone();
    let example = start("behind_proxy", None);
    assert_refuses_after(&example, 3, "/quote", &[("X-Forwarded-For", "192.0.2.60")]);
    let lie = [("X-Forwarded-For", "203.0.113.9, 192.0.2.60")];
    assert_eq!(example.get_with("/quote", &lie).status, 429);
    assert_refuses_after(&example, 3, "/quote", &[("X-Forwarded-For", "192.0.2.61")]);
}

#[test]
fn plans_admit_by_the_plan_and_an_upgrade_is_seen_at_once() {
    let _alone = alone();
    let example = start("plans", None);
    assert_refuses_after(&example, 1, "/search", &[]);
    assert_refuses_after(&example, 3, "/search", &[("X-User", "alice")]);
    let upgrade = |rate: &str| {
        let mut connection = example.open();
        let length = rate.len();
        connection.send(&format!("PUT /plans/alice HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{rate}"));
        connection.reply().status
    };
    assert_eq!((upgrade("fast"), upgrade("0/minute"), upgrade("5/minute")), (500, 500, 200));
    let upgraded = example.get_with("/search", &[("X-User", "alice")]);
    assert_eq!((upgraded.status, upgraded.body.as_str()), (200, "1 of 5 left\n"));
    for _ in 0..10 {
        assert_eq!(example.get_with("/search", &[("X-User", "root")]).body, "no limit\n");
    }
}

#[test]
fn block_refuses_who_keeps_guessing_until_an_administrator_forgives() {
    let _alone = alone();
    let example = start("block", None);
    let login = |password: &str| {
        let length = password.len().to_string();
        let head = request("POST", "/login", &[("Content-Length", &length), ("Content-Type", "text/plain")]);
        let mut connection = example.open();
        connection.send(&(head + password));
        connection.reply()
    };
    assert_eq!(login("opensesame").status, 200);
    assert_eq!([(); 3].map(|()| login("guess").status), [403; 3]);
    let refused = login("opensesame");
    assert_eq!(refused.status, 429);
    assert!((59..=61).contains(&refused.number("retry-after")), "{refused:?}");
    let block = |method: &str| example.open().ask(method, "/blocks/127.0.0.1", &[]).body;
    assert!(block("GET").starts_with("blocked for "));
    assert_eq!((block("DELETE").as_str(), block("GET").as_str()), ("forgiven\n", "not blocked\n"));
    assert_eq!(login("opensesame").status, 200);
    assert_eq!(block("PUT"), "blocked for a day\n");
    assert_eq!(login("opensesame").status, 429);
}

#[test]
fn concurrency_admits_two_exports_of_a_user_at_a_time() {
    let _alone = alone();
    let example = start("concurrency", None);
    let start = |user: &str| {
        let mut client = example.open();
        client.send(&request("GET", "/export", &[("X-User", user)]));
        wait::until("an answer begins", || client.has_answer());
        client
    };
    let mut first = start("alice");
    let second = start("alice");
    assert_eq!(example.get_with("/export", &[("X-User", "alice")]).status, 429);
    let mut bob = start("bob");
    // A client that leaves, and one that reads to the end.
    drop(second);
    wait::until("a place is free", || start("alice").reply().status == 200);
    assert_eq!((first.reply().status, bob.reply().status), (200, 200));
}

#[test]
fn whole_app_limits_everything_but_the_health_check() {
    let _alone = alone();
    let example = start("whole_app", None);
    assert_refuses_after(&example, 3, "/v1/report", &[]);
    // The four requests of before count for the whole application, too.
    let left: Vec<u16> = (0..7).map(|_| example.get("/v1/quote").status).collect();
    assert_eq!(left, [200, 200, 200, 200, 200, 200, 429]);
    assert_eq!((example.get("/nowhere").status, example.get("/health").status), (429, 200));
}

#[test]
fn login_by_name_stops_guesses_at_one_name_and_lists_of_names() {
    let _alone = alone();
    let example = start("login_by_name", None);
    let login = |name: &str, password: &str| {
        let body = format!(r#"{{"username": "{name}", "password": "{password}"}}"#);
        let mut connection = example.open();
        connection.send(&format!(
            "POST /login HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        connection.reply().status
    };
    wait_for_the_middle_of_a_minute();
    assert_eq!([1, 2, 3, 4].map(|_| login("alice", "guess")), [403, 403, 403, 429]);
    assert_eq!(login("ALICE", "guess"), 429);
    assert_eq!([1, 2, 3].map(|_| login("bob", "opensesame")), [200; 3]);
    let names = ["b", "c", "d", "e", "f", "g", "h", "i"].map(|name| login(name, "guess"));
    assert_eq!(names, [403, 403, 403, 403, 403, 403, 403, 429], "ten failures of one address");
}

#[test]
fn websocket_is_limited_per_message() {
    let _alone = alone();
    let example = start("websocket", None);
    let open = |user| WebSocket::open(example.address(), "/chat", &[("X-User", user)]);
    assert_eq!(WebSocket::open(example.address(), "/chat", &[]).err(), Some(401));
    wait_for_the_middle_of_a_minute();
    let (mut alice, mut again) = (open("alice").expect("a WebSocket"), open("alice").expect("a second one"));
    for left in (0..5).rev() {
        let socket = if left % 2 == 0 { &mut alice } else { &mut again };
        assert_eq!(socket.ask("hello"), format!("hello, alice! ({left} left)"));
    }
    for socket in [&mut alice, &mut again] {
        assert!(socket.ask("hello").starts_with("slow down: try again in "));
    }
    // The connection stays open, and other users have limits of their own.
    alice.send(Kind::Ping, b"still there");
    assert_eq!(alice.receive(), (Kind::Pong, b"still there".to_vec()));
    assert_eq!(open("bob").expect("a WebSocket").ask("hello"), "hello, bob! (4 left)");
    alice.send(Kind::Close, &1000_u16.to_be_bytes());
    assert_eq!(alice.receive(), (Kind::Close, 1000_u16.to_be_bytes().to_vec()));
    again.send(Kind::Binary, b"hello");
    assert_eq!(again.receive(), (Kind::Close, 1003_u16.to_be_bytes().to_vec()));
    // The attribute limits how often a user connects.
    let refused = (0..30).find_map(|_| open("carol").err());
    assert_eq!(refused, Some(429));
}
