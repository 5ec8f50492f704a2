//! What a server is told first: user and password, and the database.

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerError, Value};

use super::{
    credentials::{Credentials, Source},
    stream::Stream,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) source: Source,
    pub(super) database: u32,
}

impl Login {
    /// The user and the password, from wherever they come.
    pub(super) async fn credentials(&self) -> RedisResult<Option<Credentials>> {
        Ok(match &self.source {
            Source::None => None,
            Source::Url(credentials) => Some(credentials.clone()),
            Source::Application(provider) => Some(provider.get().await?),
        })
    }

    /// Logs in on a new stream.
    pub(super) async fn log_in(&self, stream: &mut Stream, credentials: Option<Credentials>) -> RedisResult<()> {
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
        let mut commands = Vec::with_capacity(2);
        commands.extend(credentials.map(|credentials| auth(credentials.user(), credentials.secret())));
        if self.database != 0 {
            let mut command = redis::cmd("SELECT");
            command.arg(self.database);
            commands.push(command);
        }
        let mut answers = stream.ask_all(&commands).await?;
        if let Some(credentials) = credentials {
            if credentials.user().is_some() && answers.first().is_some_and(has_no_users) {
                commands[0] = auth(None, credentials.secret());
                answers = stream.ask_all(&commands).await?;
            }
            if let Some(Value::ServerError(error)) = answers.first() {
                return Err(refusal(error));
            }
        }
        answers.into_iter().try_for_each(|answer| answer.extract_error().map(drop))
    }
}

fn auth(user: Option<&str>, password: &str) -> Cmd {
    let mut command = redis::cmd("AUTH");
    command.arg(user).arg(password);
    command
}

/// Whether a server is older than Redis 6.0, where passwords have no users.
fn has_no_users(answer: &Value) -> bool {
    let Value::ServerError(error) = answer else { return false };
    error.details().is_some_and(|details| details.contains("wrong number of arguments"))
}

/// A server may repeat in its error what it was sent: so only the error's code is told.
fn refusal(error: &ServerError) -> RedisError {
    let what = "the server refuses the user or the password";
    if error.details().is_some_and(|details| details.contains("without any password configured")) {
        let detail = "the user `default` has no password; leave it out".to_owned();
        return RedisError::from((ErrorKind::AuthenticationFailed, what, detail));
    }
    let code = error.code();
    let is_code = code.len() <= 16 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = if is_code { code } else { "an error" };
    RedisError::from((ErrorKind::AuthenticationFailed, what, format!("it says {code}")))
}
