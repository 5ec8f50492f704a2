//! The one script: a batch of requests in, what their counters held out.

use std::{
    cmp::{Ordering, Reverse},
    sync::LazyLock,
    time::Duration,
};

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, aio::MultiplexedConnection};
use smallvec::SmallVec;

use super::batch::{Ask, Passage, Work};
use crate::{
    key::Counter,
    store::{Found, Hit},
    window,
};

const SOURCE: &str = include_str!("check.lua");
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// What the script answered to a batch.
pub(super) struct Reply {
    /// The server's time since the epoch.
    pub(super) time: Duration,
    /// What the counters of each request held before it; `None` where it was not counted, because the server's window
    /// is another one.
    pub(super) found: Vec<Option<SmallVec<[Found; 1]>>>,
}

/// How the counters of a server are named.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) prefix: String,
    /// Whether the scope stands in braces: it chooses the slot in a cluster.
    pub(super) tagged: bool,
}

impl Names {
    pub(super) fn write(&self, counter: &Counter, window_end: u64, key: &mut String) {
        key.clear();
        counter.write(&self.prefix, self.tagged, window_end, key);
    }
}

/// Asks the server to decide `works`, with the windows of `now`.
pub(super) async fn call(
    connection: &mut MultiplexedConnection,
    names: &Names,
    works: &[&Work],
    passage: Passage,
    now: Duration,
) -> RedisResult<Reply> {
    let plan = Plan::new(works, now.as_secs());
    let asking = passage == Passage::Asking;
    let values = match send(connection, plan.command("EVALSHA", SCRIPT.get_hash(), names), asking).await {
        // After SCRIPT FLUSH or a restart nothing was run; to evaluate the source also loads it.
        Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
            send(connection, plan.command("EVAL", SOURCE, names), asking).await?
        }
        values => values?,
    };
    plan.read(&values)
        .ok_or_else(|| RedisError::from((ErrorKind::UnexpectedReturnType, "the script's reply is too short")))
}

async fn send(connection: &mut MultiplexedConnection, command: Cmd, asking: bool) -> RedisResult<Vec<i64>> {
    if !asking {
        return command.query_async(connection).await;
    }
    let mut pipeline = redis::pipe();
    pipeline.cmd("ASKING").ignore().add_command(command).ignore_errors();
    let [values]: [RedisResult<Vec<i64>>; 1] = pipeline.query_async(connection).await?;
    values
}

/// A batch in the order in which the script goes through it.
///
/// Requests that are alike stand side by side, and what they have in common is sent once. Those of one rule that are
/// the same are counted at once: a counter that is in demand is written once for all of them.
struct Plan<'a> {
    works: &'a [&'a Work],
    /// In seconds since the epoch.
    now: u64,
    order: Vec<usize>,
    runs: Vec<Run>,
}

/// Requests that are counted at once: where they stand in the order.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    length: usize,
}

