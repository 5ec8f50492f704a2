//! A subject: who is counted, as a program says it.

use std::{
    fmt::Display,
    future::{Future, ready},
    net::IpAddr,
};

use actix_web::{Error, HttpRequest};

use crate::{
    check::{error::CheckError, slot, source::Source},
    counter::{address::Address, key_part::KeyPart},
    decision::state::RateLimitState,
    limiter::clients::Clients,
    rule::{
        function::{extract::NotExtracted, held::AskRef},
        name::last_segment,
        rate::Rate,
        scope::ScopeFn,
    },
};

/// Who is counted, where there is no request, or where the program knows better: a WebSocket message, a job, a call of gRPC.
///
/// A subject has the values that the scopes of a policy ask for. A policy that needs another value fails with
/// [`CheckError::Subject`], which names it.
///
/// ```
/// use ratelimit_runtime::{CheckError, Policy, RateLimiter, Subject, policy};
///
/// static MESSAGES: Policy = policy!("10/second", key = "messages", scope = "user");
///
/// async fn may_send(limiter: &RateLimiter, user: &str) -> Result<bool, CheckError> {
///     Ok(limiter.check(&MESSAGES, &Subject::new().user(user)).await?.is_admitted())
/// }
/// # let _ = may_send;
/// ```
///
/// | scope | value |
/// |---|---|
/// | `"ip"` | [`ip`](Self::ip) |
/// | `"user"` | [`user`](Self::user) |
/// | `"header:x-api-key"` | [`header`](Self::header) |
/// | a function `tenant` | [`part`](Self::part) |
/// | `"global"` | none |
///
/// An empty value means what it means in a request: the address stands in, so [`ip`](Self::ip) is needed, too. A function in `key` is
/// answered by [`part`](Self::part), one in `cost` by [`cost`](Self::cost), and one in `rate` by [`rate`](Self::rate). Rules with `methods`, `exempt` or `count_if` count every
/// subject, since these ask for a request or a response.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    ip: Option<IpAddr>,
    user: Option<KeyPart>,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// By the names of functions.
    parts: Vec<(String, KeyPart)>,
    costs: Vec<(String, u64)>,
    rates: Vec<(String, Option<Rate>)>,
}

impl Subject {
    /// A subject of which nothing is known, as `scope = "global"` counts it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The subject of a request, which is resolved as under `#[ratelimit]`: by the limiter's proxies and user function, and by the functions
    /// of the policy. In a middleware, write `Subject::of(request.request())` for a
    /// [`ServiceRequest`](actix_web::dev::ServiceRequest).
    #[must_use]
    pub fn of(request: &HttpRequest) -> RequestSubject<'_> {
        RequestSubject(request)
    }

    /// The client's address. An IPv6 address counts for its network, as the limiter is set up.
    #[must_use]
    pub fn ip(mut self, address: IpAddr) -> Self {
        self.ip = Some(address);
        self
    }

    /// The user. An empty text says that nobody is signed in.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(KeyPart::from_bytes(user.as_bytes()));
        self
    }

    /// The value of a header, whose name is in any case. An empty text says that the header is missing.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.trim_ascii().to_owned()));
        self
    }

    /// The result of a function in `scope` or `key`: the last segment of the function's path, and a value that can be displayed.
    #[must_use]
    pub fn part(mut self, function: &str, value: impl Display) -> Self {
        self.parts.push((function.to_owned(), KeyPart::new(value)));
        self
    }

    /// The result of a function in `cost`: the last segment of the function's path, and the cost.
    #[must_use]
    pub fn cost(mut self, function: &str, cost: u64) -> Self {
        self.costs.push((function.to_owned(), cost));
        self
    }

    /// The result of a function in `rate`: the last segment of the function's path, and the rate; `None` is no limit.
    #[must_use]
    pub fn rate(mut self, function: &str, rate: impl Into<Option<Rate>>) -> Self {
        self.rates.push((function.to_owned(), rate.into()));
        self
    }

    fn named_part(&self, function: &str) -> Result<Option<KeyPart>, CheckError> {
        let part = find(&self.parts, function).cloned();
        let lacks = || lacks(format!("the result of `{function}`"), format!("part(\"{function}\", …)"));
        part.ok_or_else(lacks).map(Some)
    }
}

fn find<'a, T>(values: &'a [(String, T)], name: &str) -> Option<&'a T> {
    values.iter().rfind(|(known, _)| known == name).map(|(_, value)| value)
}

fn lacks(value: impl Into<String>, call: impl Into<String>) -> CheckError {
    CheckError::Subject { value: value.into(), call: call.into() }
}

impl Source for Subject {
    type Error = CheckError;

    fn address(&self, clients: &Clients) -> Address {
        self.ip.map_or(Address::Unknown, |ip| clients.ip.counted(ip))
    }

    fn header(&self, name: &str) -> &[u8] {
        find(&self.headers, name).map_or(&[], |value| value.as_bytes())
    }

    fn has_method(&self, _: &[&str]) -> bool {
        true
    }

