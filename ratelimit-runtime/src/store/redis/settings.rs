//! The settings and the state that all connections of a limiter share.

use std::{sync::Arc, time::Duration};

use crate::store::{
    keys::KeyNames,
    redis::{cache::deny_cache::DenyCache, health::Health, topology::Topology},
    server_clock::SharedClock,
};

/// What all workers of a limiter share.
pub(crate) struct Settings {
    pub(crate) topology: Topology,
    pub(crate) names: Arc<KeyNames>,
    /// How long a check may take.
    pub(crate) deadline: Duration,
    pub(crate) health: Arc<Health>,
    pub(crate) clock: SharedClock,
    /// Full counters, for all workers. A cluster has none: its nodes share no clock.
    pub(crate) deny_cache: Option<Arc<DenyCache>>,
}
