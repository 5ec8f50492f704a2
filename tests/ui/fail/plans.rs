use actix_web::HttpRequest;
use ratelimit_runtime::{Rate, ratelimit};

fn plan(_: &HttpRequest) -> Rate {
    Rate::per_minute(60)
}


#[ratelimit(rate = plan, limit = 5)]
async fn with_a_limit() -> &'static str {
    ""
}

#[ratelimit(rate = plan, per = 60)]
async fn with_a_window() -> &'static str {
    ""
}

#[ratelimit("5/minute", rate = plan)]
async fn with_a_rate_string() -> &'static str {
    ""
}

#[ratelimit(rate = plan, algorithm = "gcra", burst = 5)]
async fn with_a_burst() -> &'static str {
    ""
}

#[ratelimit(rate = "5/minute")]
async fn in_quotes() -> &'static str {
    ""
}

#[ratelimit(rate = plan)]
#[ratelimit(rate = plan)]
async fn twice() -> &'static str {
    ""
}

#[ratelimit(rates = plan)]
async fn misspelled() -> &'static str {
    ""
}

fn main() {}
