//! The attribute of [`ratelimit-runtime`](https://docs.rs/ratelimit-runtime), which exports it as
//! `ratelimit_runtime::ratelimit`. Use it from there: its output names that crate.

mod args;
mod check;
mod constant;
mod expand;
mod handler;
mod rate;
mod value;

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned as _;
use syn::{Error, Result};

use crate::args::Args;
use crate::expand::Mark;
use crate::handler::Handler;

/// Limits how often a handler of Actix Web runs.
///
/// Requests are counted before any extractor runs. One over the limit is answered with a 429, and its body is never
/// read; for any other, the handler runs as if the attribute were not there.
///
/// ```
/// use actix_web::{Responder, get};
/// use ratelimit_runtime::ratelimit;
///
/// #[get("/quote")]
/// #[ratelimit(limit = 300, per = 300, scope = "ip")]
/// async fn quote() -> impl Responder {
///     "Simplicity is prerequisite for reliability."
/// }
/// ```
///
/// # Arguments
///
/// | argument | value | default |
/// |---|---|---|
/// | `limit` | how many requests pass in a window | required, unless there is a rate string |
/// | `per` | how long a window is | `300` seconds |
/// | a rate string, without a name | both of them, once or several times | |
/// | `algorithm` | how requests are counted | `"fixed-window"` |
/// | `burst` | how many requests may come at once, with `"gcra"` | the limit |
/// | `stagger` | whether each counter has windows of its own | `false` |
/// | `scope` | whom a counter is for | `"ip"` |
/// | `key` | what is counted | this handler |
/// | `cost` | how much of the limit a request takes | `1` |
/// | `count_if` | which responses make a request count | all |
/// | `exempt` | which requests are not counted | none |
/// | `methods` | the methods of those that are | all |
/// | `over_limit` | what answers instead of the 429 | the 429 |
/// | `send_x_headers` | whether answers have `X-RateLimit-*` headers | `true` |
/// | `on_store_error` | what to do when the store fails | the limiter's setting |
/// | `lease` | how many tokens are taken from Redis at once | `1` |
/// | `crate` | where the runtime is | `::ratelimit_runtime` |
///
/// **`limit`**: from 1 to 4294967295 requests; an integer, or another [constant expression](#constant-expressions).
///
/// **`per`**: from 1 second to 2147483647, which is 68 years. An integer is seconds. Text is a duration, such as `"90s"`,
/// `"5m"`, `"1h 30m"` or `"2 weeks"`. A [constant expression](#constant-expressions) is an integer of seconds, or a
/// `Duration` of whole seconds.
///
/// **A rate string** such as `"300/5m"` or `"10 per second"`, in place of `limit` and `per`. The grammar is that of
/// Flask-Limiter, `count [per|/] [n] [second|minute|hour|day|week|month|year][s]`, with `s`, `m`, `h` and `d` as short
/// units. A month is 30 days, a year 365. Several are joined by `;` or `,`: `"10/second; 1000/hour"`. A request passes
/// if all of them let it.
///
/// **`algorithm`**, **`burst`** and **`stagger`**: see [algorithms](#algorithms).
///
/// **`scope`**: each value of it has a counter of its own.
///
/// | scope | counts |
/// |---|---|
/// | `"ip"` | each address of a client |
/// | `"user"` | each user, as the limiter's user function says; each address, where it says nobody, or an empty text |
/// | `"global"` | all requests together |
/// | `"header:X-Api-Key"` | each value of a header; each address, where there is none, or an empty one |
/// | `tenant` | each result of a [function](#functions); each address, where that is an empty text; a request for which it returns `None` is not counted |
/// | `"ip+user"`, `["ip", tenant]` | each combination; `"global"` cannot be part of one |
///
/// Values are compared byte by byte, so capitals and small letters differ; white space around the value of a header does not
/// count, and white space alone is empty. Of a header in two lines the first counts, which is the one that
/// `HttpRequest::headers().get` gives a handler: where something else checks the header, it must read the first line too.
///
/// An address in a header is a value like any other, and so is one that a function gives: each IPv6 address has a counter,
/// though a client has a whole network of them. Where a proxy names the client in a header, `"ip"` with `TrustedProxies` counts
/// the network.
///
/// **`key`**: `key = "search"` is a name. Rules with the same name, window and scopes share their counters, whichever
/// handlers they stand on; each holds the count against its own limit. Under `"gcra"`, tokens come back to each rule at its own
/// rate, and what one of the rules takes is taken from all. The path of a [function](#functions) gives a
/// name for each request; where that is an empty text, each address has a name of its own. See [keys](#keys).
///
/// **`cost`**, **`count_if`**, **`exempt`** and **`methods`**: see [what counts](#what-counts).
///
/// **`over_limit`**: the path of a [function](#functions), or `"allow"`: requests are counted and reported in the
/// headers, and none is refused.
///
/// **`send_x_headers`**: `true` or `false`. The middleware `RateLimitHeaders` is what writes the headers.
///
/// **`on_store_error`**: `"local"` counts in the memory of the process until the store is back, `"allow"` lets every
/// request pass, `"deny"` answers 503.
///
/// **`lease`**: from 1 to the limit; an integer, or another [constant expression](#constant-expressions). See
/// [leases](#leases).
///
/// **`crate`**: a path, with or without quotes, for a runtime that is renamed or exported by another crate.
///
/// # Functions
///
/// A function for `scope`, `key`, `cost` or `exempt` is plain, `fn(&HttpRequest) -> T`, or is written as a handler is,
/// with extractors: `async fn tenant(claims: Claims) -> String`. One for `over_limit` has a `&RateLimitState` as its
/// second argument, or is a handler too. The body belongs to the handler: where a function extracts it, the request is
/// answered 500, and the log names handler and function.
///
/// ```
/// use actix_web::{HttpRequest, Responder, http::StatusCode, web};
/// use ratelimit_runtime::{RateLimitState, ratelimit};
///
/// #[ratelimit("100/m", scope = ["ip", tenant], over_limit = sorry)]
/// async fn search(words: web::Path<String>) -> impl Responder {
///     words.into_inner()
/// }
///
/// struct Tenants(Vec<String>);
///
/// async fn tenant(tenants: web::Data<Tenants>, request: HttpRequest) -> Option<String> {
///     let host = request.connection_info().host().to_owned();
///     tenants.0.contains(&host).then_some(host)
/// }
///
/// fn sorry(_: &HttpRequest, state: &RateLimitState) -> impl Responder {
///     (format!("Try again in {} s.", state.retry_after()), StatusCode::TOO_MANY_REQUESTS)
/// }
/// ```
///
/// The result may borrow from the request. Each function is asked once for a request, however many rules name it.
///
/// # Keys
///
/// Without `key`, a rule counts under the path of its handler, `module::function`. So a counter is the same in all processes of
/// a service, and under every compiler. All instances of a generic handler have one path, and share their counters.
///
/// Two handlers of a program may have the same path: associated functions of two types in one module, or functions in two
/// blocks. They must not share a counter by accident. The one whose first request comes second is answered 500, and the log says
/// where both are. A `key` for one of them is the remedy.
///
/// A function in `scope` is part of a counter's name, too, by the last segment of its path: `tenant` of `crate::auth::tenant`.
/// Name it alike in all rules that share a `key`. Two different functions of one name under one `key` are answered as two
/// handlers with one path are. One function under two names is a warning in the log.
///
/// # Constant expressions
///
/// ```
/// use std::time::Duration;
/// use actix_web::Responder;
/// use ratelimit_runtime::ratelimit;
///
/// const BASE: u32 = 100;
/// const WINDOW: Duration = Duration::from_secs(60);
///
/// #[ratelimit(limit = BASE * 3, per = WINDOW)]
/// async fn search() -> impl Responder {
///     "300 a minute"
/// }
///
/// #[ratelimit(limit = if cfg!(debug_assertions) { 10_000 } else { 100 }, per = 60 * 60)]
/// async fn export() -> impl Responder {
///     "100 an hour, and more while it is developed"
/// }
/// ```
///
/// The compiler evaluates it, and an error is reported where it stands. It has any type of integers, also one of
/// `std::num::NonZero`. It cannot depend on the parameters of a generic handler, as all instances share one policy.
///
/// # Algorithms
///
/// | algorithm | counts |
/// |---|---|
/// | `"fixed-window"` | the requests in a window, from 0 in the next one |
/// | `"sliding-window"` | those in this window, and of the last one the part that is less than a window ago |
/// | `"gcra"` | as a token bucket does: tokens come back evenly, and up to `burst` of them wait |
///
/// A *fixed window* is the cheapest, and lets up to twice the limit pass around the end of a window. A *sliding window*
/// takes the requests of the last window to have come evenly: then no more than the limit passes in any time of `per`.
/// Where they have not, it errs, in both directions. If they came at the end of their window, up to
/// `limit × (1 + t / per)` pass in a time `t`: less than twice the limit in `per`, and hardly more than once around an
/// edge. If they came at its beginning, they count for longer than `per`, and requests are refused that need not be.
/// *GCRA* knows no windows: after a pause, `burst` requests may come at once, and then one in each `per / limit`, rounded
/// up to whole nanoseconds; so in a time `t` no more than `burst + limit × t / per` pass.
///
/// ```
/// use actix_web::Responder;
/// use ratelimit_runtime::ratelimit;
///
/// #[ratelimit("300/5m", algorithm = "sliding-window")]
/// async fn search() -> impl Responder {
///     "300 in the last 5 minutes, as if those before the full five minutes had come evenly"
/// }
///
/// #[ratelimit("60/minute", algorithm = "gcra", burst = 10)]
/// async fn track() -> impl Responder {
///     "10 at once, and one each second"
/// }
///
/// #[ratelimit("1000/day", scope = "user", stagger = true)]
/// async fn export() -> impl Responder {
///     "not everybody's day begins at midnight"
/// }
/// ```
///
/// **`burst`**: from 1 to 4294967295, and no more than come back within 90 days; an integer, or another
/// [constant expression](#constant-expressions). It may be below the limit or above.
///
/// **`stagger`**: `true` or `false`. Windows end for all counters at the same moment, and whoever was refused comes
/// back then. With `stagger`, each counter has a phase of its own. This is as useful for a sliding window: one that is
/// used up has room again when the window that filled it ends. With `"gcra"` there is nothing to stagger.
///
/// # What counts
///
/// ```
/// use actix_web::{HttpRequest, HttpResponse, Responder, routes};
/// use ratelimit_runtime::ratelimit;
///
/// #[ratelimit("1000/hour", cost = rows, exempt = monitor)]
/// async fn report() -> impl Responder {
///     "as many rows as you asked for"
/// }
///
/// #[routes]
/// #[get("/login")]
/// #[post("/login")]
/// #[ratelimit("5/minute", methods = ["POST"], count_if = failed)]
/// async fn login() -> impl Responder {
///     "the form is free, and so is a login that succeeds"
/// }
///
/// fn rows(request: &HttpRequest) -> u32 {
///     if request.query_string().contains("all") { 100 } else { 1 }
/// }
///
/// async fn monitor(request: HttpRequest) -> bool {
///     request.headers().contains_key("X-Monitor")
/// }
///
/// fn failed(response: &HttpResponse) -> bool {
///     !response.status().is_success()
/// }
/// ```
///
/// **`cost`**: an integer from 1 to the limit (with `"gcra"`: to `burst`), another [constant
/// expression](#constant-expressions), or the path of a [function](#functions) that returns an unsigned integer, or a `Result`
/// of one, where `Err` answers the request. A path that ends in capitals, such as `COST` or `prices::SEARCH`, is a `const`,
/// and any other a function. A request
/// whose cost does not fit in what remains is refused, and takes nothing. One that a function says costs 0 takes
/// nothing either, and is never refused; one that costs more than the limit always is, though its `Retry-After` says
/// when more is left: answer it with an `Err` that says how much may be asked for.
///
/// **`count_if`**: the path of a `fn(&HttpResponse) -> bool`, which cannot be `async`. A request is counted when it is admitted, and given back
/// if the function says `false` of its response: to the window that it was taken from. So as many requests run at the
/// same time as the limit allows, whatever will become of them.
///
/// **`exempt`**: the path of a [function](#functions) that returns a `bool`, or a `Result` of one, where `Err` answers
/// the request. A request of which it says `true` is not counted by this rule, nor refused.
///
/// **`methods`**: one in quotes, or several as in `["POST", "PUT"]`. Requests with another are not counted by this
/// rule, nor refused. Methods are case-sensitive, and may be ones of your own; what looks like a slip of the pen for one
/// of HTTP's is an error.
///
/// # Leases
///
/// With a lease, tokens are taken from Redis in lots of so many, and spent without asking it:
///
/// ```
/// use actix_web::Responder;
/// use ratelimit_runtime::ratelimit;
///
/// #[ratelimit("100000/minute", scope = "header:X-Api-Key", lease = 100)]
/// async fn search() -> impl Responder {
///     "one request in a hundred waits for Redis"
/// }
/// ```
///
/// Each worker thread of each process takes lots of its own. What this costs is precision at the end of a window, and
/// in one direction only:
///
/// - Never are more than `limit` requests admitted.
/// - A request may be refused while tokens lie unspent elsewhere: less than two leases with each other worker,
///   which asks for the next lot when a quarter of the last one is spent. A lot is never more than a tenth of what is left.
///   Unspent tokens are given back when their worker has another request after a second; those of a worker that ends, or of
///   an answer that is lost, are gone until the window ends.
/// - A worker notices within a second that a count was deleted in Redis.
/// - What a response's headers and `RateLimitState` say remains is what its worker knows: tokens that lie with other
///   workers are taken for spent, and so they are by `RateLimiter::peek`. From one response to the next, by another worker, it
///   may be more or less.
///
/// So the lease is to be small beside the limit, and the counter busy: a worker takes tokens of a counter only when it is
/// asked for it again within a while. A lease is of one rate: where there are several, each has an
/// attribute of its own. In memory there is nobody to ask, and a lease has no effect.
///
/// A lot holds at least what one request costs. A lease goes with fixed windows alone, and neither with `count_if`,
/// which gives requests back when their lot may be gone, nor with a function for `cost`, which may ask for more than a
/// lot holds.
///
/// # Other attributes
///
/// *Several `#[ratelimit]`* on one handler are one policy, and checked together. Each has its own scope, key and so on.
/// They are known by that name: where an attribute that is imported under another has one above it, that is an error.
///
/// ```
/// use actix_web::Responder;
/// use ratelimit_runtime::ratelimit;
///
/// #[ratelimit("10/second")]
/// #[ratelimit("1000/day", scope = "user", over_limit = "allow")]
/// async fn search() -> impl Responder {
///     "…"
/// }
/// ```
///
/// *Actix's routes*, such as `#[get("/")]` and `#[routes]`, stand above or below. `#[utoipa::path]` stands above,
/// because it reads the arguments of the handler. An attribute of another crate that has the name of a route, such as
/// `#[trace]`, is none: a route begins with the path of a URL in quotes.
///
/// *Below, most others* apply to the handler as it is written, so that `#[tracing::instrument(fields(id = body.id))]`
/// finds its arguments. Documentation, lint levels, `deprecated` and `must_use` apply to the function as a whole, and
/// an attribute in a `cfg_attr` goes where it would go without.
///
/// # What comes out
///
/// One function, of the same name, with the handler in it unchanged:
///
/// ```text
/// async fn quote(
///     __ratelimit_incoming: ::ratelimit_runtime::__private::Incoming,
/// ) -> ::ratelimit_runtime::__private::HttpResponse {
///     use ::ratelimit_runtime::__private as __ratelimit;
///     static __RATELIMIT: __ratelimit::Policy = __ratelimit::Policy::new(
///         "quickstart::quote",
///         &[__ratelimit::Rule::new(300, 300).scope(&[__ratelimit::Scope::Ip])],
///     );
///     async fn quote() -> impl Responder {
///         "Simplicity is prerequisite for reliability."
///     }
///     __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, quote).await
/// }
/// ```
///
/// The names that begin with `__ratelimit`, also in capitals, belong to the attribute. No other name of yours changes what it
/// means.
///
/// A `where` clause is added that each argument of the handler is an extractor, and each type parameter `'static`.
/// Within an `impl` block, the handler and the arguments of the attribute cannot say `Self`, and name the type instead; and the
/// handler's name alone is the handler in its body, where otherwise it could be a function of the module. In an `impl` of a
/// trait, the attribute cannot stand, as the function has another argument than the trait says.
///
/// # Tests
///
/// A limited handler has one argument, which Actix alone can make. So a test asks the application, as a client does, or calls a
/// function that the handler calls, too:
///
/// ```
/// use actix_web::{App, Responder, http::StatusCode, test, web};
/// use ratelimit_runtime::{RateLimiter, ratelimit};
///
/// #[ratelimit("1/day", scope = "global")]
/// async fn quote() -> impl Responder {
///     "Simplicity is prerequisite for reliability."
/// }
///
/// # actix_web::rt::System::new().block_on(async {
/// let limiter = RateLimiter::builder().build()?;
/// let app = test::init_service(App::new().app_data(limiter).route("/", web::get().to(quote))).await;
/// for expected in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
///     let request = test::TestRequest::get().uri("/").to_request();
///     assert_eq!(test::call_service(&app, request).await.status(), expected);
/// }
/// # });
/// ```
///
/// # Errors
///
/// Every mistake is an error of compilation at the token that makes it, and all are reported at once. Among them: an
/// argument that is unknown, repeated, of the wrong kind, or without sense beside another; a number out of range; a
/// unit, a scope or an algorithm that does not exist; the same rule twice on one handler; a handler that has `self`,
/// borrows its arguments, leaves a type to `impl Trait`, has more than 16 arguments, is not `async`, or is `const`,
/// `unsafe` or `extern`; a constant that is no integer; an argument that is no extractor, and a result that is no `Responder`.
#[proc_macro_attribute]
pub fn ratelimit(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    output(arguments.into(), item.into()).into()
}

