//! The shapes of handlers.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, rust_2018_idioms)]
#![deny(clippy::all, clippy::pedantic)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::{Future, Ready, ready};
use std::{fmt, io};

use actix_web::{App, FromRequest, HttpRequest, HttpResponse, Responder, get, guard, web};
use ratelimit_runtime::ratelimit;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A body.
#[derive(Debug, Deserialize, Serialize)]
pub struct Body {
    id: u64,
}

/// Documented.
#[ratelimit("300/5m")]
pub async fn plain() -> impl Responder {
    "text"
}

#[get("/above")]
#[ratelimit("300/5m")]
async fn route_above() -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
#[actix_web::get("/below", guard = "any")]
async fn route_below() -> &'static str {
    "text"
}

fn any(_: &guard::GuardContext<'_>) -> bool {
    true
}

#[actix_web::routes]
#[get("/one")]
#[post("/two")]
#[ratelimit("300/5m")]
async fn routes_above() -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
#[actix_web::routes]
#[get("/three")]
#[post("/four")]
async fn routes_below() -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
async fn result(_id: web::Path<u64>) -> Result<impl Responder, actix_web::Error> {
    Ok("text")
}

#[ratelimit("300/5m")]
async fn patterns(
    web::Json(Body { id }): web::Json<Body>,
    mut query: Option<web::Query<HashMap<String, String>>>,
    (_, _): (HttpRequest, web::Payload),
) -> io::Result<HttpResponse> {
    query.take();
    Ok(HttpResponse::Ok().body(id.to_string()))
}

/// A generic handler, whose bounds do not say `'static`.
#[ratelimit("300/5m")]
pub async fn generic<T: DeserializeOwned + Serialize, const N: usize, U>(
    body: web::Json<T>,
    _more: web::Query<U>,
) -> web::Json<[Option<T>; N]>
where
    U: DeserializeOwned + fmt::Debug,
    [Option<T>; N]: Serialize,
{
    let mut all = [const { None }; N];
    all[0] = Some(body.into_inner());
    web::Json(all)
}

#[allow(clippy::extra_unused_lifetimes, clippy::elidable_lifetime_names)]
#[ratelimit("300/5m")]
async fn with_lifetime<'a>(_path: web::Data<Cow<'a, str>>) -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
async fn with_elided_lifetime(path: web::Data<Cow<'_, str>>, _id: web::Path<u64>) -> String {
    path.to_string()
}

#[ratelimit("300/5m")]
async fn with_references(path: web::Data<&str>, _more: web::Data<(&'static [u8], Box<dyn Fn(&str) -> &str>)>) -> String {
    path.to_string()
}

#[ratelimit("300/5m")]
async fn with_lifetimes_of_a_type(map: web::Data<for<'a> fn(&'a str) -> &'a str>) -> String {
    map("text").to_owned()
}

#[ratelimit("300/5m")]
#[allow(elided_lifetimes_in_paths, reason = "the shape that is tested")]
fn with_hidden_lifetime(path: web::Data<Cow<str>>) -> impl Future<Output = String> + use<> {
    ready(path.to_string())
}

#[ratelimit("300/5m")]
fn not_async(id: web::Path<u64>) -> impl Future<Output = String> {
    let id = id.into_inner();
    async move { id.to_string() }
}

#[ratelimit("300/5m")]
fn ready_at_once() -> Ready<&'static str> {
    ready("text")
}

/// A type with handlers.
#[derive(Debug)]
pub struct Api;

impl Api {
    /// An associated handler.
    #[ratelimit("300/5m")]
    pub async fn handler(_request: HttpRequest) -> &'static str {
        "text"
    }
}

#[ratelimit("300/5m")]
async fn parameter_attributes(
    #[allow(unused_variables)] unused: HttpRequest,
    #[cfg(any())] missing: NoSuchType,
    #[cfg_attr(all(), cfg(any()))] missing_by_condition: NoSuchType,
    #[cfg(not(any()))] present: web::Path<u64>,
) -> String {
    present.to_string()
}

#[ratelimit("300/5m")]
#[expect(clippy::too_many_arguments, clippy::just_underscores_and_digits)]
async fn sixteen(
    _1: HttpRequest,
    _2: HttpRequest,
    _3: HttpRequest,
    _4: HttpRequest,
    _5: HttpRequest,
    _6: HttpRequest,
    _7: HttpRequest,
    _8: HttpRequest,
    _9: HttpRequest,
    _10: HttpRequest,
    _11: HttpRequest,
    _12: HttpRequest,
    _13: HttpRequest,
    _14: HttpRequest,
    _15: HttpRequest,
    _16: HttpRequest,
) -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
async fn r#type() -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
async fn own_names(__ratelimit_incoming: HttpRequest, __ratelimit: web::Payload) -> &'static str {
    "text"
}

#[ratelimit("300/5m")]
async fn inner_attribute() -> &'static str {
    #![allow(unused_variables)]
    let unused = ();
    "text"
}

macro_rules! handler {
    ($name:ident, $limit:literal, $per:expr, $scope:path, $argument:ty, $answer:ty) => {
        #[ratelimit(limit = $limit, per = $per, scope = $scope)]
        async fn $name(_argument: $argument) -> $answer {
            Default::default()
        }
    };
}

fn tenant(_: &HttpRequest) -> String {
    String::new()
}

handler!(by_macro, 10, 60, tenant, web::Path<u64>, String);

fn extractor<T: FromRequest>() {}

fn main() {
    #[ratelimit("300/5m")]
    async fn local() -> &'static str {
        "text"
    }

    extractor::<String>();
    let _app = App::new()
        .service(route_above)
        .service(route_below)
        .service(routes_above)
        .service(routes_below)
        .route("/1", web::get().to(plain))
        .route("/2", web::get().to(result))
        .route("/3", web::get().to(patterns))
        .route("/4", web::get().to(generic::<Body, 3, Body>))
        .route("/5", web::get().to(not_async))
        .route("/6", web::get().to(ready_at_once))
        .route("/7", web::get().to(Api::handler))
        .route("/8", web::get().to(parameter_attributes))
        .route("/9", web::get().to(sixteen))
        .route("/10", web::get().to(r#type))
        .route("/11", web::get().to(own_names))
        .route("/12", web::get().to(inner_attribute))
        .route("/13", web::get().to(by_macro))
        .route("/14", web::get().to(local))
        .route("/15", web::get().to(with_lifetime))
        .route("/16", web::get().to(with_elided_lifetime))
        .route("/17", web::get().to(with_hidden_lifetime))
        .route("/18", web::get().to(with_references))
        .route("/19", web::get().to(with_lifetimes_of_a_type));
}
