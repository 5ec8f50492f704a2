//! The attribute takes every shape of handler that Actix takes, and changes nothing about it.

use std::fmt::{Debug, Display};
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Mutex;

use actix_web::error::ErrorImATeapot;
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder, get, post, routes};
use ratelimit_runtime::ratelimit;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::{Reply, Server, request};
use serde::Deserialize;
use tracing::field::{Field, Visit};
use tracing::span;
use utoipa::OpenApi;

use crate::in_memory;

#[derive(Deserialize)]
struct Body {
    id: u32,
}

#[get("/below")]
#[ratelimit(limit = 2)]
async fn below_get() -> impl Responder {
    "hello"
}

#[ratelimit(limit = 2)]
#[get("/above")]
async fn above_get() -> impl Responder {
    "hello"
}

#[routes]
#[get("/routes/below")]
#[get("/routes/also-below")]
#[ratelimit(limit = 2)]
async fn below_routes() -> impl Responder {
    "hello"
}

#[ratelimit(limit = 2)]
#[routes]
#[get("/routes/above")]
#[get("/routes/also-above")]
async fn above_routes() -> impl Responder {
    "hello"
}

/// Documented.
#[get("/attributes")]
#[ratelimit(limit = 2)]
#[allow(clippy::let_and_return, unused_variables)]
#[cfg(any(unix, windows))]
#[inline]
/// Documented here too.
pub(crate) async fn other_attributes() -> impl Responder {
    let unused = 1;
    let hello = "hello";
    hello
}

#[ratelimit(limit = 2)]
fn a_future() -> impl Future<Output = &'static str> {
    ready("hello")
}

#[ratelimit(limit = 2)]
fn a_boxed_future() -> Pin<Box<dyn Future<Output = HttpResponse>>> {
    Box::pin(async { HttpResponse::Ok().body("hello") })
}

#[ratelimit(limit = 2)]
async fn r#match() -> impl Responder + use<> {
    "hello"
}

struct Users;
struct Books<T>(T);

impl Users {
    const GREETING: &'static str = "hello";

    #[ratelimit(limit = 2, scope = tenant)]
    async fn tenant(request: HttpRequest) -> String {
        request.query_string().to_owned()
    }

    #[ratelimit(limit = 2)]
    async fn list() -> impl Responder {
        Users::GREETING
    }
}

impl<T: Default + Display + 'static> Books<T> {
    // The path of `Users::list` is the same.
    #[ratelimit(limit = 2, key = "books")]
    async fn list() -> String {
        String::from("hello")
    }
}

/// A scope function in the form of a handler. The handler that it counts for has the same name.
async fn tenant(_: HttpRequest) -> &'static str {
    "one for all"
}

trait Kind: 'static {
    const NAME: &'static str;
}

struct Book;
struct Pen;

impl Kind for Book {
    const NAME: &'static str = "book";
}

impl Kind for Pen {
    const NAME: &'static str = "pen";
}

#[ratelimit(limit = 2)]
async fn generic<K: Kind, E>(extracted: E) -> String
where
    E: FromRequest + Debug,
{
    format!("{} {}", K::NAME, !format!("{extracted:?}").is_empty())
}

mod r#type {
    use ratelimit_runtime::ratelimit;

    #[ratelimit(limit = 2)]
    pub(super) async fn in_a_raw_module() -> &'static str {
        "hello"
    }
}

pub(crate) fn shapes(config: &mut ServiceConfig) {
    #[get("/in-a-body")]
    #[ratelimit(limit = 2)]
    async fn in_a_body() -> impl Responder {
        "hello"
    }

    config.service(below_get).service(above_get).service(below_routes).service(above_routes);
    config.service(other_attributes).service(in_a_body);
    config.route("/future", web::get().to(a_future)).route("/boxed", web::get().to(a_boxed_future));
    config.route("/raw", web::get().to(r#match)).route("/in-a-raw-module", web::get().to(r#type::in_a_raw_module));
    config.route("/users", web::get().to(Users::list)).route("/books", web::get().to(Books::<u8>::list));
    config.route("/tenant", web::get().to(Users::tenant));
    config.route("/generic/book", web::get().to(generic::<Book, HttpRequest>));
}

#[test]
fn a_limited_handler_answers_as_if_nobody_had_touched_it_until_its_limit() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, shapes);
    for (path, body) in [
        ("/below", "hello"),
        ("/above", "hello"),
        ("/routes/below", "hello"),
        ("/routes/above", "hello"),
        ("/attributes", "hello"),
        ("/in-a-body", "hello"),
        ("/future", "hello"),
        ("/boxed", "hello"),
        ("/raw", "hello"),
        ("/in-a-raw-module", "hello"),
        ("/users", "hello"),
        ("/books", "hello"),
        ("/generic/book", "book true"),
    ] {
        for _ in 0..2 {
            let reply = server.get(path);
            assert_eq!((reply.status, reply.body.as_str()), (200, body), "{path}");
        }
        assert_eq!(server.get(path).status, 429, "{path}");
    }
}