fn output(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if Mark::is(&arguments) {
        return item;
    }
    let mut errors = Errors::default();
    let mut policy = vec![Args::parse(arguments, Span::call_site(), &mut errors)];
    let Some(handler) = errors.keep(syn::parse2::<Handler>(item.clone())) else {
        return quote!(#errors #item);
    };
    for attribute in &handler.limits {
        if let Some(list) = errors.keep(attribute.meta.require_list()) {
            if Mark::is(&list.tokens) {
                errors.add(Error::new(Span::call_site(), OTHER_NAME));
                continue;
            }
            policy.push(Args::parse(list.tokens.clone(), attribute.path().span(), &mut errors));
        }
    }
    handler.check(&mut errors);
    check::surroundings(&policy, &handler.sig, &mut errors);
    let runtime = check::handler(&policy, &mut errors);
    if errors.is_empty() {
        expand::expand(&handler, &policy, &runtime)
    } else {
        // The handler is there without its limits, so that no error follows from its absence.
        quote!(#errors #handler)
    }
}

const OTHER_NAME: &str = "another `#[ratelimit]` stands above, and one of the two has another name, so that they would be \
                          two decisions: write `#[ratelimit_runtime::ratelimit(…)]` for both";

/// Everything that is wrong, to be reported at once.
#[derive(Default)]
struct Errors(Vec<Error>);

impl Errors {
    fn push(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.0.push(Error::new_spanned(tokens, message));
    }

    fn add(&mut self, error: Error) {
        self.0.push(error);
    }

    /// What a result holds, if it is no error.
    fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ToTokens for Errors {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.0.iter().map(Error::to_compile_error));
    }
}
