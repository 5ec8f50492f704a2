//! The ways to count in Redis, each a line of the table.

use anyhow::{Result, ensure};
use redis::{Cmd, Pipeline, RedisResult, Value, aio::MultiplexedConnection};

/// A way to count: commands for each check alone, or for a batch of checks.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// What it sends.
    pub(crate) title: &'static str,
    pub(crate) batched: bool,
    form: Form,
}

enum Form {
    /// The commands of one counter.
    Plain(fn(&mut Pipeline, &str)),
    /// A script, with replacements of its text, and the form of its arguments.
    Script(&'static str, &'static [(&'static str, &'static str)], fn(&mut Cmd, &[&str])),
    /// [`PER_RULE`] as a function that Redis keeps.
    Function,
}

use Form::{Function, Plain, Script};

/// A limit that is out of reach.
const LIMIT: u32 = 2_000_000_000;

/// The end of the window, in seconds since the epoch: out of reach, too.
pub(crate) const WINDOW_END: u64 = 4_000_000_000;

const PER_KEY: &str = include_str!("arguments_per_key.lua");
const PER_RULE: &str = include_str!("arguments_per_rule.lua");
const HASH: &str = include_str!("hash_per_rule.lua");
const OURS: &str = concat!(
    include_str!("../../../../ratelimit-runtime/src/store/redis/protocol/check/contract.lua"),
    include_str!("../../../../ratelimit-runtime/src/store/redis/protocol/check/tools.lua"),
    include_str!("../../../../ratelimit-runtime/src/store/redis/protocol/check/fixed.lua"),
    include_str!("../../../../ratelimit-runtime/src/store/redis/protocol/check/sliding.lua"),
    include_str!("../../../../ratelimit-runtime/src/store/redis/protocol/check/gcra.lua"),
    include_str!("../../../../ratelimit-runtime/src/store/redis/protocol/check/concurrency.lua"),
    include_str!("../../../../ratelimit-runtime/src/store/redis/protocol/check/kinds.lua"),
    include_str!("../../../../ratelimit-runtime/src/store/redis/protocol/check/main.lua"),
);

pub(crate) const SHAPES: &[Shape] = &[
    each("incr", "`INCR`", Plain(incr)),
    each("expire", "`INCR`, `EXPIRE … NX`", Plain(incr_and_expire)),
    each("set", "`SET … NX`, `INCRBY`", Plain(set_and_incr)),
    each("transaction", "`MULTI`, `SET … NX`, `INCRBY`, `EXEC`", Plain(set_and_incr_at_once)),
    each("script", "`EVALSHA`", Script(PER_RULE, &[], per_rule)),
    batch("batch-incr", "`INCR` for each key", Plain(incr)),
    batch("batch-expire", "`INCR`, `EXPIRE … NX` for each key", Plain(incr_and_expire)),
    batch("batch-set", "`SET … NX`, `INCRBY` for each key", Plain(set_and_incr)),
    batch("ours", "**this project's script**", Script(OURS, &[], ours)),
    batch("per-key", "a script with six arguments for each key", Script(PER_KEY, &[], per_key)),
    batch("per-rule", "a script with three arguments for all keys (1)", Script(PER_RULE, &[], per_rule)),
    batch("function", "(1) as a function, by `FCALL`", Function),
    batch("hash", "a script, one hash for all keys: `HMGET`, `HSET`", Script(HASH, &[], fields)),
    variant(
        "get",
        "(1), `GET` first, then `INCR` or `SET`",
        &[(
            "local held = call('INCR', counter)",
            "local held = 1
         if call('GET', counter) then
           held = call('INCR', counter)
         else
           call('SET', counter, 1, 'EXAT', ends)
         end",
        )],
    ),
    variant(
        "set-first",
        "(1), `SET … NX` first, then `INCR`",
        &[(
            "local held = call('INCR', counter)",
            "local held = call('SET', counter, '1', 'NX', 'EXAT', ends) and 2 or call('INCR', counter)",
        )],
    ),
    variant("number", "(1), `INCRBY` and the number 1", &[("'INCR', counter", "'INCRBY', counter, 1")]),
    variant("text", "(1), `INCRBY` and the text '1'", &[("'INCR', counter", "'INCRBY', counter, '1'")]),
    variant("no-time", "(1) without `TIME`", &[("call('TIME')", "{0, 0}")]),
    variant(
        "resp3",
        "(1), `redis.setresp(3)`",
        &[("local call = redis.call", "redis.setresp(3) local call = redis.call")],
    ),
    variant("shebang", "(1), `#!lua` in the first line", &[("-- KEYS: counters,", "#!lua\n-- KEYS: counters,")]),
    variant(
        "concat",
        "(1), one text in reply, by `table.concat`",
        &[("return reply", "return table.concat(reply, ' ')")],
    ),
    variant(
        "pack",
        "(1), one text in reply, by `struct.pack`",
        &[(
            "return reply",
            "for at = 1, #reply do reply[at] = struct.pack('<I4', reply[at]) end return table.concat(reply)",
        )],
    ),
    variant(
        "globals",
        "(1), globals in place of locals",
        &[
            ("local call = redis.call\n", ""),
            ("local keys, arguments = KEYS, ARGV\n", ""),
            (" call('", " redis.call('"),
            ("arguments", "ARGV"),
            ("keys[", "KEYS["),
        ],
    ),
    variant(
        "pcall",
        "(1), `redis.pcall`, and a look at what comes",
        &[
            ("redis.call", "redis.pcall"),
            (
                "if held == 1 then",
                "if type(held) ~= 'number' then
               held = 1
               call('SET', counter, 1, 'EXAT', ends)
             elseif held == 1 then",
            ),
        ],
    ),
    variant("min", "(1), `math.min` of each count", &[("= held\n", "= math.min(held, 4294967296)\n")]),
    variant("no-reply", "(1), the time alone in reply", &[("reply[key + 2] = held", "")]),
];

