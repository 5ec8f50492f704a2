//! The script in Redis beside a model that decides one request after the other, in whole numbers: batches of any kind, at
//! any time.

use std::cell::RefCell;
use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use ratelimit_tests::redis_server::RedisServer;

/// The script, joined from its parts as the store joins them.
pub(crate) const SOURCE: &str = concat!(
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/contract.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/tools.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/fixed.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/sliding.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/gcra.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/kinds.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/main.lua"),
);

const SECOND: u64 = 1_000_000;
const NANOS: u128 = 1_000_000_000;

/// The length that GCRA's rules have, in seconds.
const PER: u64 = 5;

/// In microseconds: far from now, so that nothing expires by the server's own clock.
const START: u64 = 4_000_000_007_654_321;

/// As the script is told of it.
#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Fixed { per: u64 },
    Sliding { per: u64 },
    Gcra { emission: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    algorithm: Algorithm,
    capacity: u64,
    cost: u64,
    refuses: bool,
    /// How many windows the client's clock is behind or ahead, where it is.
    drift: i64,
}

#[derive(Clone, Debug)]
enum Step {
    /// Microseconds.
    Wait(i64),
    /// So many requests that are alike of each of these clients.
    All {
        rules: Vec<Rule>,
        times: u64,
        clients: Vec<u8>,
    },
    /// One rule with a fixed window.
    Take {
        per: u64,
        limit: u64,
        cost: u64,
        times: u64,
        clients: Vec<u8>,
    },
    /// Tokens, of the window so many back.
    Back {
        algorithm: Algorithm,
        /// Of the rule, for GCRA.
        capacity: u64,
        tokens: u64,
        client: u8,
        windows: u64,
    },
    Reset {
        algorithm: Algorithm,
        client: u8,
    },
    /// Something else writes into a counter.
    Spoil {
        algorithm: Algorithm,
        client: u8,
        value: &'static str,
    },
    /// The same in one window of a sliding one.
    SpoilWindow {
        per: u64,
        client: u8,
        value: &'static str,
    },
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop_oneof![
        (1..4_u64).prop_map(|per| Algorithm::Fixed { per: 7 * per }),
        (1..4_u64).prop_map(|per| Algorithm::Sliding { per: 11 * per }),
        prop::sample::select(vec![1, 333_333_334, 1_000_000_000, 777_600_000_000_000])
            .prop_map(|emission| Algorithm::Gcra { emission }),
    ]
}

/// Few, so that a bucket of GCRA is met again.
fn capacities() -> impl Strategy<Value = u64> {
    prop_oneof![1..10_u64, prop::sample::select(vec![3, 8])]
}

fn rules() -> impl Strategy<Value = Rule> {
    let drift = prop_oneof![20 => Just(0), 1 => -1..2_i64];
    (algorithms(), capacities(), 0..5_u64, prop::bool::weighted(0.8), drift)
        .prop_map(|(algorithm, capacity, cost, refuses, drift)| Rule { algorithm, capacity, cost, refuses, drift })
}

