//! Which counters the in-memory store gives up when it is full.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, Responder};
use ratelimit_runtime::{ManualClock, RateLimiter, ratelimit};

use crate::START;

const HOUR: u32 = 3600;

/// A handler at the path of its name for each of these rules, which count by the header `X-Id`.
macro_rules! handlers {
    ($($name:ident($($arguments:tt)*);)*) => {
        $(
            #[ratelimit($($arguments)*, scope = "header:x-id")]
            async fn $name() -> impl Responder {
                HttpResponse::Ok()
            }
        )*

        fn routes(config: &mut ServiceConfig) {
            $( config.route(stringify!($name), web::get().to($name)); )*
        }
    };
}

handlers! {
    // Victims. A client is at its limit after five requests. Under the last rule it is after two, though a fifth is left.
    fixed(limit = 5, per = HOUR);
    sliding(limit = 5, per = HOUR, algorithm = "sliding-window");
    gcra(limit = 5, per = HOUR, algorithm = "gcra");
    dear(limit = 250, per = HOUR, cost = 100);
    rest(limit = 100, per = HOUR, cost = 40);

    // Floods: each client sends one request, which does not use up its limit.
    large_limit(limit = 4_000_000_000, per = "2h");
    large_cost(limit = 1000, per = "2h", cost = 100);
    large_cost_by_function(limit = 4_000_000_000, per = "2h", cost = a_billion);
    large_sliding(limit = 1000, per = "2h", cost = 100, algorithm = "sliding-window");
    large_gcra(limit = 1000, per = HOUR, cost = 900, algorithm = "gcra", burst = 100_000);
    half(limit = 8, per = "2h", cost = 4);
    half_sliding(limit = 8, per = "2h", cost = 4, algorithm = "sliding-window");
    half_gcra(limit = 8, per = HOUR, cost = 4, algorithm = "gcra");

    // A flood whose clients have no second request, though a fifth is left.
    four_of_five(limit = 5, per = "2h", cost = 4);

    // Equal limits, of which some windows end sooner.
    nine_of_ten(limit = 10, per = HOUR);
    one_for_long(limit = 1, per = "10h");
    one_of_two(limit = 2, per = HOUR);
    one_of_two_for_long(limit = 2, per = "10h");

    // One counter with two limits.
    shared_narrow(limit = 5, per = HOUR, key = "shared");
    shared_wide(limit = 1000, per = HOUR, key = "shared");
    shared_narrow_of_two("5/hour; 1000000/day", key = "shared");

    refunded(limit = 1, per = HOUR, count_if = never);
}

fn a_billion(_: &HttpRequest) -> u32 {
    1_000_000_000
}

fn never(_: &HttpResponse) -> bool {
    false
}

const VICTIMS: [(&str, usize); 4] = [("/fixed", 5), ("/sliding", 5), ("/gcra", 5), ("/dear", 2)];
const FLOODS: [&str; 8] = [
    "/large_limit",
    "/large_cost",
    "/large_cost_by_function",
    "/large_sliding",
    "/large_gcra",
    "/half",
    "/half_sliding",
    "/half_gcra",
];

/// The number of clients in a flood: each set of the table gets a hundred of them or more.
const FLOOD: usize = 3000;

/// An application that answers with a status.
type Application = Box<dyn Fn(TestRequest) -> Pin<Box<dyn Future<Output = u16>>>>;

/// An application whose store has room for this many counters, and its clock.
async fn application(capacity: usize) -> (Application, ManualClock) {
    let clock = ManualClock::new(START);
    let limiter = RateLimiter::builder().capacity(capacity).clock(clock.clone()).build().expect("a limiter in memory");
    let service = Rc::new(init_service(App::new().app_data(limiter).configure(routes)).await);
    let application = move |request: TestRequest| -> Pin<Box<dyn Future<Output = u16>>> {
        let service = Rc::clone(&service);
        Box::pin(async move { request.send_request(&*service).await.status().as_u16() })
    };
    (Box::new(application), clock)
}

