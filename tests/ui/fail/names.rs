//! What does not exist, or cannot be named from an inner function, is reported by the compiler at the user's token.

use actix_web::web;
use ratelimit_runtime::ratelimit;

const TEXT: &str = "300";

#[ratelimit(limit = TEXT)]
async fn no_number() -> &'static str {
    ""
}

#[ratelimit(limit = MISSING)]
async fn no_const() -> &'static str {
    ""
}

#[ratelimit("300/5m", scope = ip)]
async fn no_scope_function() -> &'static str {
    ""
}

#[ratelimit("300/5m", key = missing::key, over_limit = missing::answer)]
async fn no_functions() -> &'static str {
    ""
}

struct Api;

impl Api {
    const LIMIT: u32 = 300;

    #[ratelimit(limit = Self::LIMIT)]
    async fn self_in_arguments() -> &'static str {
        ""
    }

    #[ratelimit("300/5m")]
    async fn self_in_body() -> &'static str {
        Self::text()
    }

    #[ratelimit("300/5m")]
    async fn self_in_signature() -> Result<&'static str, Self> {
        Ok("")
    }

    fn text() -> &'static str {
        ""
    }
}

struct Shelf<T>(T);

impl<T> Shelf<T> {
    #[ratelimit("300/5m")]
    async fn outer_generics(_id: web::Path<T>) -> &'static str {
        ""
    }
}

fn main() {}
