// Handlers with every argument, which compile whatever else is in their module: each name that they need is an absolute path,
// or begins with `own_`. None has a route of Actix's: the output of those does not have this property.

#[::ratelimit_runtime::ratelimit(limit = 300, per = 300, scope = "ip")]
async fn own_quote() -> impl ::actix_web::Responder {
    "Simplicity is prerequisite for reliability."
}

#[::ratelimit_runtime::ratelimit("10/s; 1000/h", algorithm = "sliding-window", stagger = true, key = "own")]
#[::ratelimit_runtime::ratelimit("100/m", algorithm = "gcra", burst = OWN_NUMBER * 2, cost = own_cost)]
#[::ratelimit_runtime::ratelimit(limit = OWN_NUMBER, per = OWN_TIME, scope = ["user", "header:x-own", own_module::own_text])]
#[::ratelimit_runtime::ratelimit(limit = OWN_NUMBER, lease = OWN_NUMBER, scope = "global", on_store_error = "allow")]
#[::ratelimit_runtime::ratelimit("5/d", cost = OWN_NUMBER - 5, over_limit = "allow", on_store_error = "local")]
#[::ratelimit_runtime::ratelimit(
    "5/m",
    scope = own_text,
    key = own_text,
    exempt = own_exempt,
    methods = ["POST", "PUT"],
    count_if = own_count_if,
    over_limit = own_over_limit,
    send_x_headers = false,
    on_store_error = "deny"
)]
async fn own_everything<OwnParameter, const OWN_PARAMETER: ::std::primitive::usize>(
    own_argument: ::actix_web::web::Data<OwnParameter>,
    _: ::std::string::String,
) -> ::actix_web::web::Json<::std::primitive::usize> {
    let _ = own_argument;
    ::actix_web::web::Json(OWN_PARAMETER)
}

const OWN_NUMBER: ::std::primitive::u64 = 10;
const OWN_TIME: ::std::time::Duration = ::std::time::Duration::from_secs(60);

fn own_text(_: &::actix_web::HttpRequest) -> &'static ::std::primitive::str {
    "own"
}

mod own_module {
    pub(super) use super::own_text;
}

fn own_cost(_: &::actix_web::HttpRequest) -> ::std::primitive::u32 {
    5
}

async fn own_exempt(_: ::actix_web::HttpRequest) -> ::std::primitive::bool {
    true
}

fn own_count_if(_: &::actix_web::HttpResponse) -> ::std::primitive::bool {
    true
}

fn own_over_limit(
    _: &::actix_web::HttpRequest,
    _: &::ratelimit_runtime::RateLimitState,
) -> impl ::actix_web::Responder {
    "own"
}
