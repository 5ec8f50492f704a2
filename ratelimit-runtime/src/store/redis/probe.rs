//! What a server that had failed is asked before checks are: as they are, by the same script, with the same commands.

use redis::RedisError;
use smallvec::smallvec;

use crate::{
    counter::{Counter, Family, Name, Stem, Who},
    rule::{algorithm::Algorithm, limit::Limit, terms::Terms},
    store::{
        CounterKey, Hit,
        redis::{
            batch::{Batch, Check},
            blame::Blame,
            script::{CheckReply, Reply},
            settings::Settings,
            target::Target,
            work::{KeyedHit, Work},
        },
    },
};

/// How often a server is asked, if its time is another than it was thought to be.
pub(crate) const ATTEMPTS: usize = 3;

/// The window of the probe's counters, in seconds.
const PER: u32 = 60;

/// Two requests: as most checks are, and of several rules. Sliding windows are left out: their commands may not be allowed where
/// nobody has one.
pub(crate) fn batch(settings: &Settings, target: &Target) -> Batch {
    let number = number(settings, target);
    let ask = |algorithm| {
        let terms = Terms { limit: Limit { limit: LIMIT, per: PER }, algorithm, phase: 0, cost: 1 };
        let hit = Hit { hash: 0, terms, refuses: true, on_store_error: None, lease: 1 };
        KeyedHit { hit, key: key(settings, algorithm, number), take: 1, is_refill: false }
    };
    let [fixed, gcra] = [Algorithm::FixedWindow, Algorithm::Gcra { burst: LIMIT }].map(ask);
    let works = [Work::Count(smallvec![fixed.clone()]), Work::Count(smallvec![fixed, gcra])];
    Batch::new(works.into_iter().map(Check::of).collect())
}

/// Whether the server has counted it: if not, its time is another. A server that refuses some of the checks, because of what they
/// are, works; or fails with what it says of itself.
pub(crate) fn is_counted(batch: &Batch, reply: &Reply) -> Result<bool, RedisError> {
    let (mut counted, mut condemned) = (0, Ok(()));
    reply.read(&batch.works(), |_, told| match told {
        CheckReply::Failed(error) if Blame::of(error) != Blame::Check => condemned = Err(error.clone()),
        CheckReply::Decided(..) | CheckReply::Done(_) | CheckReply::Failed(_) => counted += 1,
    });
    condemned.map(|()| counted == batch.checks.len())
}

/// More than all workers of all processes ask for within a window.
const LIMIT: u32 = 1_000_000_000;

/// A counter of the limiter's own: no rule has such a scope.
fn key(settings: &Settings, algorithm: Algorithm, number: Option<u32>) -> CounterKey {
    let text = number.map(|number| number.to_string().into());
    let scope = text.into_iter().map(|text| Who::Header("", text)).collect();
    let stem = Stem { key: Name::Rule("probe"), per: PER, kind: algorithm.kind(false), ordinal: 0 };
    settings.names.key(&Counter { family: Family::new(0), stem, scope })
}

/// What puts the counters into a slot of the node, if it is one of a cluster and has slots.
fn number(settings: &Settings, target: &Target) -> Option<u32> {
    let Target::Node { node, map, .. } = target else { return None };
    let map = map.borrow();
    let is_there = |number: &u32| {
        let key = key(settings, Algorithm::FixedWindow, Some(*number));
        map.primary(settings.names.slot(&key)) == Some(node)
    };
    // Any text has some slot: with so many, hardly a node is left out.
    if map.has_primary(node) { (0..10_000).find(is_there) } else { None }
}
