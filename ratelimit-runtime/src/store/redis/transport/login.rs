//! What a server is told first: user and password, and the database.

use crate::store::redis::transport::{
    credentials::{Credentials, Source},
    stream::Stream,
};
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};

#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    pub(crate) source: Source,
    pub(crate) database: u32,
}

impl Login {
    /// The user and the password, from wherever they come.
    pub(crate) async fn credentials(&self) -> RedisResult<Option<Credentials>> {
        Ok(match &self.source {
            Source::None => None,
            Source::Url(credentials) => Some(credentials.clone()),
            Source::Application(provider) => Some(provider.get().await?),
        })
    }

    /// Logs in on a new stream.
    pub(crate) async fn log_in(&self, stream: &mut Stream, credentials: Option<Credentials>) -> RedisResult<()> {
        let Some(credentials) = credentials else { return self.say(stream, None).await };
        let result = self.say(stream, Some(&credentials)).await;
        match (&self.source, result) {
            // They may have changed since they were given for another login.
            (Source::Application(provider), Err(error)) if error.kind() == ErrorKind::AuthenticationFailed => {
                provider.forget(&credentials);
                let others = provider.get().await?;
                if others == credentials { Err(error) } else { self.say(stream, Some(&others)).await }
            }
            (_, result) => result,
        }
    }

    async fn say(&self, stream: &mut Stream, credentials: Option<&Credentials>) -> RedisResult<()> {
        if let Some(credentials) = credentials {
            authenticate(stream, credentials).await?;
        }
        if self.database != 0 {
            let mut command = redis::cmd("SELECT");
            command.arg(self.database);
            stream.ask::<Value>(command).await?;
        }
        Ok(())
    }
}

async fn authenticate(stream: &mut Stream, credentials: &Credentials) -> RedisResult<()> {
    let mut answer = stream.ask::<Value>(auth(credentials.user(), credentials.secret())).await;
    if credentials.user().is_some() && answer.as_ref().is_err_and(has_no_users) {
        answer = stream.ask(auth(None, credentials.secret())).await;
    }
    match answer {
        Ok(_) => Ok(()),
        Err(error) if error.code().is_some() => Err(refusal(&error)),
        Err(error) => Err(error),
    }
}

fn auth(user: Option<&str>, password: &str) -> Cmd {
    let mut command = redis::cmd("AUTH");
    command.arg(user).arg(password);
    command
}

/// Whether a server is older than Redis 6.0, where passwords have no users.
fn has_no_users(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("wrong number of arguments"))
}

/// A server may repeat in its error what it was sent: so only the error's code is told.
fn refusal(error: &RedisError) -> RedisError {
    let what = "the server refuses the user or the password";
    let detail = match error.code() {
        _ if error.detail().is_some_and(|detail| detail.contains("without any password configured")) => {
            "the user `default` has no password; leave it out".to_owned()
        }
        Some(code) if code.len() <= 16 && code.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            format!("it says {code}")
        }
        _ => "it says no more".to_owned(),
    };
    RedisError::from((ErrorKind::AuthenticationFailed, what, detail))
}
