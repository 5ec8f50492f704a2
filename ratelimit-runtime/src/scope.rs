//! Whom a rule counts.

use std::sync::Once;

use actix_web::{Error, HttpRequest};
use smallvec::SmallVec;

use crate::{
    client_ip::ClientIp,
    function::{Answer, ScopeFunction},
    key::{Address, Text, Who},
};

/// One part of a rule's scope, as the attribute writes it.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "written by the attribute's output only; the attribute documents each scope")]
pub enum Scope {
    Ip,
    User,
    Global,
    /// The header's name in lower case.
    Header(&'static str),
    /// The function's path, and the function.
    Function(&'static str, fn(&HttpRequest) -> Answer<Option<Text>>),
}

impl Scope {
    /// What clients know the scope by.
    pub(crate) fn name(&self) -> &'static str {
        match *self {
            Self::Ip => "ip",
            Self::User => "user",
            Self::Global => "global",
            Self::Header(name) => name,
            Self::Function(path, _) => path.rsplit("::").next().unwrap_or(path),
        }
    }
}

/// The function that says who a request's user is.
pub(crate) type UserFunction = dyn Fn(&HttpRequest) -> Answer<Option<Text>> + Send + Sync;

/// How to tell clients apart: the part of a limiter's set-up that scopes need.
pub(crate) struct Clients {
    pub(crate) ip: ClientIp,
    pub(crate) user: Option<Box<UserFunction>>,
    /// A missing user function is logged once, not for each request.
    pub(crate) reported: Once,
}

impl Clients {
    pub(crate) fn user_function<F, Marker>(function: F) -> Box<UserFunction>
    where
        F: ScopeFunction<Marker> + Send + Sync + 'static,
    {
        Box::new(move |request| function.ask(request))
    }
}

/// A request on its way through the rules of its handler: each function is asked once, however many rules name it.
pub(crate) struct Asker<'a> {
    clients: &'a Clients,
    request: &'a HttpRequest,
    answers: SmallVec<[(&'static str, Given); 1]>,
}

/// What a function said: its type name, and the value, if the request is to be counted.
pub(crate) type Given = (&'static str, Option<Text>);

/// Stands for the user function among the paths of others. No path looks like this.
const USER: &str = "\"user\"";

impl<'a> Asker<'a> {
    pub(crate) fn new(clients: &'a Clients, request: &'a HttpRequest) -> Self {
        Self { clients, request, answers: SmallVec::new() }
    }

    /// Whom the request counts for under `scope`; `None` where a function exempts it.
    pub(crate) async fn who(&mut self, scope: &'static [Scope]) -> Result<Option<SmallVec<[Who; 1]>>, Error> {
        let mut parts = SmallVec::new();
        for part in scope {
            parts.push(match *part {
                Scope::Global => Who::Global,
                Scope::Ip => Who::Ip(self.ip()),
                Scope::User => match self.user().await? {
                    Some(user) => Who::User(user),
                    None => Who::NoUser(self.ip()),
                },
                // A request without the header counts for its address, not for one counter that anybody could use up.
                Scope::Header(name) => match self.request.headers().get(name) {
                    Some(value) => Who::Header(name, Text::new(value.as_bytes())),
                    None => Who::NoHeader(name, self.ip()),
                },
                Scope::Function(path, function) => match self.ask(path, function).await? {
                    (function, Some(text)) => Who::Function(function, text),
                    (_, None) => return Ok(None),
                },
            });
        }
        Ok(Some(parts))
    }

    /// What the function written as `path` says: within one handler, a path is one function.
    pub(crate) async fn ask(
        &mut self,
        path: &'static str,
        function: impl Fn(&HttpRequest) -> Answer<Option<Text>>,
    ) -> Result<Given, Error> {
        if let Some((_, given)) = self.answers.iter().find(|(known, _)| *known == path) {
            return Ok(given.clone());
        }
        let answer = function(self.request);
        let given = (answer.function, answer.get().await?);
        self.answers.push((path, given.clone()));
        Ok(given)
    }

    async fn user(&mut self) -> Result<Option<Text>, Error> {
        let clients = self.clients;
        let Some(function) = &clients.user else {
            clients.reported.call_once(|| log::error!("{NoUserFunction}"));
            return Err(NoUserFunction.into());
        };
        Ok(self.ask(USER, function).await?.1)
    }

    fn ip(&self) -> Address {
        self.clients.ip.of(self.request)
    }
}

/// `scope = "user"` on a handler whose limiter was not told who the user is: answered 500.
#[derive(Debug, thiserror::Error)]
#[error("scope = \"user\" needs RateLimiter::builder().user(…), which says who the user of a request is")]
struct NoUserFunction;

impl actix_web::ResponseError for NoUserFunction {
    fn error_response(&self) -> actix_web::HttpResponse {
        crate::problem::misconfigured()
    }
}
