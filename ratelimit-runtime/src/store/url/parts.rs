//! The parts of a URL behind its scheme, as far as stores with a login have the same.
//!
//! No message repeats a part of the URL: after a mistake, any part may be a piece of a password.

use crate::{
    error::Error,
    store::{
        host::split,
        url::{error, escapes::decode},
    },
};

/// The parts after the scheme, still with their escapes.
pub(crate) struct Parts<'a> {
    /// `user:password`, without the `@`.
    pub(crate) login: Option<&'a str>,
    /// One server or several.
    pub(crate) hosts: &'a str,
    /// The text after the first `/`.
    pub(crate) path: &'a str,
    /// The text after the `?`.
    pub(crate) query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(rest: &'a str) -> Result<Self, Error> {
        if rest.chars().any(|char| char.is_whitespace() || char.is_control()) {
            return Err(error("syntax", "there is white space or a control character within; write %20 for a blank"));
        }
        if rest.contains('#') {
            return Err(error("fragment", "the URL of a store has none; in a password write %23 for `#`"));
        }
        let (rest, query) = split(rest, '?');
        let (authority, path) = split(rest, '/');
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        Ok(Self { login, hosts, path: path.unwrap_or_default(), query })
    }

    /// Rejects a path or a query that is the rest of a login.
    pub(crate) fn check_login(&self) -> Result<(), Error> {
        let option = self.query.and_then(|query| query.split(['=', '&']).next());
        if self.path.contains('@') || option.is_some_and(|option| option.contains('@')) {
            let reason =
                "an `@` follows a `/` or a `?`; in a user or a password write %2F for `/`, %3F for `?`, %40 for `@`";
            return Err(error("login", reason));
        }
        Ok(())
    }

    /// The user and the password, without escapes.
    pub(crate) fn user_and_password(&self) -> Result<(Option<String>, Option<String>), Error> {
        let Some(login) = self.login else { return Ok((None, None)) };
        let (user, password) = split(login, ':');
        Ok((Some(decode("login", user)?), password.map(|password| decode("login", password)).transpose()?))
    }

    /// The options in the query; `names` are those that exist.
    pub(crate) fn options(&self, names: &[&'static str]) -> Result<Vec<(&'static str, String)>, Error> {
        let mut options = Vec::new();
        for option in self.query.unwrap_or_default().split('&').filter(|option| !option.is_empty()) {
            let (name, value) = split(option, '=');
            let Some(name) = names.iter().find(|allowed| **allowed == name) else {
                let allowed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let reason = format!("there is an option that is none of {allowed}; in a value write %26 for `&`");
                return Err(error("query", reason));
            };
            if options.iter().any(|(other, _)| other == name) {
                return Err(error("query", format!("`{name}` stands twice")));
            }
            options.push((*name, decode("query", value.unwrap_or_default())?));
        }
        Ok(options)
    }
}
