//! The attribute on what is no function, or on a function that Actix cannot call.

use ratelimit_runtime::ratelimit;

struct Api;

#[ratelimit("10/s")]
impl Api {
    async fn handler() -> &'static str {
        ""
    }
}

#[ratelimit("10/s")]
pub struct Settings {
    pub limit: u32,
}

#[ratelimit("10/s")]
trait Handlers {}

#[ratelimit("10/s")]
mod handlers {}

#[ratelimit("10/s")]
const LIMIT: u32 = 10;

#[ratelimit("10/s")]
enum Either {}

impl Api {
    #[ratelimit("10/s")]
    async fn by_reference(&self) -> &'static str {
        ""
    }

    #[ratelimit("10/s")]
    async fn by_value(mut self: Box<Self>, _id: u32) -> &'static str {
        ""
    }
}

trait Required {
    #[ratelimit("10/s")]
    async fn handler() -> &'static str;
}

#[ratelimit("10/s")]
async unsafe fn not_safe() -> &'static str {
    ""
}

#[ratelimit("10/s")]
const fn constant() -> &'static str {
    ""
}

#[ratelimit("10/s")]
extern "C" fn external() -> &'static str {
    ""
}

#[ratelimit("10/s")]
fn not_async() -> &'static str {
    ""
}

#[ratelimit("10/s")]
fn not_async_but_opaque() -> impl actix_web::Responder {
    ""
}

#[ratelimit("10/s")]
pub(crate) fn not_async_and_nothing() {}

fn main() {}
