//! An endpoint: the address of a server, and how to connect and log in to it.

use std::sync::Arc;

use redis::RedisResult;

use crate::store::redis::transport::{
    address::ServerAddress,
    connector::Connector,
    login::Login,
    progress::{ConnectStep, Progress},
    stream::Stream,
};

/// A server that can be connected to.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: ServerAddress,
    pub(crate) login: Login,
    /// All endpoints of a limiter share one.
    pub(crate) connector: Arc<Connector>,
}

impl Endpoint {
    /// Another server, with the same login.
    pub(crate) fn at(&self, address: ServerAddress) -> Self {
        Self { address, ..self.clone() }
    }

    /// Connects and logs in. It has no deadline of its own.
    pub(crate) async fn open(&self) -> RedisResult<Stream> {
        self.open_with(&Progress::default()).await
    }

    /// Connects and logs in, and reports each step.
    pub(crate) async fn open_with(&self, progress: &Progress) -> RedisResult<Stream> {
        progress.start(ConnectStep::Credentials);
        let credentials = self.login.credentials().await?;
        let mut stream = self.connector.connect(&self.address, progress).await?;
        progress.start(ConnectStep::Login);
        self.login.log_in(&mut stream, credentials).await?;
        Ok(stream)
    }
}
