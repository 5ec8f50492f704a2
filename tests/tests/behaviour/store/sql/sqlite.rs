//! Counters in a file.

use std::fs;

use ratelimit_runtime::{OnStoreError, Policy, RateLimiter, policy};
use ratelimit_tests::sqlite_file::SqliteFile;
use ratelimit_tests::wait;

use super::{LIMIT, Limited, assert_logs};

static SHORT: Policy = policy!("3/second", key = "sqlite-short", scope = "user");

#[test]
fn counters_survive_a_restart_of_the_application() {
    let file = SqliteFile::new();
    assert_eq!(Limited::migrated(&file.url()).remaining("alice"), Some(2));
    assert_eq!(Limited::new(&file.url()).remaining("alice"), Some(1));
}

#[test]
fn a_file_that_another_program_locks_is_a_failure_until_it_is_free() {
    let file = SqliteFile::new();
    let limited = Limited::migrated(&file.url());
    let locked = file.client().hold("BEGIN IMMEDIATE");
    for _ in 0..3 {
        assert!(limited.fails("alice"));
    }
    assert_logs(&file.url(), &["ERROR", "holds the lock of the file", "(RL022)"]);
    drop(locked);
    limited.wait_until_it_serves("alice");
}

#[test]
fn a_missing_table_is_a_failure_until_it_is_created() {
    let file = SqliteFile::new();
    let limited = Limited::new(&file.url());
    assert!(limited.fails("alice"));
    assert_logs(&file.url(), &["ERROR", "call RateLimiter::migrate", "(RL022)"]);
    // A migration waits for a lock.
    let locked = file.client().hold("BEGIN IMMEDIATE");
    std::thread::scope(|scope| {
        let migrating = scope.spawn(|| Limited::new(&file.url()).migrate());
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(locked);
        assert_eq!(migrating.join().expect("a migration"), Ok(()));
    });
    limited.wait_until_it_serves("alice");
    assert_eq!(limited.migrate(), Ok(()));
    assert_eq!(limited.remaining("alice"), Some(1));
}

#[test]
fn a_file_that_is_no_database_or_has_another_table_is_a_failure_that_says_so() {
    let file = SqliteFile::new();
    fs::write(file.path(), "not a database, and longer than the header of one, which has a hundred bytes ".repeat(9))
        .expect("a folder");
    assert!(Limited::new(&file.url()).fails("alice"));
    assert_logs(&file.url(), &["ERROR", "not a database", "(RL022)"]);
    let error = Limited::new(&file.url()).migrate().expect_err("no database").to_string();
    assert!(error.contains("not a database") && error.ends_with("(RL029)"), "{error}");

    let file = SqliteFile::new();
    file.client().ask("CREATE TABLE rate_limits (key text PRIMARY KEY, count integer)");
    assert!(Limited::new(&file.url()).fails("alice"));
    assert_logs(&file.url(), &["ERROR", "the table is not as RateLimiter::migrate creates it"]);
}

#[test]
fn a_folder_that_is_not_there_is_a_failure_that_says_so() {
    let file = SqliteFile::new();
    let url = format!("{}/nowhere/limits.db", file.url().trim_end_matches("/limits.db"));
    assert!(Limited::new(&url).fails("alice"));
    assert_logs(&url, &["ERROR", "the folder must be there", "(RL022)"]);
}

#[test]
fn a_foreign_value_fails_its_own_checks_until_it_is_reset() {
    let file = SqliteFile::new();
    let limited = Limited::migrated(&file.url());
    assert_eq!(limited.remaining("alice"), Some(2));
    for value in ["'hello'", "''", "7", "x'ff'"] {
        file.client().ask(&format!("UPDATE rate_limits SET value = {value} WHERE key LIKE '%user:alice'"));
        assert!(limited.fails("alice"), "{value}");
        let alice = ratelimit_runtime::Subject::new().user("alice");
        assert_eq!(limited.runtime.block_on(limited.limiter.reset(&LIMIT, &alice)), Ok(()), "{value}");
        assert_eq!(limited.remaining("alice"), Some(2));
    }
}

#[test]
fn a_full_disk_fails_new_counters_and_admits_nobody_for_free() {
    let file = SqliteFile::new();
    Limited::migrated(&file.url());
    let mut command = std::process::Command::new("sh");
    // Files of this process end at 128 blocks of 512 bytes, and the system says so by an error.
    command.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\"", env!("CARGO_BIN_EXE_app")]);
    command.env_remove("RATELIMIT_URL").env("APP_STORE", file.url()).env("APP_ON_STORE_ERROR", "deny");
    let app = ratelimit_tests::process::Process::start(&mut command);
    let status = |id: usize| {
        let id = format!("{id}/{}", "x".repeat(200));
        ratelimit_tests::http::Server::get_with(&app, "/each", &[("X-Id", &id)]).status
    };
    let mut id = 0;
    wait::until("the disk is full", || {
        id += 1;
        let status = status(id);
        assert!([200, 503].contains(&status), "{status}");
        status == 503
    });
    let words = ["ERROR", "rate limit store", "(RL022)"];
    wait::until("the log says why", || app.lines_with(&words) > 0);
}

#[test]
fn rows_that_have_expired_are_deleted() {
    let file = SqliteFile::new();
    let limited = Limited::migrated(&file.url());
    for user in 0..10 {
        assert!(limited.check(&SHORT, &format!("user-{user}")).is_ok());
    }
    let rows = || file.client().ask("SELECT count(*) FROM rate_limits");
    wait::until("the row of the day remains", || rows() == "1");
}

#[test]
fn without_the_file_requests_are_counted_in_memory_unless_set_otherwise() {
    let file = SqliteFile::new();
    let limiter = RateLimiter::builder().on_store_error(OnStoreError::Local).store(file.url()).build().expect("a URL");
    let limited = Limited { limiter, runtime: actix_web::rt::Runtime::new().expect("a runtime") };
    let state = limited.check(&LIMIT, "alice").expect("a fallback");
    assert!(state.is_degraded() && state.remaining() == 2, "{state:?}");
}
