//! The one script: a batch of requests in, what their counters held out.

use std::{sync::LazyLock, time::Duration};

use redis::{Cmd, RedisError, RedisResult, Script, ServerErrorKind, aio::MultiplexedConnection};
use smallvec::SmallVec;

use crate::{
    store::{Found, Hit},
    window,
};

const SOURCE: &str = include_str!("check.lua");
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// What the script answered to a batch.
pub(super) struct Reply {
    /// The server's time since the epoch.
    pub(super) time: Duration,
    /// The time that the windows in the batch's keys were worked out from, in seconds since the epoch.
    asked_at: u64,
    /// What each counter of the batch held, -1 where its window was not the server's.
    used: std::vec::IntoIter<i64>,
}

/// Asks the server to decide `batch`, with the windows of `now`.
pub(super) async fn call(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    batch: &[&[Hit]],
    now: Duration,
) -> RedisResult<Reply> {
    let asked_at = now.as_secs();
    let by_hash = command("EVALSHA", SCRIPT.get_hash(), prefix, batch, asked_at);
    let values: RedisResult<Vec<i64>> = by_hash.query_async(connection).await;
    let values = match values {
        // After SCRIPT FLUSH or a restart nothing was run; to evaluate the source also loads it.
        Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
            command("EVAL", SOURCE, prefix, batch, asked_at).query_async(connection).await?
        }
        values => values?,
    };
    let [seconds, micros, used @ ..] = &values[..] else {
        return Err(RedisError::from((redis::ErrorKind::UnexpectedReturnType, "the script's reply is too short")));
    };
    let time = Duration::from_secs(seconds.unsigned_abs()) + Duration::from_micros(micros.unsigned_abs());
    Ok(Reply { time, asked_at, used: share_out(batch, used).into_iter() })
}

/// The requests of a batch, together those side by side that are the same and have one rule: a counter that is in
/// demand is written once for all of them.
fn runs<'a>(batch: &'a [&'a [Hit]]) -> impl Iterator<Item = &'a [&'a [Hit]]> {
    batch.chunk_by(|one, next| one.len() == 1 && one == next)
}

fn command(name: &str, script: &str, prefix: &str, batch: &[&[Hit]], now: u64) -> Cmd {
    let requests = || runs(batch).filter_map(|run| Some((*run.first()?, run.len())));
    let mut command = redis::cmd(name);
    command.arg(script).arg(requests().map(|(hits, _)| hits.len()).sum::<usize>());
    let mut key = String::new();
    for hit in requests().flat_map(|(hits, _)| hits) {
        key.clear();
        hit.counter.write(prefix, window::end(now, hit.limit.per), &mut key);
        command.arg(&key);
    }
    for (hits, times) in requests() {
        command.arg(hits.len()).arg(times);
        for hit in hits {
            let end = window::end(now, hit.limit.per);
            let start = end - u64::from(hit.limit.per);
            command.arg(hit.limit.limit).arg(u8::from(hit.refuses)).arg(start).arg(end);
        }
    }
    command
}

/// What each counter held before each request of the batch: of requests that were counted together, each finds the one
/// before it counted.
fn share_out(batch: &[&[Hit]], used: &[i64]) -> Vec<i64> {
    let mut used = used.iter().copied();
    let mut shared = Vec::with_capacity(batch.len());
    for run in runs(batch) {
        let rules = run.first().map_or(0, |hits| hits.len());
        let held: SmallVec<[i64; 2]> = used.by_ref().take(rules).collect();
        for before in 0..run.len() as i64 {
            shared.extend(held.iter().map(|&held| if held < 0 { held } else { held.saturating_add(before) }));
        }
    }
    shared
}

impl Reply {
    /// What the counters of the next request of the batch held; `None` if it was not counted, because the
    /// server's window is another one.
    pub(super) fn next(&mut self, hits: &[Hit]) -> Option<SmallVec<[Found; 2]>> {
        let used: SmallVec<[i64; 2]> = self.used.by_ref().take(hits.len()).collect();
        let found = |(hit, used): (&Hit, &i64)| {
            // A counter that something else wrote may hold more than any limit.
            let used = u32::try_from(u64::try_from(*used).ok()?).unwrap_or(u32::MAX);
            Some(Found { used, window_end: window::end(self.asked_at, hit.limit.per) })
        };
        if used.len() < hits.len() {
            return None;
        }
        hits.iter().zip(&used).map(found).collect()
    }
}
