//! The login on a new stream: user and password, and the database.

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};

use crate::store::redis::transport::{
    credentials::{CredentialSource, Credentials},
    stream::Stream,
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    pub(crate) source: CredentialSource,
    pub(crate) database: u32,
}

impl Login {
    /// The user and the password, from their source.
    pub(crate) async fn credentials(&self) -> RedisResult<Option<Credentials>> {
        Ok(match &self.source {
            CredentialSource::None => None,
            CredentialSource::Url(credentials) => Some(credentials.clone()),
            CredentialSource::Application(provider) => Some(provider.get().await?),
        })
    }

    /// Logs in on a new stream.
    pub(crate) async fn log_in(&self, stream: &mut Stream, credentials: Option<Credentials>) -> RedisResult<()> {
        let Some(credentials) = credentials else { return self.send(stream, None).await };
        let result = self.send(stream, Some(&credentials)).await;
        match (&self.source, result) {
            // The application may have changed them since another login.
            (CredentialSource::Application(provider), Err(error))
                if error.kind() == ErrorKind::AuthenticationFailed =>
            {
                provider.forget(&credentials);
                let others = provider.get().await?;
                if others == credentials { Err(error) } else { self.send(stream, Some(&others)).await }
            }
            (_, result) => result,
        }
    }

    async fn send(&self, stream: &mut Stream, credentials: Option<&Credentials>) -> RedisResult<()> {
        if let Some(credentials) = credentials {
            authenticate(stream, credentials).await?;
        }
        if self.database != 0 {
            let mut command = redis::cmd("SELECT");
            command.arg(self.database);
            stream.run::<Value>(command).await?;
        }
        Ok(())
    }
}

async fn authenticate(stream: &mut Stream, credentials: &Credentials) -> RedisResult<()> {
    let mut answer = stream.run::<Value>(auth(credentials.user(), credentials.secret())).await;
    if credentials.user().is_some() && answer.as_ref().is_err_and(has_no_users) {
        answer = stream.run(auth(None, credentials.secret())).await;
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

/// Whether the server is older than Redis 6.0, in which passwords have no users.
fn has_no_users(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("wrong number of arguments"))
}

/// The error to report. A server may repeat the password in its error, so only the error's code is shown.
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
