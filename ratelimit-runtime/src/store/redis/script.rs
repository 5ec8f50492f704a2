//! The one script: a batch of requests in, what their counters held out.

use std::{
    cmp::{Ordering, Reverse},
    sync::LazyLock,
    time::Duration,
};

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, aio::MultiplexedConnection};
use smallvec::SmallVec;

use super::batch::{Ask, Passage, Refund, Work};
use crate::{
    algorithm::{Found, NANOS, Terms},
    key::Counter,
    policy::{Algorithm, Limit},
    store::{Hit, decide},
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
    pub(super) fn write(&self, counter: &Counter, window_end: Option<u64>, key: &mut String) {
        key.clear();
        counter.write(&self.prefix, self.tagged, window_end, key);
    }

    /// Adds the keys of a counter to `command`: of a sliding window those of this window and of the last.
    fn add(&self, command: &mut Cmd, counter: &Counter, terms: &Terms, window_end: u64, key: &mut String) {
        let last = window_end.saturating_sub(terms.limit.per.into());
        let ends: &[Option<u64>] = match terms.algorithm {
            Algorithm::FixedWindow => &[Some(window_end)],
            Algorithm::SlidingWindow => &[Some(window_end), Some(last)],
            Algorithm::Gcra { .. } => &[None],
        };
        for end in ends {
            self.write(counter, *end, key);
            command.arg(&*key);
        }
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
                Work::GiveBack(Refund { counter, terms, window_end, .. }) => {
                    let end = (!matches!(terms.algorithm, Algorithm::Gcra { .. })).then_some(*window_end);
                    names.write(counter, end, &mut key);
                    command.arg(&key);
                }
                Work::Reset(counter, terms) => {
                    names.add(&mut command, counter, terms, terms.window_end(self.now), &mut key);
                }
                Work::Count(hits, _) => {
                    for Hit { counter, terms, .. } in hits {
                        names.add(&mut command, counter, terms, terms.window_end(self.now), &mut key);
                    }
                }
            }
        }
        for group in self.groups() {
            let run = group[0];
            match self.work(run) {
                Work::GiveBack(Refund { terms, tokens, .. }) => match terms.algorithm {
                    Algorithm::Gcra { .. } => {
                        command.arg("arrival").arg(group.len()).arg(tokens.saturating_mul(terms.emission()));
                    }
                    _ => {
                        command.arg("back").arg(group.len()).arg(tokens);
                    }
                },
                Work::Reset(..) => {
                    command.arg("reset").arg(group.len() * self.work(run).keys());
                }
                Work::Count(hits, asks) => match (&hits[..], &asks[..]) {
                    ([hit], [ask]) if is_counted_first(hit, *ask) => {
                        // Of a lot, as many as there are; else each request gets what it costs, or nothing.
                        let unit = if ask.lot > hit.terms.cost { 1 } else { hit.terms.cost };
                        let Limit { limit, per } = hit.terms.limit;
                        command.arg("take").arg(group.len()).arg(run.length as u64 * ask.lot).arg(unit);
                        command.arg(limit).arg(hit.terms.window_end(self.now)).arg(per);
                    }
                    _ => {
                        command.arg("all").arg(group.len()).arg(hits.len()).arg(run.length);
                        hits.iter().zip(asks).for_each(|(hit, ask)| self.rule(&mut command, hit, *ask));
                    }
                },
            }
        }
        command
    }

    fn rule(&self, command: &mut Cmd, hit: &Hit, ask: Ask) {
        let terms = &hit.terms;
        let window_end = terms.window_end(self.now);
        let (name, end) = match terms.algorithm {
            Algorithm::FixedWindow => ("fixed", window_end),
            Algorithm::SlidingWindow => ("sliding", window_end),
            Algorithm::Gcra { .. } => ("gcra", terms.emission()),
        };
        command.arg(name).arg(terms.capacity()).arg(terms.cost).arg(ask.lot).arg(u8::from(hit.refuses));
        command.arg(end).arg(terms.limit.per);
    }

    /// Shares the reply out among the requests; `None`, if it is too short.
    fn read(&self, values: &[i64]) -> Option<Reply> {
        let [seconds, micros, values @ ..] = values else { return None };
        let time = Duration::from_secs(seconds.unsigned_abs()) + Duration::from_micros(micros.unsigned_abs());
        let mut values = values.iter().copied();
        let mut found = vec![None; self.works.len()];
        for run in &self.runs {
            let Work::Count(hits, asks) = self.work(*run) else {
                for _ in 0..self.work(*run).keys() {
                    values.next()?;
                }
                self.members(*run).for_each(|index| found[index] = Some(SmallVec::new()));
                continue;
            };
            let mut before = SmallVec::<[Found; 1]>::new();
            let mut is_current = true;
            for hit in hits {
                match self.found(&hit.terms, &mut values)? {
                    Some(found) => before.push(found),
                    None => is_current = false,
                }
            }
            if !is_current {
                continue;
            }
            for index in self.members(*run) {
                found[index] = Some(before.clone());
                // Of requests that were counted at once, each finds what the one before it has left.
                let decision = decide(hits, &before, time);
                for (((before, hit), ask), outcome) in before.iter_mut().zip(hits).zip(asks).zip(&decision.outcomes) {
                    let free = u64::from(hit.terms.remaining(*before, time));
                    let taken = if outcome.taken > 0 { ask.lot.min(free) } else { 0 };
                    *before = hit.terms.take(*before, taken, time);
                }
            }
        }
        Some(Reply { time, found })
    }

    /// What a counter held: `None` within, if its window was not the server's; without, if there are no more values.
    fn found(&self, terms: &Terms, values: &mut impl Iterator<Item = i64>) -> Option<Option<Found>> {
        // A counter that something else wrote may hold more than any limit.
        let mut count =
            || values.next().map(|value| Some(u32::try_from(u64::try_from(value).ok()?).unwrap_or(u32::MAX)));
        let end = terms.window_end(self.now);
        Some(match terms.algorithm {
            Algorithm::FixedWindow => count()?.map(|used| Found::Window { used, end }),
            Algorithm::SlidingWindow => {
                let (used, before) = (count()?, count()?);
                used.zip(before).map(|(used, before)| Found::Windows { used, before, end })
            }
            Algorithm::Gcra { .. } => {
                let (seconds, nanos) = (values.next()?, values.next()?);
                let whole = u64::try_from(seconds).ok().map(|seconds| seconds.saturating_mul(NANOS));
                whole.map(|whole| Found::Arrival(whole.saturating_add(nanos.unsigned_abs())))
            }
        })
    }

    fn members(&self, run: Run) -> impl Iterator<Item = usize> {
        self.order[run.start..run.start + run.length].iter().copied()
    }
}