async fn passes(app: &Application, path: &str, client: &str) -> bool {
    let status = app(TestRequest::get().uri(path).insert_header(("X-Id", client))).await;
    assert!([200, 429].contains(&status), "{path} is answered {status}");
    status == 200
}

/// The number of a client's requests that pass.
async fn passed(app: &Application, path: &str, client: &str, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        passed += usize::from(passes(app, path, client).await);
    }
    passed
}

async fn flood(app: &Application, path: &str, clients: usize) {
    for client in 0..clients {
        assert!(passes(app, path, &format!("flood-{client}")).await, "{path}: a newcomer is refused");
    }
}

#[actix_web::test]
async fn no_flood_frees_a_client_at_its_limit() {
    for path in FLOODS {
        let (app, _clock) = application(100).await;
        for (victim, limit) in VICTIMS {
            for client in ["one", "another", "a third"] {
                assert_eq!(passed(&app, victim, client, limit + 1).await, limit, "{victim}");
            }
        }
        flood(&app, path, FLOOD).await;
        for (victim, _) in VICTIMS {
            for client in ["one", "another", "a third"] {
                assert!(!passes(&app, victim, client).await, "{victim} is free after a flood of {path}");
            }
        }
    }
}

#[actix_web::test]
async fn a_flood_frees_no_client_at_its_limit_in_a_sliding_window_that_has_just_begun() {
    let (app, clock) = application(100).await;
    let edge = crate::window_end(START, HOUR.into());
    clock.set(edge - 1);
    assert_eq!(passed(&app, "/sliding", "client", 3).await, 3);
    clock.set(edge + 1);
    assert_eq!(passed(&app, "/sliding", "client", 3).await, 2, "what the last window counted still counts");
    flood(&app, "/four_of_five", FLOOD).await;
    assert!(!passes(&app, "/sliding", "client").await);
}

#[actix_web::test]
async fn a_counter_of_two_limits_is_as_full_as_the_fuller_rule_says() {
    // Whichever rule has made the counter.
    for first in ["/shared_narrow", "/shared_wide"] {
        let (app, _clock) = application(100).await;
        assert!(passes(&app, first, first).await);
        assert_eq!(passed(&app, "/shared_narrow", first, 6).await, 4);
        assert_eq!(passed(&app, "/shared_wide", first, 2).await, 2);
        flood(&app, "/four_of_five", FLOOD).await;
        assert!(!passes(&app, "/shared_narrow", first).await, "{first} made it");
    }
}

#[actix_web::test]
async fn a_counter_that_refuses_is_full_though_another_rule_has_counted() {
    for narrow in ["/shared_narrow", "/shared_narrow_of_two"] {
        let (app, _clock) = application(100).await;
        assert_eq!(passed(&app, "/shared_wide", "client", 7).await, 7);
        assert!(!passes(&app, narrow, "client").await, "{narrow}");
        flood(&app, "/four_of_five", FLOOD).await;
        assert!(!passes(&app, narrow, "client").await, "{narrow}");
    }
}

#[actix_web::test]
async fn the_next_window_of_a_client_at_its_limit_does_not_take_the_place_of_the_last() {
    let (app, clock) = application(1).await;
    let edge = crate::window_end(START, HOUR.into());
    clock.set(edge - 1);
    assert_eq!(passed(&app, "/sliding", "client", 6).await, 5);
    for other in 0..9 {
        assert_eq!(passed(&app, "/one_for_long", &format!("other-{other}"), 2).await, 1);
    }
    // Three of the five still count.
    clock.set(edge + u64::from(HOUR) / 2 - 360);
    assert_eq!(passed(&app, "/sliding", "client", 5).await, 2);
}

#[actix_web::test]
async fn what_has_nothing_left_stays_where_the_flood_has_a_rest() {
    let (app, _clock) = application(100).await;
    assert_eq!(passed(&app, "/fixed", "client", 6).await, 5);
    flood(&app, "/four_of_five", FLOOD).await;
    assert!(!passes(&app, "/fixed", "client").await);
}

