//! The handler alone, and the 429 alone.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    body::to_bytes,
    http::header::{HeaderName, HeaderValue},
    web::{self, Bytes},
};
use anyhow::{Result, ensure};
use futures_util::FutureExt;
use ratelimit_runtime::RateLimiter;

use crate::{
    Configure, handlers,
    load::{Keys, Load, Verdict},
    offline,
};

pub(super) fn configure(load: Load) -> Result<Configure> {
    if load.verdict == Verdict::Admitted {
        return Ok(Arc::new(|app| {
            app.service(web::resource("/").route(web::get().to(handlers::bare)));
        }));
    }
    let refusal = Refusal::of_ours()?;
    Ok(Arc::new(move |app| {
        let refusal = refusal.clone();
        let answer = move || std::future::ready(refusal.answer());
        app.service(web::resource("/").route(web::get().to(answer)));
    }))
}

/// The handler alone that waits once: the ceiling for any limiter that asks somebody else.
pub(super) fn waiting() -> Configure {
    Arc::new(|app| {
        app.service(web::resource("/").route(web::get().to(handlers::waiting)));
    })
}

/// A 429 that was made before.
#[derive(Clone)]
struct Refusal {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Refusal {
    /// This project's answer, read from the project so that it stays the same.
    fn of_ours() -> Result<Self> {
        let load = Load { verdict: Verdict::Refused, keys: Keys::One };
        let service = offline::limited(load, &RateLimiter::in_memory());
        let address = offline::address(0);
        offline::call(&service, offline::request(address));
        let answer = offline::answer(&service, offline::request(address));
        ensure!(answer.status().as_u16() == 429, "the second request was answered {}", answer.status());
        let headers = answer.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let body = to_bytes(answer.into_body()).now_or_never();
        let body =
            body.and_then(Result::ok).ok_or_else(|| anyhow::anyhow!("the 429 has a body that is not at hand"))?;
        Ok(Self { headers, body })
    }

    fn answer(&self) -> HttpResponse {
        let mut response = HttpResponse::TooManyRequests().body(self.body.clone());
        for (name, value) in &self.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    }
}
