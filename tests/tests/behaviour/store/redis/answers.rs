//! Replies that no Redis sends. Whatever a server replies, it takes little memory and little space in the log.

use std::process::Command;

use ratelimit_tests::fake_redis::{FakeRedis, Says};
use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::wait;

/// The most memory that an application may add, in KiB.
const GROWTH: u64 = 32 * 1024;

/// The answer to TIME.
const TIME: &str = "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n";

/// The longest line of the log, in characters.
const LONGEST_LINE: usize = 1000;

/// Asserts that the replies of this server, the store at `url`, do not harm an application.
fn assert_harmless(server: &FakeRedis, url: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env("APP_STORE", url).env("APP_ON_STORE_ERROR", "deny").env("APP_WORKERS", "1");
    let mut app = Process::start(&mut command);
    // Not limited.
    app.get("/free");
    let before = app.usage("VmHWM");
    wait::until("the application has tried to connect several times", || {
        assert_eq!(app.get("/quote").status, 503);
        server.accepted() >= 3
    });
    let after = app.usage("VmHWM");
    assert!(after <= before.map(|before| before + GROWTH), "from {before:?} to {after:?} KiB");
    app.kill();
    let output = app.output();
    assert!(output.iter().all(|line| line.chars().count() <= LONGEST_LINE), "{output:#?}");
    assert_eq!(app.lines_with(&["ERROR"]), 1, "{output:#?}");
}

/// Replies with a part that is too long: their beginning, and their endless continuation.
const WITHOUT_END: [(&str, &str); 10] = [
    ("$1000000000\r\n", "x"),
    ("*1000000000\r\n$1000000000\r\n", "x"),
    ("*1000000000\r\n", ":1\r\n"),
    ("*1000000000\r\n", "$0\r\n\r\n"),
    ("", "*1\r\n"),
    ("+", "x"),
    ("-ERR ", "x"),
    (":", "1"),
    ("=1000000000\r\ntxt:", "x"),
    ("", "x"),
];

fn without_end((first, rest): (&str, &str)) -> Says {
    Says::WithoutEnd(first.to_owned(), rest.to_owned())
}

#[test]
fn an_answer_to_the_login_that_does_not_end_is_given_up() {
    for answer in WITHOUT_END {
        let server = FakeRedis::start(move |_| without_end(answer));
        assert_harmless(&server, &format!("redis://:secret@{}/3", server.address()));
    }
}

#[test]
fn an_answer_to_time_that_does_not_end_is_given_up() {
    for answer in WITHOUT_END {
        let server = FakeRedis::start(move |_| without_end(answer));
        assert_harmless(&server, &format!("redis://{}/", server.address()));
    }
}

#[test]
fn an_answer_to_a_check_that_does_not_end_is_given_up() {
    for answer in WITHOUT_END {
        let server = FakeRedis::start(move |sent| match sent.contains("TIME") {
            true => Says::Text(TIME.to_owned()),
            false => without_end(answer),
        });
        assert_harmless(&server, &format!("redis://{}/", server.address()));
    }
}

#[test]
fn an_answer_of_a_cluster_or_a_sentinel_that_does_not_end_is_given_up() {
    for answer in [WITHOUT_END[0], WITHOUT_END[2]] {
        let server = FakeRedis::start(move |_| without_end(answer));
        assert_harmless(&server, &format!("redis+cluster://{}", server.address()));
        assert_harmless(&server, &format!("redis+sentinel://{}/service", server.address()));
    }
}

#[test]
fn what_a_server_says_stands_in_the_log_in_one_short_line_that_can_be_seen() {
    let text = format!("a\u{2028}b\u{2029}c\u{202e}d\u{2066}e\u{200b}f\u{feff}g\u{1b}[31mh\t{}", "x".repeat(900_000));
    let time = "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n";
    let answers: [(&str, String); 5] = [
        ("fails", format!("-OOM {text}\r\n")),
        ("fails", format!("-LOADING {text}\r\n")),
        ("refuses", format!("-NOPERM {text}\r\n")),
        ("refuses", format!("-ERR {text}\r\n")),
        // The error of one check, within the list.
        ("refuses", format!("*3\r\n:1700000000\r\n:0\r\n-ERR {text}\r\n")),
    ];
    for (says, answer) in answers {
        let server = FakeRedis::start(move |sent| {
            Says::Text(if sent.contains("TIME") { time.to_owned() } else { answer.clone() })
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
        command.env("APP_STORE", format!("redis://{}/", server.address()));
        command.env("APP_ON_STORE_ERROR", "deny").env("APP_WORKERS", "1").env("APP_DEADLINE_MS", "20000");
        let mut app = Process::start(&mut command);
        for _ in 0..5 {
            assert_eq!(app.get("/quote").status, 503);
        }
        wait::until("the log is told", || app.lines_with(&["ERROR"]) > 0);
        app.kill();
        let output = app.output();
        // The first line has the address.
        assert_eq!((output.len(), app.lines_with(&["ERROR", says])), (2, 1), "{output:#?}");
        let is_seen =
            |character: char| character == ' ' || character == '\u{fffd}' || character.escape_debug().len() == 1;
        let is_plain = |character: char| is_seen(character) || matches!(character, '"' | '\'' | '\\');
        assert!(output.iter().all(|line| line.chars().all(is_plain)), "{output:#?}");
        assert!(output.iter().all(|line| line.chars().count() <= LONGEST_LINE), "{output:#?}");
    }
}