const fn each(name: &'static str, title: &'static str, form: Form) -> Shape {
    Shape { name, title, batched: false, form }
}

const fn batch(name: &'static str, title: &'static str, form: Form) -> Shape {
    Shape { name, title, batched: true, form }
}

const fn variant(name: &'static str, title: &'static str, replace: &'static [(&'static str, &'static str)]) -> Shape {
    batch(name, title, Script(PER_RULE, replace, per_rule))
}

fn incr(pipeline: &mut Pipeline, key: &str) {
    pipeline.cmd("INCR").arg(key);
}

fn incr_and_expire(pipeline: &mut Pipeline, key: &str) {
    pipeline.cmd("INCR").arg(key);
    pipeline.cmd("EXPIRE").arg(key).arg(300).arg("NX").ignore();
}

fn set_and_incr(pipeline: &mut Pipeline, key: &str) {
    pipeline.cmd("SET").arg(key).arg(0).arg("EXAT").arg(WINDOW_END).arg("NX").ignore();
    pipeline.cmd("INCRBY").arg(key).arg(1);
}

fn set_and_incr_at_once(pipeline: &mut Pipeline, key: &str) {
    pipeline.atomic();
    set_and_incr(pipeline, key);
}

fn per_key(command: &mut Cmd, keys: &[&str]) {
    command.arg(keys.len()).arg(keys);
    for _ in keys {
        command.arg(1).arg(1).arg(LIMIT).arg(1).arg(0).arg(WINDOW_END);
    }
}

fn per_rule(command: &mut Cmd, keys: &[&str]) {
    command.arg(keys.len()).arg(keys).arg(keys.len()).arg(LIMIT).arg(WINDOW_END);
}

/// Equal checks become one, as in this project.
fn ours(command: &mut Cmd, keys: &[&str]) {
    let runs = || keys.chunk_by(|one, next| one == next);
    let all = runs().count();
    command.arg(all).arg(runs().map(|run| run[0]).collect::<Vec<_>>());
    // The checks have different keys, or all have one key. Either way each key has the same number of checks.
    command.arg("take").arg(all).arg(keys.len() / all).arg(1).arg(LIMIT).arg(WINDOW_END).arg(WINDOW_END);
}

fn fields(command: &mut Cmd, keys: &[&str]) {
    command.arg(1).arg(RULE).arg(LIMIT).arg(WINDOW_END);
    // The name of the hash has the rest.
    let clients = keys.iter().filter_map(|key| key.strip_prefix(RULE)?.split('/').next());
    command.arg(clients.collect::<Vec<_>>());
}

/// How the names of all counters begin.
const RULE: &str = "rate-limit/quote/300/";

/// The name of a counter, as this project writes them.
pub(crate) fn key(index: u32) -> String {
    let [_, a, b, c] = index.to_be_bytes();
    format!("{RULE}10.{a}.{b}.{c}/{WINDOW_END}")
}

/// A shape whose script Redis has loaded.
pub(crate) struct Loaded {
    pub(crate) shape: &'static Shape,
    /// The script's hash.
    hash: String,
}

impl Loaded {
    pub(crate) async fn new(shape: &'static Shape, connection: &mut MultiplexedConnection) -> Result<Self> {
        let hash = match shape.form {
            Plain(_) => String::new(),
            Function => {
                let library = format!(
                    "#!lua name=ratelimit\nredis.register_function('check', function(KEYS, ARGV)\n{PER_RULE}\nend)"
                );
                redis::cmd("FUNCTION").arg("LOAD").arg(library).query_async(connection).await?
            }
            Script(source, replace, _) => {
                let mut source = source.to_owned();
                for (from, to) in replace {
                    ensure!(source.contains(from), "{}: `{from}` is not in the script", shape.name);
                    source = source.replace(from, to);
                }
                redis::cmd("SCRIPT").arg("LOAD").arg(source).query_async(connection).await?
            }
        };
        Ok(Self { shape, hash })
    }

    /// Counts `keys`, and reads all replies.
    pub(crate) async fn check(&self, keys: &[&str], connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let command = match self.shape.form {
            Plain(add) => {
                let mut pipeline = redis::pipe();
                keys.iter().for_each(|key| add(&mut pipeline, key));
                return pipeline.query_async::<Vec<i64>>(connection).await.map(drop);
            }
            Function => {
                let mut command = redis::cmd("FCALL");
                per_rule(command.arg("check"), keys);
                command
            }
            Script(_, _, arguments) => {
                let mut command = redis::cmd("EVALSHA");
                arguments(command.arg(&self.hash), keys);
                command
            }
        };
        match command.query_async(connection).await? {
            // A client would unpack the text only when it uses it.
            Value::BulkString(_) => Ok(()),
            counts => redis::from_redis_value::<Vec<i64>>(counts).map(drop).map_err(Into::into),
        }
    }
}
