//! The script in Redis beside a model that decides one request after the other, in whole numbers: batches of any form, at
//! any time.

mod model;
mod steps;

use std::cell::RefCell;
use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use ratelimit_tests::redis_server::RedisServer;

use self::model::Model;
use self::steps::{
    Algorithm, DURATIONS, LONGEST, PER, Rule, SECOND, START, Step, block_key, key, length, part, steps, word,
};

/// The script, joined from its parts as the store joins them.
pub(crate) const SOURCE: &str = concat!(
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/contract.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/tools.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/fixed.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/sliding.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/gcra.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/concurrency.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/block.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/kinds.lua"),
    include_str!("../../../../../ratelimit-runtime/src/store/redis/protocol/check/main.lua"),
);

impl Model<'_> {
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
                    args.push(if rule.blocks { format!("{kind}!") } else { kind.into() });
                    args.extend(
                        [capacity, cost, cost, refuses.into(), last[0], last[1]].map(|number| number.to_string()),
                    );
                }
                args.extend(
                    rules
                        .iter()
                        .filter(|rule| rule.blocks)
                        .map(|_| DURATIONS.map(|seconds| seconds.to_string()).join(",")),
                );
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
                    for rule in rules.iter().filter(|rule| rule.blocks) {
                        keys.push(block_key(rule.algorithm, *client));
                        let ends = self.blocked_until(rule.algorithm, *client).unwrap_or(0) as i64;
                        expected.push(if current { ends } else { -1 });
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
                    blocks: false,
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
            Step::Overdraw { algorithm, capacity, tokens, client, windows } => {
                let end = self.end(*algorithm).map(|end| end - windows * length(*algorithm).unwrap_or(0));
                keys.push(key(*algorithm, *client, end));
                args.extend([format!("overdraw_{}", word(*algorithm)), "1".to_owned(), tokens.to_string()]);
                let more = match *algorithm {
                    Algorithm::Fixed { .. } => vec![end.unwrap_or_default()],
                    Algorithm::Sliding { per } => vec![end.unwrap_or_default(), per],
                    Algorithm::Gcra { emission } => vec![emission, *capacity, PER],
                };
                args.extend(more.iter().map(u64::to_string));
                expected.push(self.overdraw(*algorithm, *capacity, *tokens, *client, end) as i64);
            }
            Step::Reset { algorithm, client } => {
                let end = self.end(*algorithm);
                keys.push(key(*algorithm, *client, end));
                args.extend(["reset".into(), "1".into(), "0".into()]);
                expected.push(self.forget(*algorithm, *client).into());
            }
            Step::Block { algorithm, client, seconds } => {
                keys.push(block_key(*algorithm, *client));
                args.extend(["block".into(), "1".into(), seconds.to_string(), LONGEST.to_string()]);
                let level = self.block(*algorithm, *client).map_or(0, |(_, level)| level);
                expected.push(self.start_block(*algorithm, *client, *seconds, level) as i64);
            }
            Step::Lift { algorithm, client } => {
                keys.push(block_key(*algorithm, *client));
                args.extend(["reset".into(), "1".into(), "0".into()]);
                expected.push(self.blocks.remove(&block_key(*algorithm, *client)).is_some().into());
            }
            Step::SpoilBlock { algorithm, client, value } => {
                self.blocks.remove(&block_key(*algorithm, *client));
                let key = block_key(*algorithm, *client);
                let set =
                    redis::cmd("SET").arg(&key).arg(value).arg("EX").arg(1000).query(&mut self.redis.borrow_mut());
                let () = set.expect("a value");
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
        if matches!(step, Step::Reset { .. } | Step::Lift { .. }) {
            // Redis has the key also if its value is garbage or zero.
            prop_assert_eq!(reply.len() - 2, expected.len());
        } else {
            prop_assert_eq!(&reply[2..], expected, "{:?} of {:?}, {:?}", step, keys, args);
        }
        Ok(())
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
        let mut model = Model { redis: &connection, now: START, counts: HashMap::new(), buckets: HashMap::new(), blocks: HashMap::new() };
        for step in &steps {
            model.run(step)?;
        }
        prop_assert_eq!(redis.keys_without_expiry(), [""; 0]);
    });
}
