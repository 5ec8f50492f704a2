//! A server: where it is, and how to connect and log in to it.

use std::sync::Arc;

use crate::store::redis::transport::{
    address::Address,
    login::Login,
    progress::{Progress, Step},
    stream::{Stream, Transport},
};
use redis::RedisResult;

/// A server, and the way to it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) login: Login,
    /// Shared by all endpoints of a limiter.
    pub(crate) transport: Arc<Transport>,
}

impl Endpoint {
    /// Another server, with the same login.
    pub(crate) fn at(&self, address: Address) -> Self {
        Self { address, ..self.clone() }
    }

    /// Connects and logs in, without a deadline.
    pub(crate) async fn open(&self) -> RedisResult<Stream> {
        self.open_with(&Progress::default()).await
    }

    /// The same, telling what is under way.
    pub(crate) async fn open_with(&self, progress: &Progress) -> RedisResult<Stream> {
        progress.begin(Step::Credentials);
        let credentials = self.login.credentials().await?;
        let mut stream = self.transport.connect(&self.address, progress).await?;
        progress.begin(Step::Login);
        self.login.log_in(&mut stream, credentials).await?;
        Ok(stream)
    }
}