fn steps() -> impl Strategy<Value = Step> {
    let clients = || prop::sample::subsequence(vec![0, 1, 2], 1..=3);
    prop_oneof![
        2 => (0..3 * SECOND).prop_map(|micros| Step::Wait(micros as i64)),
        1 => (0..30 * SECOND).prop_map(|micros| Step::Wait(micros as i64)),
        // The clock is set back.
        1 => (0..3000 * SECOND).prop_map(|micros| Step::Wait(-(micros as i64))),
        8 => (vec(rules(), 1..4), 1..5_u64, clients())
            .prop_filter("each counter once", |(rules, ..)| {
                let names: std::collections::HashSet<_> = rules.iter().map(|rule| name(rule.algorithm)).collect();
                names.len() == rules.len()
            })
            .prop_map(|(rules, times, clients)| Step::All { rules, times, clients }),
        3 => (1..4_u64, 1..10_u64, 1..5_u64, 1..5_u64, clients())
            .prop_map(|(per, limit, cost, times, clients)| Step::Take { per: 7 * per, limit, cost, times, clients }),
        3 => (algorithms(), capacities(), 1..5_u64, 0..3_u8, 0..2_u64)
            .prop_map(|(algorithm, capacity, tokens, client, windows)| {
                Step::Back { algorithm, capacity, tokens, client, windows }
            }),
        1 => (algorithms(), 0..3_u8).prop_map(|(algorithm, client)| Step::Reset { algorithm, client }),
        1 => (algorithms(), 0..3_u8, prop::sample::select(GARBAGE.to_vec()))
            .prop_map(|(algorithm, client, value)| Step::Spoil { algorithm, client, value }),
        1 => (1..4_u64, 0..3_u8, prop::sample::select(GARBAGE.to_vec()))
            .prop_map(|(per, client, value)| Step::SpoilWindow { per: 11 * per, client, value }),
    ]
}

/// What is neither a count nor a time.
const GARBAGE: [&str; 12] =
    ["", "garbage", "-5", "1.5", "0x10", "1e3", "12:", ":12", "-1:-1", "1:1", "0:5:1:1", "99999999999999999:9:1:1"];

fn name(algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::Fixed { per } => format!("fixed/{per}"),
        Algorithm::Sliding { per } => format!("sliding/{per}"),
        // Whatever the rate: all rules with this length share it.
        Algorithm::Gcra { .. } => "gcra".to_owned(),
    }
}

/// What the model counts by itself: a client's requests in the window that ends then.
fn part(algorithm: Algorithm, client: u8, end: Option<u64>) -> String {
    format!("{}/{client}/{}", name(algorithm), end.unwrap_or_default())
}

/// The key of a client's counter in Redis: the windows of a sliding one are its fields.
fn key(algorithm: Algorithm, client: u8, end: Option<u64>) -> String {
    match algorithm {
        Algorithm::Fixed { .. } => part(algorithm, client, end),
        Algorithm::Sliding { .. } | Algorithm::Gcra { .. } => part(algorithm, client, None),
    }
}

fn length(algorithm: Algorithm) -> Option<u64> {
    match algorithm {
        Algorithm::Fixed { per } | Algorithm::Sliding { per } => Some(per),
        Algorithm::Gcra { .. } => None,
    }
}

struct Model<'a> {
    redis: &'a RefCell<redis::Connection>,
    /// Microseconds since the epoch.
    now: u64,
    counts: HashMap<String, u64>,
    /// Those of a counter, the latest first.
    buckets: HashMap<String, Vec<Bucket>>,
}

/// How many a counter of GCRA has at most.
const BUCKETS: usize = 4;

/// A rule's tokens of GCRA.
#[derive(Clone, Debug)]
struct Bucket {
    /// The nanoseconds of a token, and how many there are.
    rate: (u64, u64),
    /// When all are back, in nanoseconds since the epoch.
    arrival: u128,
    /// It had too few since it was full last.
    is_overdrawn: bool,
}

impl Bucket {
    fn full(&self) -> u128 {
        u128::from(self.rate.0) * u128::from(self.rate.1)
    }

    /// How long that is after `now`.
    fn ahead(&self, now: u128) -> u128 {
        let ahead = self.arrival.saturating_sub(now);
        if ahead <= 2 * self.full().max(u128::from(PER) * NANOS) { ahead.min(self.full()) } else { 0 }
    }

    fn used(&self, now: u128) -> u64 {
        self.ahead(now).div_ceil(self.rate.0.into()) as u64
    }
}

