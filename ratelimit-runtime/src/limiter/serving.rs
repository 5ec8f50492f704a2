//! Which limiter serves a request: one in the application's data, or the one of the process.

use std::{
    env::VarError,
    net::IpAddr,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use actix_web::{HttpRequest, web};
use once_cell::sync::OnceCell;

use crate::{error::Error, limiter::RateLimiter};

/// The environment variable with the store's URL for the process-wide limiter.
const URL_VARIABLE: &str = "RATELIMIT_URL";

/// Whether the limiter of the process must not serve.
static IS_REQUIRED: AtomicBool = AtomicBool::new(false);

/// No limiter serves a request; the log says why.
pub(crate) struct NoLimiter;

/// The name of a form in which a limiter may stand in the application's data, and how it is found there.
type Form = (&'static str, fn(&HttpRequest) -> Option<&RateLimiter>);

impl RateLimiter {
    /// Requires a limiter in the `app_data` of every application of this process, from now on. A limited handler without one answers
    /// 500, and the log says so once (RL024), in place of the limiter of the process, which counts apart from all others.
    ///
    /// An application calls this once, at the start of `main`. It holds for the whole process and cannot be taken back, so that no part of a
    /// program can make another one count elsewhere. It is no setting of a limiter or of `app_data`, since it is about applications in which
    /// these were forgotten; no cargo feature, since any crate could switch one on for all others; and no environment variable, since
    /// the code is what is right or wrong.
    ///
    /// Nothing else changes: [`check`](Self::check) and the other methods of a limiter at hand work as ever.
    ///
    /// ```no_run
    /// use actix_web::{App, HttpServer};
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// #[actix_web::main]
    /// async fn main() -> std::io::Result<()> {
    ///     RateLimiter::require_in_app_data();
    ///     let limiter = RateLimiter::open("redis://127.0.0.1/")?;
    ///     HttpServer::new(move || App::new().app_data(limiter.clone())).bind(("127.0.0.1", 8080))?.run().await
    /// }
    /// ```
    pub fn require_in_app_data() {
        IS_REQUIRED.store(true, Relaxed);
    }

    /// The address of the client of a request, as the limiter that serves the request knows it: that of whoever connected, or the
    /// address that a [trusted proxy](crate::TrustedProxies) names. `None` over a Unix socket without one, and where no limiter serves.
    ///
    /// `scope = "ip"` counts this address, and a missing user, header or value counts for it. An IPv4 address in IPv6 (`::ffff:192.0.2.60`)
    /// is an IPv4 address here, too. Any other IPv6 address is whole here, and counts for its
    /// [network](crate::RateLimiterBuilder::ipv6_prefix), or for the IPv4 address that a translator has put into it.
    ///
    /// ```
    /// use actix_web::HttpRequest;
    /// use ratelimit_runtime::{RateLimiter, ratelimit};
    ///
    /// #[ratelimit("5/minute", scope = "ip")]
    /// async fn login(request: HttpRequest) -> String {
    ///     format!("an attempt of {:?}", RateLimiter::client_ip(&request))
    /// }
    ///
    /// /// A scope of one's own, which leaves this machine out.
    /// fn outside(request: &HttpRequest) -> Option<String> {
    ///     RateLimiter::client_ip(request).filter(|address| !address.is_loopback()).map(|address| address.to_string())
    /// }
    /// # let _ = (login, outside);
    /// ```
    #[must_use]
    pub fn client_ip(request: &HttpRequest) -> Option<IpAddr> {
        Self::of(request).ok()?.clients().ip.client(request)
    }

    /// The limiter that serves `request`: its application's, or else the process's.
    #[inline]
    pub(crate) fn of(request: &HttpRequest) -> Result<&Self, NoLimiter> {
        match request.app_data::<Self>() {
            Some(limiter) => Ok(limiter),
            None => Self::of_no_plain(request),
        }
    }

    /// The limiter that serves `request`, where its application has no plain one.
    #[inline(never)]
    fn of_no_plain(request: &HttpRequest) -> Result<&Self, NoLimiter> {
        match Self::wrapped(request).next() {
            Some((_, limiter)) => Ok(limiter),
            None if IS_REQUIRED.load(Relaxed) => Err(report_missing(request)),
            None => of_process().as_ref().map_err(|_| NoLimiter),
        }
    }

    /// The limiters that stand in the application's data within something else, each with the name of its form. Where there is
    /// no plain one, the first serves.
    pub(crate) fn wrapped(request: &HttpRequest) -> impl Iterator<Item = (&'static str, &Self)> {
        const FORMS: [Form; 3] = [
            ("web::Data<RateLimiter>", |request| Some(request.app_data::<web::Data<RateLimiter>>()?.get_ref())),
            ("Arc<RateLimiter>", |request| Some(request.app_data::<Arc<RateLimiter>>()?.as_ref())),
            ("web::Data<Arc<RateLimiter>>", |request| {
                Some(request.app_data::<web::Data<Arc<RateLimiter>>>()?.as_ref())
            }),
        ];
        FORMS.into_iter().filter_map(|(form, find)| Some((form, find(request)?)))
    }
}

/// Reports, once, an application without a limiter where one is required.
fn report_missing(request: &HttpRequest) -> NoLimiter {
    static REPORTED: Once = Once::new();

    REPORTED.call_once(|| {
        // The pattern is written in the program, unlike the path.
        let place = request.match_pattern().map_or_else(String::new, |pattern| format!(" at `{pattern}`"));
        log::error!(
            "no RateLimiter in app_data for a limited handler{place}, and `RateLimiter::require_in_app_data()` requires one: it answers \
             500; write `.app_data(limiter.clone())` (RL024)"
        );
    });
    NoLimiter
}

fn of_process() -> &'static Result<RateLimiter, Error> {
    static LIMITER: OnceCell<Result<RateLimiter, Error>> = OnceCell::new();
    LIMITER.get_or_init(|| match std::env::var(URL_VARIABLE) {
        Ok(url) if !url.trim().is_empty() => {
            RateLimiter::open(&url).inspect_err(|error| log::error!("{URL_VARIABLE}: {error}"))
        }
        Ok(_) | Err(VarError::NotPresent) => {
            log::warn!(
                "no RateLimiter in app_data and no {URL_VARIABLE}: limits are counted in this process's memory (RL007)"
            );
            Ok(RateLimiter::in_memory())
        }
        Err(VarError::NotUnicode(_)) => {
            log::error!("{URL_VARIABLE}: is not UTF-8 (RL001)");
            Err(Error::Url { part: "encoding", reason: "is not UTF-8".to_owned() })
        }
    })
}
