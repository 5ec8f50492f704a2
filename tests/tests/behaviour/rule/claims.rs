//! Handlers share a counter only on purpose. An accidental collision is answered 500, and logged.

use std::process::Command;

use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::target::Target;

use crate::http::shapes::shapes;
use crate::in_memory;

fn app() -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.env_remove("APP_STORE").env("RATELIMIT_URL", "memory://");
    Process::start(&mut command)
}

#[actix_web::test]
async fn the_default_key_is_the_module_and_the_name_of_the_handler() {
    for (path, key) in [
        ("/below", "behaviour::http::shapes::below_get"),
        ("/above", "behaviour::http::shapes::above_get"),
        ("/routes/below", "behaviour::http::shapes::below_routes"),
        ("/in-a-body", "behaviour::http::shapes::in_a_body"),
        ("/raw", "behaviour::http::shapes::match"),
        ("/users", "behaviour::http::shapes::list"),
        ("/generic/book", "behaviour::http::shapes::generic"),
        ("/in-a-raw-module", "behaviour::http::shapes::type::in_a_raw_module"),
    ] {
        let (limiter, _clock) = in_memory();
        let server = Served::limited(&limiter, shapes);
        assert_eq!(server.get(path).status, 200, "{path}");
        let peek = Target::new(key, 2, 300).ip([127, 0, 0, 1].into()).peek(&limiter).await;
        assert_eq!(peek.map(|peek| peek.remaining()), Ok(1), "{path}");
    }
}

#[test]
fn the_second_of_two_handlers_with_one_path_is_answered_500_and_the_log_names_both() {
    let mut app = app();
    assert_eq!(app.statuses("/books", 2), [200, 200]);
    assert_eq!(app.statuses("/users", 2), [500, 500]);
    assert_eq!(app.statuses("/books", 2), [200, 429]);
    app.kill();
    let log = ["ERROR", "`app::pairs::list` (", "app.rs:", " and ", "key = ", "500"];
    assert_eq!(app.lines_with(&log), 1, "{:#?}", app.output());
    let places =
        app.output().iter().find(|line| line.contains("pairs::list")).map(|line| line.matches("app.rs:").count());
    assert_eq!(places, Some(2), "{:#?}", app.output());
}

#[test]
fn a_key_tells_two_handlers_with_one_path_apart() {
    let mut app = app();
    assert_eq!(app.statuses("/users/search", 4), [200, 200, 200, 429]);
    assert_eq!(app.statuses("/books/search", 4), [200, 200, 200, 429]);
    app.kill();
    assert_eq!(app.lines_with(&["ERROR"]), 0, "{:#?}", app.output());
}

#[test]
fn one_scope_function_named_by_two_paths_has_one_counter_for_each_value() {
    let mut app = app();
    assert_eq!(app.statuses("/tenant", 2), [200, 200]);
    assert_eq!(app.statuses("/tenant/path", 2), [200, 429]);
    app.kill();
    assert_eq!(app.lines_with(&["pairs"]), 0, "{:#?}", app.output());
}

#[test]
fn two_scope_functions_of_one_name_under_one_key_are_an_error_that_names_both_handlers() {
    let mut app = app();
    assert_eq!(app.statuses("/tenant", 1), [200]);
    assert_eq!(app.statuses("/tenant/another", 2), [500, 500]);
    assert_eq!(app.statuses("/given", 1), [200]);
    assert_eq!(app.statuses("/given/another", 2), [500, 500]);
    app.kill();
    for pair in [["pairs::of_another`", "pairs::by_name`"], ["pairs::of_another_by_given_key`", "pairs::by_given_key`"]]
    {
        assert_eq!(app.lines_with(&["ERROR", pair[0], pair[1], "rename"]), 1, "{:#?}", app.output());
    }
}

#[test]
fn two_scope_functions_of_one_name_are_no_error_where_no_counter_is_shared() {
    let mut app = app();
    assert_eq!(app.statuses("/tenant", 1), [200]);
    assert_eq!(app.statuses("/tenant/hourly", 1), [200]);
    assert_eq!(app.statuses("/tenant/address", 1), [200]);
    app.kill();
    assert_eq!(app.lines_with(&["pairs"]), 0, "{:#?}", app.output());
}

#[test]
fn one_scope_function_under_two_names_is_a_warning() {
    let mut app = app();
    assert_eq!(app.statuses("/tenant", 1), [200]);
    assert_eq!(app.statuses("/tenant/renamed", 4), [200, 200, 200, 429]);
    app.kill();
    assert_eq!(app.lines_with(&["WARN", "pairs::renamed`", "pairs::by_name`", "same name"]), 1, "{:#?}", app.output());
}