impl Model<'_> {
    fn end(&self, algorithm: Algorithm) -> Option<u64> {
        length(algorithm).map(|per| (self.now / SECOND / per + 1) * per)
    }

    fn count(&self, key: &str) -> u64 {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// How much is used, and the numbers that tell.
    fn look(&self, rule: &Rule, client: u8) -> (u64, Vec<i64>) {
        let end = self.end(rule.algorithm);
        let here = part(rule.algorithm, client, end);
        match (rule.algorithm, end) {
            (Algorithm::Fixed { .. }, _) => (self.count(&here), vec![self.count(&here) as i64]),
            (Algorithm::Sliding { per }, Some(end)) => {
                let (used, before) = (self.count(&here), self.count(&part(rule.algorithm, client, Some(end - per))));
                let left = end * SECOND - self.now;
                (used + (before * left).div_ceil(per * SECOND), vec![used as i64, before as i64])
            }
            (Algorithm::Gcra { emission }, _) | (Algorithm::Sliding { per: emission }, None) => {
                let bucket = self.bucket(rule, emission, &here);
                let arrival = match self.buckets.get(&here).map(Vec::as_slice) {
                    None | Some([]) => 0,
                    // As it stands there, though it may be over.
                    Some([only]) if only.rate == bucket.rate => only.arrival,
                    Some(_) if bucket.ahead(self.nanos()) == 0 => 0,
                    Some(_) => self.nanos() + bucket.ahead(self.nanos()),
                };
                (bucket.used(self.nanos()), vec![(arrival / NANOS) as i64, (arrival % NANOS) as i64])
            }
        }
    }

    fn nanos(&self) -> u128 {
        u128::from(self.now) * 1000
    }

    /// The bucket of a rule; a new one goes on from what was taken from the others.
    fn bucket(&self, rule: &Rule, emission: u64, key: &str) -> Bucket {
        let rate = (emission, rule.capacity);
        let buckets = self.buckets.get(key).map_or(&[][..], Vec::as_slice);
        if let Some(own) = buckets.iter().find(|bucket| bucket.rate == rate) {
            return own.clone();
        }
        let used = buckets.iter().map(|bucket| bucket.used(self.nanos())).max().unwrap_or(0);
        let arrival = self.nanos() + u128::from(used.min(rule.capacity)) * u128::from(emission);
        Bucket { rate, arrival, is_overdrawn: used > rule.capacity }
    }

    fn take(&mut self, rule: &Rule, client: u8, tokens: u64) {
        let key = part(rule.algorithm, client, self.end(rule.algorithm));
        match rule.algorithm {
            Algorithm::Gcra { emission } => {
                let (own, now) = (self.bucket(rule, emission, &key), self.nanos());
                let buckets = self.buckets.entry(key).or_default();
                buckets.retain(|bucket| bucket.rate != own.rate);
                buckets.insert(0, own);
                buckets.truncate(BUCKETS);
                for bucket in buckets {
                    let ahead = bucket.ahead(now) + u128::from(tokens) * u128::from(bucket.rate.0);
                    bucket.is_overdrawn &= bucket.ahead(now) > 0;
                    bucket.is_overdrawn |= ahead > bucket.full();
                    bucket.arrival = now + ahead.min(bucket.full());
                }
            }
            _ => *self.counts.entry(key).or_default() += tokens,
        }
    }

    /// Decides one request: what each rule found, or nothing if a window is not the current one.
    fn ask(&mut self, rules: &[Rule], client: u8) {
        let fits = |rule: &Rule| rule.cost == 0 || self.look(rule, client).0 + rule.cost <= rule.capacity;
        let fitting: Vec<bool> = rules.iter().map(fits).collect();
        if rules.iter().zip(&fitting).all(|(rule, fits)| *fits || !rule.refuses) {
            for (rule, _) in rules.iter().zip(&fitting).filter(|(rule, fits)| **fits && rule.cost > 0) {
                self.take(rule, client, rule.cost);
            }
        }
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let (mut keys, mut args, mut expected) = (Vec::new(), Vec::<String>::new(), Vec::new());
        match step {
            Step::Wait(micros) => self.now = self.now.saturating_add_signed(*micros),
            Step::All { rules, times, clients } => {
                args.extend(["all".into(), clients.len().to_string(), rules.len().to_string(), times.to_string()]);
                for rule in rules {
                    let Rule { algorithm, capacity, cost, refuses, .. } = *rule;
                    let (kind, last) = match algorithm {
                        Algorithm::Fixed { per } => ("fixed", [self.told_end(rule), per]),
                        Algorithm::Sliding { per } => ("sliding", [self.told_end(rule), per]),
                        Algorithm::Gcra { emission } => ("gcra", [emission, PER]),
                    };
                    args.push(kind.into());
                    args.extend(
                        [capacity, cost, cost, refuses.into(), last[0], last[1]].map(|number| number.to_string()),
                    );
                }
                let current = rules.iter().all(|rule| length(rule.algorithm).is_none() || rule.drift == 0);
                for client in clients {
                    for rule in rules {
                        let end = self.end(rule.algorithm).map(|_| self.told_end(rule));
                        keys.push(key(rule.algorithm, *client, end));
                        let numbers = self.look(rule, *client).1;
                        expected.extend(numbers.iter().map(|number| if current { *number } else { -1 }));
                    }
                    if current {
                        rules.iter().for_each(|rule| self.fade(rule, *client));
                        (0..*times).for_each(|_| self.ask(rules, *client));
                    }
                }
            }
            Step::Take { per, limit, cost, times, clients } => {
                let rule = Rule {
                    algorithm: Algorithm::Fixed { per: *per },
                    capacity: *limit,
                    cost: *cost,
                    refuses: true,
                    drift: 0,
                };
                let end = self.told_end(&rule);
                args.extend(["take".into(), clients.len().to_string()]);
                args.extend([cost * times, *cost, *limit, end, *per].map(|number| number.to_string()));
                for client in clients {
                    keys.push(key(rule.algorithm, *client, Some(end)));
                    expected.extend(self.look(&rule, *client).1);
                    (0..*times).for_each(|_| self.ask(&[rule], *client));
                }
            }
            Step::Back { algorithm, capacity, tokens, client, windows } => {
                let end = self.end(*algorithm).map(|end| end - windows * length(*algorithm).unwrap_or(0));
                let part = part(*algorithm, *client, end);
                keys.push(key(*algorithm, *client, end));
                if let Algorithm::Gcra { emission } = algorithm {
                    args.extend(["refund_gcra".into(), "1".into()]);
                    args.extend([*tokens, *emission, *capacity, PER].map(|number| number.to_string()));
                    let now = self.nanos();
                    let buckets = self.buckets.entry(part).or_default();
                    expected.push(i64::from(!buckets.is_empty()));
                    for bucket in &mut *buckets {
                        let is_given_back = bucket.rate == (*emission, *capacity) || !bucket.is_overdrawn;
                        let tokens = if is_given_back { u128::from(*tokens) } else { 0 };
                        bucket.arrival = now + bucket.ahead(now).saturating_sub(tokens * u128::from(bucket.rate.0));
                    }
                    if buckets.iter().all(|bucket| bucket.arrival == now) {
                        buckets.clear();
                    }
                } else {
                    let is_fixed = matches!(algorithm, Algorithm::Fixed { .. });
                    args.extend([
                        if is_fixed { "refund_fixed" } else { "refund_sliding" }.into(),
                        "1".into(),
                        tokens.to_string(),
                    ]);
                    args.push(if is_fixed { "0".to_owned() } else { end.unwrap_or_default().to_string() });
                    expected.push(self.count(&part) as i64);
                    if let Some(count) = self.counts.get_mut(&part) {
                        *count -= (*count).min(*tokens);
                    }
                }
            }
            Step::Reset { algorithm, client } => {
                let end = self.end(*algorithm);
                keys.push(key(*algorithm, *client, end));
                args.extend(["reset".into(), "1".into(), "0".into()]);
                expected.push(self.forget(*algorithm, *client).into());
            }
            Step::SpoilWindow { per, client, value } => {
                let algorithm = Algorithm::Sliding { per: *per };
                let end = self.end(algorithm);
                let key = key(algorithm, *client, end);
                let mut redis = self.redis.borrow_mut();
                let holds: String = redis::cmd("TYPE").arg(&key).query(&mut *redis).expect("a type");
                if holds == "hash" {
                    self.counts.remove(&part(algorithm, *client, end));
                    let set = redis::cmd("HSET").arg(&key).arg(end).arg(value).query(&mut *redis);
                    let () = set.expect("a value");
                }
            }
            Step::Spoil { algorithm, client, value } => {
                let key = key(*algorithm, *client, self.end(*algorithm));
                self.forget(*algorithm, *client);
                let set =
                    redis::cmd("SET").arg(&key).arg(value).arg("EX").arg(1000).query(&mut self.redis.borrow_mut());
                let () = set.expect("a value");
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let source = SOURCE.replace("pcall('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}");
        let mut command = redis::cmd("EVAL");
        command.arg(source).arg(keys.len()).arg(&keys).arg(&args).arg(self.now / SECOND).arg(self.now % SECOND);
        let reply: Vec<i64> = command.query(&mut self.redis.borrow_mut()).expect("a reply");
        if matches!(step, Step::Reset { .. }) {
            // A key that was spoilt, or is down to zero, is there for Redis.
            prop_assert_eq!(reply.len() - 2, expected.len());
        } else {
            prop_assert_eq!(&reply[2..], expected, "{:?} of {:?}, {:?}", step, keys, args);
        }
        Ok(())
    }

    /// Forgets a counter: whether there was something. A sliding one has several windows.
    fn forget(&mut self, algorithm: Algorithm, client: u8) -> bool {
        let key = key(algorithm, client, self.end(algorithm));
        let windows = key.strip_suffix('0').filter(|_| matches!(algorithm, Algorithm::Sliding { .. }));
        let is_its = |part: &str| part == key || windows.is_some_and(|windows| part.starts_with(windows));
        let before = self.counts.len() + self.buckets.len();
        self.counts.retain(|part, _| !is_its(part));
        self.buckets.retain(|part, _| !is_its(part));
        self.counts.len() + self.buckets.len() < before
    }

    /// The first count of a window of a sliding counter removes the one before the last.
    fn fade(&mut self, rule: &Rule, client: u8) {
        if let (Algorithm::Sliding { per }, Some(end)) = (rule.algorithm, self.end(rule.algorithm))
            && rule.cost > 0
            && self.count(&part(rule.algorithm, client, Some(end))) == 0
        {
            self.counts.remove(&part(rule.algorithm, client, Some(end - 2 * per)));
        }
    }

    /// The end of the window that the client takes for the current one.
    fn told_end(&self, rule: &Rule) -> u64 {
        let (end, per) = (self.end(rule.algorithm).unwrap_or(0), length(rule.algorithm).unwrap_or(0));
        end.saturating_add_signed(rule.drift * per as i64)
    }
}

#[test]
fn the_script_decides_as_one_request_after_the_other() {
    let redis = RedisServer::on_port();
    let client = redis::Client::open(redis.url()).expect("a URL");
    let connection = RefCell::new(client.get_connection().expect("a connection"));
    let config = ProptestConfig { failure_persistence: None, cases: 200, max_shrink_iters: 2000, ..Default::default() };
    proptest!(config, |(steps in vec(steps(), 1..40))| {
        let () = redis::cmd("FLUSHALL").query(&mut connection.borrow_mut()).expect("an empty server");
        let mut model = Model { redis: &connection, now: START, counts: HashMap::new(), buckets: HashMap::new() };
        for step in &steps {
            model.run(step)?;
        }
        prop_assert_eq!(redis.keys_without_expiry(), [""; 0]);
    });
}
