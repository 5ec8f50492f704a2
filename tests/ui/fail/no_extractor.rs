//! A handler argument that is no extractor is reported at its type.

use actix_web::{HttpRequest, Responder, web};
use ratelimit_runtime::ratelimit;

struct Database;

#[ratelimit("300/5m")]
async fn plain(_request: HttpRequest, _database: Database) -> impl Responder {
    "never compiled"
}

#[ratelimit("300/5m")]
async fn generic(_id: web::Path<u64>, _databases: std::vec::Vec<Database>, _last: String) -> impl Responder {
    "never compiled"
}

#[ratelimit("300/5m")]
async fn borrowed(_request: &HttpRequest) -> impl Responder {
    "never compiled"
}

#[ratelimit("300/5m")]
async fn borrowed_within(_name: web::Path<&str>) -> impl Responder {
    "never compiled"
}

#[ratelimit("300/5m")]
async fn unnamed(_name: web::Data<impl Send + 'static>) -> impl Responder {
    "never compiled"
}

fn main() {}