    fn require_address(&self) -> Result<(), CheckError> {
        self.ip.map(drop).ok_or_else(|| lacks("the address", "ip(address)"))
    }

    fn require_header(&self, name: &'static str) -> Result<(), CheckError> {
        match find(&self.headers, name) {
            Some(value) if value.is_empty() => self.require_address(),
            Some(_) => Ok(()),
            None => Err(lacks(format!("the header `{name}`"), format!("header(\"{name}\", …)"))),
        }
    }

    async fn user(&self, _: &Clients, _: &'static str) -> Result<Option<KeyPart>, CheckError> {
        let user = self.user.clone().ok_or_else(|| lacks("the user", "user(…)"))?;
        if user.is_empty() {
            self.require_address()?;
        }
        Ok(Some(user))
    }

    fn part(&self, function: ScopeFn) -> impl Future<Output = Result<Option<KeyPart>, CheckError>> {
        ready(self.named_part(function.name))
    }

    fn key(
        &self,
        path: &'static str,
        _: AskRef<Option<KeyPart>>,
    ) -> impl Future<Output = Result<Option<KeyPart>, CheckError>> {
        ready(self.named_part(last_segment(path)))
    }

    async fn cost(&self, path: &'static str, _: AskRef<u64>) -> Result<u64, CheckError> {
        let name = last_segment(path);
        let cost = find(&self.costs, name).copied();
        cost.ok_or_else(|| lacks(format!("the cost by `{name}`"), format!("cost(\"{name}\", …)")))
    }

    async fn rate(&self, path: &'static str, _: AskRef<Option<Rate>>) -> Result<Option<Rate>, CheckError> {
        let name = last_segment(path);
        let rate = find(&self.rates, name).copied();
        rate.ok_or_else(|| lacks(format!("the rate by `{name}`"), format!("rate(\"{name}\", …)")))
    }

    fn keep(&self, _: &RateLimitState) {}

    async fn is_exempt(&self, _: AskRef<bool>) -> Result<bool, CheckError> {
        Ok(false)
    }
}

/// The subject of a request: see [`Subject::of`].
#[derive(Clone, Copy, Debug)]
pub struct RequestSubject<'a>(pub(crate) &'a HttpRequest);

impl Source for RequestSubject<'_> {
    type Error = Error;

    #[inline]
    fn address(&self, clients: &Clients) -> Address {
        clients.ip.of(self.0)
    }

    /// Among several lines the first counts, which handlers see, too.
    fn header(&self, name: &str) -> &[u8] {
        self.0.headers().get(name).map_or(&[], |value| value.as_bytes().trim_ascii())
    }

    #[inline]
    fn has_method(&self, methods: &[&str]) -> bool {
        methods.contains(&self.0.method().as_str())
    }

    fn require_address(&self) -> Result<(), Error> {
        Ok(())
    }

    fn require_header(&self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    async fn user(&self, clients: &Clients, policy: &'static str) -> Result<Option<KeyPart>, Error> {
        let Some(function) = &clients.user else {
            let error = NoUserFunction { policy };
            clients.reported.call_once(|| log::error!("{error}"));
            return Err(error.into());
        };
        function(self.0).get().await
    }

    async fn part(&self, function: ScopeFn) -> Result<Option<KeyPart>, Error> {
        function.function.ask(self.0).get().await.or_else(|error| if_malformed(error, Some(KeyPart::from_bytes(b""))))
    }

    async fn key(&self, _: &'static str, function: AskRef<Option<KeyPart>>) -> Result<Option<KeyPart>, Error> {
        function.ask(self.0).get().await.or_else(|error| if_malformed(error, Some(KeyPart::from_bytes(b""))))
    }

    async fn cost(&self, _: &'static str, function: AskRef<u64>) -> Result<u64, Error> {
        function.ask(self.0).get().await.or_else(|error| if_malformed(error, 1))
    }

    async fn rate(&self, _: &'static str, function: AskRef<Option<Rate>>) -> Result<Option<Rate>, Error> {
        function.ask(self.0).get().await
    }

    fn keep(&self, state: &RateLimitState) {
        slot::keep(self.0, state.clone());
    }

    async fn is_exempt(&self, function: AskRef<bool>) -> Result<bool, Error> {
        function.ask(self.0).get().await.or_else(|error| if_malformed(error, false))
    }
}

/// What stands in for the result of a function that could not extract a malformed body. The request counts: otherwise bodies that the handler takes
/// and the function does not would cost nothing.
fn if_malformed<T>(error: Error, stand_in: T) -> Result<T, Error> {
    error.as_error::<NotExtracted>().is_some().then_some(stand_in).ok_or(error)
}

/// `scope = "user"` under a limiter that was not told who the user is: answered 500.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{policy}` has `scope = \"user\"`, and its limiter does not know who the user is: write \
     `RateLimiter::builder().user(…)`; until then every handler with this scope is answered 500 (RL008)"
)]
pub(crate) struct NoUserFunction {
    policy: &'static str,
}
