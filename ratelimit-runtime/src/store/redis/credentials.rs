//! User and password, and what else a login says.

use std::fmt;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerError, Value};

use super::stream::Stream;

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// Without one, Redis takes the user `default`.
    user: Option<String>,
    password: String,
}

impl Credentials {
    pub(super) fn new(user: Option<String>, password: String) -> Self {
        Self { user, password }
    }

    /// The command that logs in with them.
    fn auth(&self, user: Option<&str>) -> Cmd {
        let mut command = redis::cmd("AUTH");
        command.arg(user).arg(&self.password);
        command
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// What a server is told first.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) credentials: Option<Credentials>,
    pub(super) database: u32,
}

impl Login {
    /// Logs in on a new stream.
    pub(super) async fn log_in(&self, stream: &mut Stream) -> RedisResult<()> {
        let mut commands: Vec<Cmd> = Vec::new();
        commands.extend(self.credentials.as_ref().map(|credentials| credentials.auth(credentials.user.as_deref())));
        if self.database != 0 {
            let mut command = redis::cmd("SELECT");
            command.arg(self.database);
            commands.push(command);
        }
        let mut answers = stream.ask_all(&commands).await?.into_iter();
        match (&self.credentials, answers.next()) {
            (Some(credentials), Some(Value::ServerError(error))) => {
                if !(credentials.user.is_some() && has_no_users(&error)) {
                    return Err(refusal(&error));
                }
                // Once more, and then what follows.
                let again: Vec<_> = [credentials.auth(None)].into_iter().chain(commands.into_iter().skip(1)).collect();
                answers = stream.ask_all(&again).await?.into_iter();
                if let Some(Value::ServerError(error)) = answers.next() {
                    return Err(refusal(&error));
                }
            }
            // Without credentials, the first answer is that to what follows.
            (None, Some(answer)) => answer.extract_error().map(drop)?,
            _ => {}
        }
        answers.try_for_each(|answer| answer.extract_error().map(drop))
    }
}

/// Whether a server is older than Redis 6.0, where passwords have no users.
fn has_no_users(error: &ServerError) -> bool {
    error.details().is_some_and(|details| details.contains("wrong number of arguments"))
}

/// A server may repeat in its error what it was sent: so only the error's code is told.
fn refusal(error: &ServerError) -> RedisError {
    let code = error.code();
    let is_code = code.len() <= 16 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = if is_code { code } else { "an error" };
    let what = "the server refuses the user or the password";
    RedisError::from((ErrorKind::AuthenticationFailed, what, format!("it says {code}")))
}
