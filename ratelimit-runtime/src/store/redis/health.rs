//! The log's messages about the store, for all workers of a process: one when a failure starts, one a minute while it lasts, and
//! one when it ends.

use std::{
    fmt::{self, Display},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::store::{
    episode::Episode,
    printable::Printable,
    redis::{
        failure::Failure,
        server_error::{Advice, ErrorClass},
    },
};

/// How many kinds of refusals are distinguished.
const KINDS: usize = 16;

#[derive(Debug)]
pub(crate) struct Health {
    /// Where the server is, without credentials.
    address: String,
    /// The prefix of all keys.
    prefix: String,
    /// The failure of connections that are down.
    outage: Mutex<Episode>,
    /// The refusals of servers that decide other checks, by kinds of errors.
    refusals: Mutex<Vec<(ErrorClass, Episode)>>,
}

impl Health {
    pub(crate) fn new(address: String, prefix: String) -> Self {
        Self { address, prefix, outage: Mutex::default(), refusals: Mutex::default() }
    }

    /// Reports that a connection has failed, after it worked or at its first attempt.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.outage.lock().connections += 1;
        self.fails(failure);
    }

    /// Reports that a connection still fails.
    pub(crate) fn fails(&self, failure: &Failure) {
        let address = &self.address;
        let cause = Printable(FailureAdvice { failure, prefix: &self.prefix });
        self.outage.lock().fail(Instant::now(), |lasted| match lasted {
            None => log::error!(
                "rate limit store {address} fails: {cause}; requests are answered as on_store_error says until it is back (RL022)"
            ),
            Some(lasted) => log::error!("rate limit store {address} has been failing for {lasted:.0?}: {cause} (RL022)"),
        });
    }

    /// Reports that a connection works again.
    pub(crate) fn recovered(&self) {
        let mut outage = self.outage.lock();
        outage.end(|lasted| log::warn!("rate limit store {} is back after {lasted:.1?}", self.address));
        // Another connection still fails, so the next message waits for the minute to end.
        outage.logged = outage.logged.filter(|_| outage.connections > 0);
    }

    /// Ends the failure of a connection whose worker ends.
    pub(crate) fn abandoned(&self) {
        self.outage.lock().end(|_| {});
    }

    /// Reports the first refusals on a connection.
    pub(crate) fn refuses_first(&self, kind: &ErrorClass, checks: u64, error: &redis::RedisError) {
        self.refuse(kind, 1, checks, error);
    }

    /// Reports further refusals on a connection.
    pub(crate) fn refuses(&self, kind: &ErrorClass, checks: u64, error: &redis::RedisError) {
        self.refuse(kind, 0, checks, error);
    }

    fn refuse(&self, kind: &ErrorClass, connections: usize, checks: u64, error: &redis::RedisError) {
        let mut refusals = self.refusals.lock();
        let index = refusals.iter().position(|(other, _)| other == kind).or_else(|| {
            if refusals.len() >= KINDS {
                refusals.retain(|(_, episode)| episode.connections > 0);
            }
            (refusals.len() < KINDS).then(|| {
                refusals.push((kind.clone(), Episode::default()));
                refusals.len() - 1
            })
        });
        let Some(index) = index else { return };
        let episode = &mut refusals[index].1;
        episode.connections += connections;
        episode.checks += checks;
        let (address, cause) = (&self.address, Printable(Advice { error, prefix: &self.prefix }));
        let refused = episode.checks;
        episode.fail(Instant::now(), |lasted| match lasted {
            None => log::error!(
                "rate limit store {address} refuses checks: {cause}; they are answered as on_store_error says, and others are counted (RL023)"
            ),
            Some(lasted) => {
                log::error!("rate limit store {address} has refused {refused} checks in {lasted:.0?}: {cause} (RL023)");
            }
        });
    }

    /// Reports that a connection decides checks that it refused before.
    pub(crate) fn accepts(&self, kind: &ErrorClass) {
        self.end(kind, |lasted| {
            log::warn!(
                "rate limit store {} decides all checks again, after {lasted:.1?} of {}",
                self.address,
                Printable(kind)
            );
        });
    }

    /// Ends the refusals on a connection whose worker ends.
    pub(crate) fn abandons(&self, kind: &ErrorClass) {
        self.end(kind, |_| {});
    }

    fn end(&self, kind: &ErrorClass, log: impl FnOnce(Duration)) {
        if let Some((_, episode)) = self.refusals.lock().iter_mut().find(|(other, _)| other == kind) {
            episode.end(log);
        }
    }
}

/// Why a connection ended, and what to do about it.
struct FailureAdvice<'a> {
    failure: &'a Failure,
    prefix: &'a str,
}

impl Display for FailureAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failure {
            Failure::Redis(error) => Advice { error, prefix: self.prefix }.fmt(f),
            failure => failure.fmt(f),
        }
    }
}