#[actix_web::test]
async fn of_two_counters_the_fuller_one_stays() {
    // Larger numbers, and smaller shares.
    for path in ["/large_cost", "/large_sliding", "/large_gcra", "/half", "/half_gcra"] {
        let (app, _clock) = application(100).await;
        for client in ["/fixed", "/sliding", "/gcra"] {
            assert_eq!(passed(&app, client, "client", 4).await, 4);
        }
        flood(&app, path, FLOOD).await;
        for client in ["/fixed", "/sliding", "/gcra"] {
            assert_eq!(passed(&app, client, "client", 5).await, 1, "{client} and {path}");
        }
    }
}

#[actix_web::test]
async fn a_client_that_is_refused_with_a_rest_stays_where_fuller_ones_are_not_refused() {
    let (app, _clock) = application(1).await;
    assert_eq!(passed(&app, "/rest", "client", 3).await, 2);
    for other in 0..60 {
        assert_eq!(passed(&app, "/nine_of_ten", &format!("other-{other}"), 9).await, 9);
    }
    assert!(!passes(&app, "/rest", "client").await);
}

#[actix_web::test]
async fn a_counter_that_was_full_in_its_last_window_is_as_full_as_it_is_now() {
    let (app, clock) = application(1).await;
    let clients: Vec<String> = (0..10).map(|client| format!("client-{client}")).collect();
    for client in &clients {
        assert_eq!(passed(&app, "/fixed", client, 6).await, 5);
    }
    clock.set(crate::window_end(START, HOUR.into()));
    for client in &clients {
        assert!(passes(&app, "/fixed", client).await);
    }
    assert_eq!(passed(&app, "/fixed", "newcomer", 4).await, 4);
    flood(&app, "/large_limit", 100).await;
    assert_eq!(passed(&app, "/fixed", "newcomer", 5).await, 1);
}

#[actix_web::test]
async fn of_equals_the_one_that_ends_soonest_goes() {
    let (app, _clock) = application(100).await;
    assert!(passes(&app, "/one_of_two_for_long", "client").await);
    flood(&app, "/one_of_two", FLOOD).await;
    assert_eq!(passed(&app, "/one_of_two_for_long", "client", 2).await, 1);
    // The other way round, the client's window ends first.
    let (app, _clock) = application(100).await;
    assert!(passes(&app, "/one_of_two", "client").await);
    flood(&app, "/one_of_two_for_long", FLOOD).await;
    assert_eq!(passed(&app, "/one_of_two", "client", 2).await, 2);
}

#[actix_web::test]
async fn of_equals_that_end_together_no_place_is_safe() {
    // One set without a free slot.
    let (app, _clock) = application(1).await;
    let clients: Vec<String> = (0..10).map(|client| format!("client-{client}")).collect();
    for client in &clients {
        assert!(passes(&app, "/one_of_two", client).await);
    }
    flood(&app, "/one_of_two", 300).await;
    for client in &clients {
        assert_eq!(passed(&app, "/one_of_two", client, 2).await, 2, "{client} has a safe place");
    }
}

#[actix_web::test]
async fn where_all_are_at_their_limit_one_gives_way_to_newcomers() {
    let (app, _clock) = application(1).await;
    let clients: Vec<String> = (0..10).map(|client| format!("client-{client}")).collect();
    for client in &clients {
        assert_eq!(passed(&app, "/fixed", client, 6).await, 5);
    }
    flood(&app, "/four_of_five", 300).await;
    let mut free = 0;
    for client in &clients {
        free += usize::from(passes(&app, "/fixed", client).await);
    }
    assert_eq!(free, 1);
}

#[actix_web::test]
async fn a_counter_whose_requests_were_refunded_is_not_full() {
    let (app, _clock) = application(1).await;
    for client in 0..10 {
        assert!(passes(&app, "/refunded", &format!("client-{client}")).await);
    }
    let clients: Vec<String> = (0..10).map(|client| format!("client-{client}")).collect();
    for client in &clients {
        assert!(passes(&app, "/one_of_two", client).await);
    }
    let mut remembered = 0;
    for client in &clients {
        remembered += 2 - passed(&app, "/one_of_two", client, 2).await;
    }
    assert_eq!(remembered, 10, "a counter that holds nothing stayed in the place of one that does");
}