impl<'a> Plan<'a> {
    fn new(works: &'a [&'a Work], now: u64) -> Self {
        let mut order: Vec<usize> = (0..works.len()).collect();
        // Stable: of requests that are the same, the first to come is the first to be counted.
        order.sort_by(|&one, &other| {
            let (one, other) = (works[one], works[other]);
            one.compare_kind(other).then_with(|| one.hash().cmp(&other.hash()))
        });
        let mut start = 0;
        let runs = order.chunk_by(|&one, &next| works[one].is_counted_with(works[next]));
        let runs = runs.map(|run| {
            start += run.len();
            Run { start: start - run.len(), length: run.len() }
        });
        let runs = runs.collect();
        Self { works, now, order, runs }
    }

    fn work(&self, run: Run) -> &'a Work {
        self.works[self.order[run.start]]
    }

    /// Runs side by side that the script treats alike.
    fn groups(&self) -> impl Iterator<Item = &[Run]> {
        let alike = |one: &Run, next: &Run| {
            one.length == next.length && self.work(*one).compare_kind(self.work(*next)) == Ordering::Equal
        };
        self.runs.chunk_by(alike)
    }

    fn command(&self, name: &str, script: &str, names: &Names) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.runs.iter().map(|run| self.work(*run).keys()).sum::<usize>());
        let mut key = String::with_capacity(128);
        for run in &self.runs {
            match self.work(*run) {
                Work::GiveBack(refund) => {
                    names.write(&refund.counter, refund.window_end, &mut key);
                    command.arg(&key);
                }
                Work::Count(hits, _) => {
                    for hit in hits {
                        names.write(&hit.counter, window::end(self.now, hit.limit.per), &mut key);
                        command.arg(&key);
                    }
                }
            }
        }
        for group in self.groups() {
            let run = group[0];
            match self.work(run) {
                Work::GiveBack(refund) => command.arg(0).arg(group.len()).arg(refund.tokens),
                Work::Count(hits, asks) => {
                    command.arg(hits.len()).arg(group.len());
                    match (&hits[..], &asks[..]) {
                        ([hit], [ask]) => self.one_rule(&mut command, hit, *ask, run.length),
                        _ => self.several_rules(&mut command, hits, asks),
                    }
                }
            };
        }
        command
    }

    fn one_rule<'c>(&self, command: &'c mut Cmd, hit: &Hit, ask: Ask, times: usize) -> &'c mut Cmd {
        // Of a lot, as many as there are; else a request gets what it costs, or nothing.
        let unit = 1;
        command.arg(times * ask.lot as usize).arg(unit).arg(hit.limit.limit);
        command.arg(window::end(self.now, hit.limit.per)).arg(hit.limit.per)
    }

    fn several_rules<'c>(&self, command: &'c mut Cmd, hits: &[Hit], asks: &[Ask]) -> &'c mut Cmd {
        for (hit, ask) in hits.iter().zip(asks) {
            command.arg(hit.limit.limit).arg(window::end(self.now, hit.limit.per)).arg(hit.limit.per);
            command.arg(1).arg(ask.lot).arg(u8::from(hit.refuses));
        }
        command
    }

    /// Shares the reply out among the requests; `None`, if it is too short.
    fn read(&self, values: &[i64]) -> Option<Reply> {
        let [seconds, micros, used @ ..] = values else { return None };
        let time = Duration::from_secs(seconds.unsigned_abs()) + Duration::from_micros(micros.unsigned_abs());
        let mut used = used.iter().copied();
        let mut found = vec![None; self.works.len()];
        for run in &self.runs {
            let held: SmallVec<[i64; 2]> = used.by_ref().take(self.work(*run).keys()).collect();
            if held.len() < self.work(*run).keys() {
                return None;
            }
            let Work::Count(hits, asks) = self.work(*run) else {
                self.members(*run).for_each(|index| found[index] = Some(SmallVec::new()));
                continue;
            };
            let holds = |(hit, held): (&Hit, &i64)| {
                // A counter that something else wrote may hold more than any limit.
                let used = u32::try_from(u64::try_from(*held).ok()?).unwrap_or(u32::MAX);
                Some(Found { used, window_end: window::end(self.now, hit.limit.per) })
            };
            let mut before: Option<SmallVec<[Found; 1]>> = hits.iter().zip(&held).map(holds).collect();
            for index in self.members(*run) {
                found[index].clone_from(&before);
                // Of requests that were counted at once, each finds what the one before it has left.
                if let (Some([before]), [hit], [ask]) = (before.as_deref_mut(), &hits[..], &asks[..]) {
                    before.used += ask.lot.min(hit.limit.limit.saturating_sub(before.used));
                }
            }
        }
        Some(Reply { time, found })
    }

    fn members(&self, run: Run) -> impl Iterator<Item = usize> {
        self.order[run.start..run.start + run.length].iter().copied()
    }
}

impl Work {
    /// The order of kinds of requests: what is given back can be had by those after it, and who takes a lot shares it
    /// with those after it.
    fn compare_kind(&self, other: &Self) -> Ordering {
        let rule = |(hit, ask): (&Hit, &Ask)| (Reverse(ask.lot), hit.limit.limit, hit.limit.per, hit.refuses);
        match (self, other) {
            (Self::GiveBack(one), Self::GiveBack(other)) => one.tokens.cmp(&other.tokens),
            (Self::GiveBack(_), Self::Count(..)) => Ordering::Less,
            (Self::Count(..), Self::GiveBack(_)) => Ordering::Greater,
            (Self::Count(hits, asks), Self::Count(others, others_asks)) => hits
                .len()
                .cmp(&others.len())
                .then_with(|| hits.iter().zip(asks).map(rule).cmp(others.iter().zip(others_asks).map(rule))),
        }
    }

    fn hash(&self) -> u64 {
        match self {
            Self::GiveBack(_) => 0,
            Self::Count(_, asks) => asks.first().map_or(0, |ask| ask.hash),
        }
    }

    fn keys(&self) -> usize {
        match self {
            Self::GiveBack(_) => 1,
            Self::Count(hits, _) => hits.len(),
        }
    }

    fn is_counted_with(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Count(hits, asks), Self::Count(others, others_asks)) => {
                hits.len() == 1 && asks == others_asks && hits == others
            }
            _ => false,
        }
    }
}