#[test]
fn the_routes_of_one_handler_share_its_counter() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, shapes);
    for place in ["below", "above"] {
        assert_eq!(server.get(&format!("/routes/{place}")).status, 200);
        assert_eq!(server.get(&format!("/routes/also-{place}")).status, 200);
        assert_eq!(server.get(&format!("/routes/{place}")).status, 429);
    }
}

#[test]
fn functions_of_one_name_in_two_types_of_one_module_have_a_counter_each_by_their_keys() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, shapes);
    assert_eq!(server.statuses("/users", 3), [200, 200, 429]);
    assert_eq!(server.statuses("/books", 3), [200, 200, 429]);
}

#[test]
fn a_function_in_an_argument_is_the_users_and_not_the_handler_of_its_name() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, shapes);
    assert_eq!(server.get("/tenant?a").status, 200);
    assert_eq!(server.get("/tenant?b").status, 200);
    assert_eq!(server.get("/tenant?c").status, 429);
}

#[test]
fn the_instances_of_a_generic_handler_are_one_handler_with_one_counter() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.route("/book", web::get().to(generic::<Book, HttpRequest>));
        config.route("/pen", web::get().to(generic::<Pen, Method>));
    });
    assert_eq!(server.get("/book").body, "book true");
    assert_eq!(server.get("/pen").body, "pen true");
    assert_eq!(server.get("/book").status, 429);
    assert_eq!(server.get("/pen").status, 429);
}

#[post("/pattern")]
#[ratelimit(limit = 100)]
async fn pattern(web::Json(Body { id }): web::Json<Body>, mut words: web::Query<Vec<(String, String)>>) -> String {
    words.reverse();
    format!("{id} {}", words.len())
}

#[post("/result")]
#[ratelimit(limit = 100)]
async fn result(web::Json(body): web::Json<Body>) -> Result<impl Responder, actix_web::Error> {
    if body.id == 0 {
        return Err(ErrorImATeapot("no zero"));
    }
    let text = serde_json::to_string(&body.id)?;
    Ok(text)
}

#[allow(clippy::too_many_arguments)]
#[post("/sixteen/{a}/{b}")]
#[ratelimit(limit = 100)]
async fn sixteen(
    path: web::Path<(u32, u32)>,
    #[allow(unused_variables)] r1: HttpRequest,
    _: HttpRequest,
    _: HttpRequest,
    _: HttpRequest,
    _: HttpRequest,
    _: HttpRequest,
    _: HttpRequest,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    body: web::Json<Body>,
) -> String {
    (path.0 + path.1 + body.id).to_string()
}

fn post_to(server: &Served, path: &str, body: &str) -> Reply {
    let mut connection = server.open();
    let length = body.len().to_string();
    let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
    connection.send(&(request("POST", path, &headers) + body));
    connection.reply()
}

#[test]
fn extractors_patterns_and_results_work_as_they_did() {
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.service(pattern).service(result).service(sixteen);
    });
    for (path, body, status, answer) in [
        ("/pattern?a=1&b=2", r#"{"id": 5}"#, 200, Some("5 2")),
        ("/result", r#"{"id": 5}"#, 200, Some("5")),
        ("/result", r#"{"id": 0}"#, 418, Some("no zero")),
        ("/result", r#"{"id": "#, 400, None),
        ("/sixteen/1/2", r#"{"id": 3}"#, 200, Some("6")),
    ] {
        let reply = post_to(&server, path, body);
        assert_eq!(reply.status, status, "{path} {body}: {reply:?}");
        assert!(answer.is_none_or(|answer| answer == reply.body), "{path} {body}: {reply:?}");
    }
}

#[post("/traced")]
#[ratelimit(limit = 1)]
#[tracing::instrument(skip_all, fields(id = body.id))]
async fn traced(body: web::Json<Body>) -> String {
    body.id.to_string()
}

static SPANS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records the name and the fields of each span.
struct Spans;

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = Text(attributes.metadata().name().to_owned());
        attributes.record(&mut text);
        SPANS.lock().unwrap().push(text.0);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

#[test]
fn an_instrumented_handler_names_its_own_arguments_and_is_not_entered_when_refused() {
    tracing::subscriber::set_global_default(Spans).expect("the only subscriber");
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.service(traced);
    });
    assert_eq!(post_to(&server, "/traced", r#"{"id": 5}"#).body, "5");
    assert_eq!(post_to(&server, "/traced", r#"{"id": 6}"#).status, 429);
    let spans = SPANS.lock().unwrap();
    let ours: Vec<_> = spans.iter().filter(|span| span.starts_with("traced")).collect();
    assert_eq!(ours, ["traced id=5"]);
}

#[utoipa::path(get, path = "/documented", responses((status = 200, description = "a greeting")))]
#[get("/documented")]
#[ratelimit(limit = 1)]
async fn documented() -> impl Responder {
    "hello"
}

#[derive(OpenApi)]
#[openapi(paths(documented))]
struct Api;

#[test]
fn utoipa_documents_a_limited_handler() {
    let paths = Api::openapi().paths.paths;
    assert!(paths.contains_key("/documented"), "{:?}", paths.keys());
    let (limiter, _clock) = in_memory();
    let server = Served::limited(&limiter, |config| {
        config.service(documented);
    });
    assert_eq!(server.statuses("/documented", 2), [200, 429]);
}