impl Work {
    /// The order of kinds of requests: what is given back can be had by those after it, and who takes a lot shares it
    /// with those after it.
    fn compare_kind(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::GiveBack(one), Self::GiveBack(other)) => {
                (kind(&one.terms), one.tokens).cmp(&(kind(&other.terms), other.tokens))
            }
            (Self::Reset(_, one), Self::Reset(_, other)) => kind(one).cmp(&kind(other)),
            (Self::Count(hits, asks), Self::Count(others, others_asks)) => {
                let rule = |(hit, ask): (&Hit, &Ask)| (Reverse(ask.lot), kind(&hit.terms), hit.refuses);
                let rules = || hits.iter().zip(asks).map(rule).cmp(others.iter().zip(others_asks).map(rule));
                hits.len().cmp(&others.len()).then_with(rules)
            }
            (one, other) => one.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Reset(..) => 0,
            Self::GiveBack(_) => 1,
            Self::Count(..) => 2,
        }
    }

    fn hash(&self) -> u64 {
        match self {
            Self::GiveBack(_) | Self::Reset(..) => 0,
            Self::Count(hits, _) => hits.first().map_or(0, |hit| hit.hash),
        }
    }

    fn keys(&self) -> usize {
        let keys = |terms: &Terms| if terms.algorithm == Algorithm::SlidingWindow { 2 } else { 1 };
        match self {
            Self::GiveBack(_) => 1,
            Self::Reset(_, terms) => keys(terms),
            Self::Count(hits, _) => hits.iter().map(|hit| keys(&hit.terms)).sum(),
        }
    }

    /// Whether both are the same. Those that take a lot are counted one by one, unless they are counted first.
    fn is_counted_with(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Count(hits, asks), Self::Count(others, others_asks)) => {
                let lots = || hits.iter().zip(asks).any(|(hit, ask)| ask.lot > hit.terms.cost);
                let first = || hits.len() == 1 && is_counted_first(&hits[0], asks[0]);
                asks == others_asks && hits == others && (first() || !lots())
            }
            _ => false,
        }
    }
}

/// Whether a request of one rule can be counted at once, and what is too much taken back: in a fixed window, and not
/// where a part of a lot would be left that is less than the request costs.
fn is_counted_first(hit: &Hit, ask: Ask) -> bool {
    let cost = hit.terms.cost;
    hit.terms.algorithm == Algorithm::FixedWindow && cost > 0 && (ask.lot == cost || cost == 1)
}

/// What the script is told of a rule, in some order.
fn kind(terms: &Terms) -> (u8, u32, u32, u32, u64, u32) {
    let (algorithm, burst) = match terms.algorithm {
        Algorithm::FixedWindow => (0, 0),
        Algorithm::SlidingWindow => (1, 0),
        Algorithm::Gcra { burst } => (2, burst),
    };
    (algorithm, burst, terms.limit.limit, terms.limit.per, terms.cost, terms.phase)
}
