//! Which limiter serves a request: one in the application's data, or the one of the process.

use std::{env::VarError, net::IpAddr, sync::Arc};

use actix_web::{HttpRequest, web};
use once_cell::sync::OnceCell;

use crate::{error::Error, limiter::RateLimiter};

/// The environment variable with the store's URL for the process-wide limiter.
const URL_VARIABLE: &str = "RATELIMIT_URL";

/// The name of a form in which a limiter may stand in the application's data, and how it is found there.
type Form = (&'static str, fn(&HttpRequest) -> Option<&RateLimiter>);

impl RateLimiter {
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
    pub(crate) fn of(request: &HttpRequest) -> Result<&Self, &'static Error> {
        match request.app_data::<Self>() {
            Some(limiter) => Ok(limiter),
            None => Self::of_no_plain(request),
        }
    }

    /// The limiter that serves `request`, where its application has no plain one.
    #[inline(never)]
    fn of_no_plain(request: &HttpRequest) -> Result<&Self, &'static Error> {
        match Self::wrapped(request).next() {
            Some((_, limiter)) => Ok(limiter),
            None => of_process(),
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

fn of_process() -> Result<&'static RateLimiter, &'static Error> {
    static LIMITER: OnceCell<Result<RateLimiter, Error>> = OnceCell::new();
    LIMITER
        .get_or_init(|| match std::env::var(URL_VARIABLE) {
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
        .as_ref()
}
