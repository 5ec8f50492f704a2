//! The probe: two checks that a server must count after a failure, before it gets the checks of requests. A ping is the first of them.
//!
//! The probe uses the script and the commands that requests use.

use redis::RedisError;
use smallvec::smallvec;

use crate::{
    counter::{BaseHash, BaseName, Counter, Name, SubjectPart},
    rule::{algorithm::Algorithm, limit::Limit, terms::Terms},
    store::{
        CounterKey, Hit,
        keys::KeyNames,
        redis::{
            pipeline::{batch::Batch, check::QueuedCheck},
            protocol::reply::{Reply, WorkResult},
            server_error::Blame,
            topology::destination::Destination,
            work::{KeyedHit, Work},
        },
    },
};

/// How often the probe is sent. The first one may be for another window, if the server's clock was set.
pub(crate) const ATTEMPTS: usize = 3;

/// The window of the probe's counters, in seconds.
const PER: u32 = 60;

/// More than all workers of all processes use in one window.
const LIMIT: u32 = 1_000_000_000;

/// A check of one rule and a check of two. Sliding windows are left out: an ACL may forbid their commands where no rule has one.
pub(crate) fn batch(names: &KeyNames, destination: &Destination) -> Batch {
    let number = number(names, destination);
    let [fixed, gcra] = [Algorithm::FixedWindow, Algorithm::Gcra { burst: LIMIT }].map(|algorithm| {
        let key = key(names, algorithm, number);
        keyed_hit(algorithm, key)
    });
    let works = [Work::Count(smallvec![fixed.clone()]), Work::Count(smallvec![fixed, gcra])];
    Batch::new(works.into_iter().map(QueuedCheck::without_request).collect())
}

/// A check of one rule, by which a health check finds out whether a server counts.
pub(crate) fn ping(key: CounterKey) -> Work {
    Work::Count(smallvec![keyed_hit(Algorithm::FixedWindow, key)])
}

/// The counter of a ping. The number chooses its slot in a cluster.
pub(crate) fn ping_key(names: &KeyNames, number: Option<u32>) -> CounterKey {
    key(names, Algorithm::FixedWindow, number)
}

fn keyed_hit(algorithm: Algorithm, key: CounterKey) -> KeyedHit {
    let terms = Terms { limit: Limit { limit: LIMIT, per: PER }, algorithm, phase: 0, cost: 1 };
    let hit = Hit { hash: 0, terms, refuses: true, on_store_error: None, lease: 1, place: 0, block: None };
    KeyedHit { hit, key, tokens: 1, is_refill: false }
}

/// Whether the server has counted the probe; if not, its window is another one. A server that refuses only these checks works.
pub(crate) fn is_counted(batch: &Batch, reply: &Reply) -> Result<bool, RedisError> {
    let (mut counted, mut server_error) = (0, Ok(()));
    reply.read(&batch.works(), |_, result| match result {
        WorkResult::Failed(error) if Blame::of(error) != Blame::Check => server_error = Err(error.clone()),
        WorkResult::Decided(..) | WorkResult::Done(_) | WorkResult::Failed(_) => counted += 1,
    });
    server_error.map(|()| counted == batch.checks.len())
}

/// A counter of the limiter's own: no rule has such a scope.
fn key(names: &KeyNames, algorithm: Algorithm, number: Option<u32>) -> CounterKey {
    let text = number.map(|number| number.to_string().into());
    let scope = text.into_iter().map(|text| SubjectPart::Header("", text)).collect();
    let base = BaseName { key: Name::Rule("probe"), per: PER, kind: algorithm.kind(false), ordinal: 0 };
    names.key(&Counter { base_hash: BaseHash::new(0), base, scope })
}

/// A number in the key that gives it a slot of the node, if the destination is a node with slots.
fn number(names: &KeyNames, destination: &Destination) -> Option<u32> {
    let (node, map) = destination.node()?;
    let map = map.borrow();
    let is_there = |number: &u32| {
        let key = key(names, Algorithm::FixedWindow, Some(*number));
        map.primary(names.slot(&key)) == Some(node)
    };
    // Each number has a random slot. Among so many, hardly a node has none.
    if map.has_primary(node) { (0..10_000).find(is_there) } else { None }
}
