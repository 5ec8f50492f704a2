//! A call of the script that decides a batch.

use std::{sync::LazyLock, time::Duration};

use redis::{ErrorKind, RedisError, RedisResult, Script, ServerErrorKind};

use crate::store::{
    keys::KeyNames,
    redis::{
        protocol::{
            plan::Plan,
            reply::{Reply, server_time},
            resp::ReplyValues,
        },
        work::{Delivery, Work},
    },
};

/// The script. Its parts are one chunk of Lua: `tools.lua` opens a function that `kinds.lua` closes.
const SOURCE: &str = concat!(
    include_str!("check/contract.lua"),
    include_str!("check/tools.lua"),
    include_str!("check/fixed.lua"),
    include_str!("check/sliding.lua"),
    include_str!("check/gcra.lua"),
    include_str!("check/concurrency.lua"),
    include_str!("check/block.lua"),
    include_str!("check/kinds.lua"),
    include_str!("check/main.lua"),
);
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// One call of the script.
pub(crate) struct ScriptCall {
    plan: Plan,
    delivery: Delivery,
    /// Whether the source is sent, because the server does not have it.
    has_source: bool,
}

impl ScriptCall {
    /// A call by the script's hash, for the windows of `now`.
    pub(crate) fn new(works: &[&Work], delivery: Delivery, now: Duration) -> Self {
        Self { plan: Plan::new(works, now.as_secs()), delivery, has_source: false }
    }

    /// The call with the script's source.
    pub(crate) fn with_source(mut self) -> Self {
        self.has_source = true;
        self
    }

    /// Appends the call to the bytes to send.
    pub(crate) fn write(&self, works: &[&Work], names: &KeyNames, out: &mut Vec<u8>) {
        if self.delivery == Delivery::Asking {
            out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n");
        }
        let (name, script) = if self.has_source { ("EVAL", SOURCE) } else { ("EVALSHA", SCRIPT.get_hash()) };
        self.plan.command(works, names, name, script).write(out);
    }

    /// How many replies come before the script's.
    pub(crate) fn replies_before(&self) -> usize {
        usize::from(self.delivery == Delivery::Asking)
    }

    /// Whether the call failed because the server does not have the script, after `SCRIPT FLUSH` or a restart. The call then
    /// carries the source, which also loads it.
    pub(crate) fn needs_source(&mut self, error: &RedisError) -> bool {
        let needs_source = !self.has_source && error.kind() == ServerErrorKind::NoScript.into();
        self.has_source |= needs_source;
        needs_source
    }

    /// Reads the script's reply.
    pub(crate) fn reply(self, works: &[&Work], values: ReplyValues) -> RedisResult<Reply> {
        match values.numbers[..] {
            [seconds, micros, ref found @ ..] if found.len() == self.plan.values(works) => {
                let time = server_time(seconds.unsigned_abs(), micros.unsigned_abs());
                Ok(Reply::new(time, self.plan, values))
            }
            _ => Err(RedisError::from((ErrorKind::UnexpectedReturnType, "the script's reply is not of its length"))),
        }
    }
}
