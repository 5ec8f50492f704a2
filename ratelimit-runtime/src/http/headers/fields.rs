//! The header fields that say the state of a limit, and their values.

use std::{cell::RefCell, ptr};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::decision::state::{RateLimitState, RuleState};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// A draft of [draft-ietf-httpapi-ratelimit-headers](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/), whose
/// header fields [`RateLimitHeaders::ietf_draft`](crate::RateLimitHeaders::ietf_draft) writes.
///
/// In the drafts 6 and 7 only `RateLimit-Policy` has several rules, and no two of them may have the same limit. So of a handler with
/// several rules, the other fields speak of the [tightest](crate::RateLimitState::tightest). `RateLimit-Policy` lists the tightest rule
/// and each further rule whose limit is not listed yet, in the order of the attribute.
///
/// A rule of `concurrency` is no quota, and stands in no field.
///
/// Times are seconds, rounded up and at least 1: those of [`RuleState::retry_after`](crate::RuleState::retry_after). A window is
/// [`RuleState::per`](crate::RuleState::per), in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IetfDraft {
    /// `RateLimit-Limit: 100`, `RateLimit-Remaining: 50`, `RateLimit-Reset: 30` and `RateLimit-Policy: 100;w=60`
    Draft6,
    /// `RateLimit: limit=100, remaining=50, reset=30` and `RateLimit-Policy: 100;w=60`
    Draft7,
    /// `RateLimit: "ip:100/60s";r=50;t=30` and `RateLimit-Policy: "ip:100/60s";q=100;w=60`, a member for every rule. The drafts 8 to 11 have
    /// the same form.
    Draft10,
}

/// The fields that a response gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    /// Whether `X-RateLimit-Reset` is a number of seconds from now, and not a time.
    pub(crate) reset_in_seconds: bool,
    pub(crate) ietf: Option<IetfDraft>,
}

impl Fields {
    /// Writes the state into the headers of a response.
    pub(crate) fn write(&self, state: &RateLimitState, headers: &mut HeaderMap) {
        if let Some(rule) = state.tightest_with_x_headers() {
            set(headers, LIMIT, limit_value(rule));
            set(headers, REMAINING, number(rule.remaining().into()));
            let value = if self.reset_in_seconds { number(rule.retry_after().into()) } else { reset(rule.reset_at()) };
            set(headers, RESET, value);
        }
        if let Some(draft) = self.ietf
            && let Some(tightest) = state.tightest_rate()
        {
            write_ietf(draft, state, tightest, headers);
        }
    }
}

fn write_ietf(draft: IetfDraft, state: &RateLimitState, tightest: &RuleState, headers: &mut HeaderMap) {
    match draft {
        IetfDraft::Draft6 => {
            set_list(headers, RATELIMIT_POLICY, unnamed_policies(state, tightest));
            set(headers, RATELIMIT_LIMIT, limit_value(tightest));
            set(headers, RATELIMIT_REMAINING, number(tightest.remaining().into()));
            set(headers, RATELIMIT_RESET, number(tightest.retry_after().into()));
        }
        IetfDraft::Draft7 => {
            set_list(headers, RATELIMIT_POLICY, unnamed_policies(state, tightest));
            let [limit, remaining, reset] = [tightest.limit(), tightest.remaining(), tightest.retry_after()];
            let members = [format!("limit={limit}"), format!("remaining={remaining}"), format!("reset={reset}")];
            set_list(headers, RATELIMIT, members.into_iter());
        }
        IetfDraft::Draft10 => {
            let policies = state.rates().map(|rule| format!("\"{}\";q={};w={}", rule.name(), rule.limit(), rule.per()));
            set_list(headers, RATELIMIT_POLICY, policies);
            let limits = state
                .rates()
                .map(|rule| format!("\"{}\";r={};t={}", rule.name(), rule.remaining(), rule.retry_after()));
            set_list(headers, RATELIMIT, limits);
        }
    }
}

/// The policies as drafts 6 and 7 write them: without names, so no two may have the same limit.
fn unnamed_policies<'a>(state: &'a RateLimitState, tightest: &'a RuleState) -> impl Iterator<Item = String> + use<'a> {
    let is_listed = |(index, rule): &(usize, &RuleState)| {
        let has_same_limit = |other: &RuleState| other.limit() == rule.limit();
        ptr::eq(*rule, tightest) || !(has_same_limit(tightest) || state.rates().take(*index).any(has_same_limit))
    };
    let rules = state.rates().enumerate().filter(is_listed);
    rules.map(|(_, rule)| format!("{};w={}", rule.limit(), rule.per()))
}

fn limit_value(rule: &RuleState) -> HeaderValue {
    rule.info().limit_value.clone().unwrap_or_else(|| number(rule.limit().into()))
}

/// Sets a header, unless the handler has set it itself. The value is appended first, because most handlers have not set it, and one
/// search is saved.
fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let names = headers.len_keys();
    headers.append(name.clone(), value);
    if headers.len_keys() == names {
        remove_last(headers, &name);
    }
}

/// Removes the last value of a header.
#[cold]
fn remove_last(headers: &mut HeaderMap, name: &HeaderName) {
    let mut left = headers.get_all(name).count();
    headers.retain(|known, _| {
        left -= usize::from(known == name);
        known != name || left > 0
    });
}

/// The value of a number, in one allocation of the right size.
fn number(number: u64) -> HeaderValue {
    // Digits are a valid value.
    HeaderValue::from_str(itoa::Buffer::new().format(number)).unwrap_or(HeaderValue::from_static("0"))
}

/// The value of a time. It is cached, because it is the same for all requests of a rule until its window ends.
fn reset(time: u64) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static("0"))) };
    }
    LAST.with_borrow_mut(|(last, value)| {
        if *last != time {
            (*last, *value) = (time, number(time));
        }
        value.clone()
    })
}

/// A list of structured fields (RFC 9651).
fn set_list(headers: &mut HeaderMap, name: HeaderName, items: impl Iterator<Item = String>) {
    // The names in it are printable ASCII; nothing else could fail.
    if let Ok(value) = HeaderValue::try_from(items.collect::<Vec<_>>().join(", ")) {
        set(headers, name, value);
    }
}
