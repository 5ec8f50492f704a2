//! A subject in a scenario: its server, in the state for the measurement, and the numbers of a run.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use ratelimit_benches::{
    cpu,
    load::{Keys, Verdict},
    processes::Process,
    redis_server::RedisServer,
    subject::Subject,
};
use serde::Serialize;

use crate::{
    scenario::Scenario,
    server,
    wrk::{Seen, Wrk},
};

/// The longest time for the first requests of all clients, in seconds.
const LONGEST_WARM_UP: usize = 60;

pub(crate) struct Contender {
    pub(crate) subject: &'static Subject,
    scenario: &'static Scenario,
    process: Process,
    /// The number of requests so far. The next run begins at the key with this number.
    sent: u64,
}

/// The numbers of one run.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) wrong_answers: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) server_cpu_us: f64,
    pub(crate) redis_cpu_us: f64,
    pub(crate) wrk_cpu_us: f64,
}

impl Contender {
    /// Starts the server, sends a request of every client, and checks one answer.
    pub(crate) fn prepare(
        subject: &'static Subject,
        scenario: &'static Scenario,
        wrk: &Wrk,
        redis: &RedisServer,
    ) -> Result<Self> {
        let process = server::start(subject, scenario, redis.url(subject.store).as_deref())?;
        let mut contender = Self { subject, scenario, process, sent: 0 };
        contender.warm_up(wrk)?;
        contender.look_at_an_answer()?;
        Ok(contender)
    }

    /// Admitted: the first request of a client makes its counter, so all counters are made, or as many as a few seconds
    /// allow. Refused: all clients must be over their limits.
    fn warm_up(&mut self, wrk: &Wrk) -> Result<()> {
        let load = self.scenario.load;
        for second in 1..=LONGEST_WARM_UP {
            let seen = self.load(wrk, 1)?;
            let all_seen = self.sent >= 2 * u64::from(load.keys.count());
            let ready = match load.verdict {
                Verdict::Admitted => all_seen || second >= 5,
                Verdict::Refused => all_seen && seen.wrong == 0,
            };
            if ready {
                return Ok(());
            }
        }
        bail!("after {LONGEST_WARM_UP} s, requests within the limit were still coming")
    }

    fn load(&mut self, wrk: &Wrk, seconds: u32) -> Result<Seen> {
        let seen = wrk.run(self.scenario, self.process.port, seconds, self.sent)?;
        self.sent += seen.requests;
        Ok(seen)
    }

    /// wrk distinguishes only statuses below and above 400.
    fn look_at_an_answer(&self) -> Result<()> {
        let expected = self.scenario.load.verdict.status();
        let key = match self.scenario.load.keys {
            Keys::One => "",
            Keys::Many => "X-Api-Key: client-1\r\n",
        };
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.process.port))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(connection, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Connection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).context("the answer did not come")?;
        let status = answer.split(' ').nth(1);
        ensure!(status == Some(expected.to_string().as_str()), "answered, where {expected} was due:\n{answer}");
        Ok(())
    }

    /// One run.
    pub(crate) fn run(&mut self, wrk: &Wrk, redis: &RedisServer, seconds: u32) -> Result<Run> {
        let clocks = || -> Result<[Duration; 3]> {
            Ok([cpu::of_process(self.process.pid())?, cpu::of_process(redis.pid())?, cpu::of_ended_children()?])
        };
        let before = clocks()?;
        let seen = wrk.run(self.scenario, self.process.port, seconds, self.sent)?;
        let after = clocks()?;
        self.sent += seen.requests;
        let used = |index: usize| (after[index] - before[index]).as_secs_f64() * 1e6 / seen.requests as f64;
        Ok(Run {
            requests: seen.requests,
            wrong_answers: seen.wrong,
            requests_per_second: seen.requests as f64 / seen.seconds,
            p50_us: seen.p50_us,
            p99_us: seen.p99_us,
            server_cpu_us: used(0),
            redis_cpu_us: used(1),
            wrk_cpu_us: used(2),
        })
    }
}
