//! A handler whose result is no `Responder` is reported at its return type, or at its name where it has none.

use std::fmt::Display;
use std::io;

use ratelimit_runtime::ratelimit;

struct Report;

#[ratelimit("300/5m")]
async fn named() -> Report {
    Report
}

#[ratelimit("300/5m")]
async fn wrapped(_id: actix_web::web::Path<u64>) -> Result<Report, io::Error> {
    Ok(Report)
}

#[ratelimit("300/5m")]
async fn opaque() -> impl Display {
    "text"
}

#[ratelimit("300/5m")]
async fn nothing() {}

fn main() {}
