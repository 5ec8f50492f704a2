//! The cost of a check in Redis and in its client, for each way to write it as commands. Without HTTP: one client thread
//! and one connection over a Unix socket, and the shapes in turn. README.md in this crate's folder has the results.

mod shape;

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use lexopt::prelude::{Long, ValueExt};
use ratelimit_benches::{cpu, redis_server::RedisServer, statistics::Spread, subject::Store};
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};

use crate::shape::{Loaded, SHAPES};

const USAGE: &str = "\
usage: cargo run --release -p ratelimit-benches --bin command_shapes -- [OPTION]...

  --only NAME,...   these shapes only
  --rounds N        how often each shape runs under each load; 5 unless set
  --checks N        how many checks a run has at least, beside lasting for 0.2 s; 300000 unless set";

/// The shortest run. Linux counts processor time in ticks, which are small beside it.
const SHORTEST: Duration = Duration::from_millis(200);

/// Batches under way at once.
const BATCHES: usize = 4;

struct Load {
    title: &'static str,
    keys: u32,
    in_flight: usize,
    /// Each request has a new key.
    new: bool,
}

const LOADS: &[Load] = &[
    Load { title: "100,000 keys, 64 in flight", keys: 100_000, in_flight: 64, new: false },
    Load { title: "100,000 keys, 512 in flight", keys: 100_000, in_flight: 512, new: false },
    Load { title: "one key, 64 in flight", keys: 1, in_flight: 64, new: false },
    Load { title: "one key, 512 in flight", keys: 1, in_flight: 512, new: false },
    Load { title: "one key, one after the other", keys: 1, in_flight: 1, new: false },
    Load { title: "new keys, 64 in flight", keys: 2_000_000, in_flight: 64, new: true },
];

struct Run {
    checks_per_second: f64,
    client_us: f64,
    redis_us: f64,
}

fn main() -> Result<()> {
    let (mut shapes, mut rounds, mut checks) = (SHAPES.iter().collect::<Vec<_>>(), 5, 300_000);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("only") => {
                let names = arguments.value()?.string()?;
                shapes.retain(|shape| names.split(',').any(|name| name == shape.name));
            }
            Long("rounds") => rounds = arguments.value()?.parse()?,
            Long("checks") => checks = arguments.value()?.parse()?,
            other => bail!("{}\n\n{USAGE}", other.unexpected()),
        }
    }
    ensure!(rounds > 0 && !shapes.is_empty(), USAGE);

    let redis = RedisServer::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let url = redis.url(Store::Unix).context("Redis has a socket")?;
        // A timer for each command would be part of the figures.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
        let mut stage = Stage { redis, connection, checks };
        let mut loaded = Vec::new();
        for shape in shapes {
            loaded.push(Loaded::new(shape, &mut stage.connection).await?);
        }
        let mut columns = Vec::new();
        for load in LOADS {
            eprintln!("{}", load.title);
            columns.push(stage.measure(load, &loaded, rounds).await.context(load.title)?);
        }
        print(&loaded, &columns)
    })
}

struct Stage {
    redis: RedisServer,
    connection: MultiplexedConnection,
    /// The number of checks in a run.
    checks: usize,
}

impl Stage {
    /// The number of runs of each shape.
    async fn measure(&mut self, load: &Load, shapes: &[Loaded], rounds: usize) -> Result<Vec<Vec<Run>>> {
        let keys: Vec<String> = (0..load.keys).map(shape::key).collect();
        if !load.new {
            self.empty().await?;
            let mut all = redis::pipe();
            for key in &keys {
                all.cmd("SET").arg(key).arg(1).arg("EXAT").arg(shape::WINDOW_END).ignore();
            }
            all.exec_async(&mut self.connection).await?;
        }
        let mut runs: Vec<Vec<Run>> = shapes.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for turn in 0..shapes.len() {
                // The first and the last shape change with each round.
                let index = (turn + round) % shapes.len();
                if load.new {
                    self.empty().await?;
                }
                let run = self.run(load, &shapes[index], &keys).await;
                runs[index].push(run.context(shapes[index].shape.name)?);
            }
        }
        Ok(runs)
    }

    async fn empty(&mut self) -> Result<()> {
        Ok(redis::cmd("FLUSHALL").exec_async(&mut self.connection).await?)
    }

    async fn run(&self, load: &Load, shape: &Loaded, keys: &[String]) -> Result<Run> {
        let is_lone = load.in_flight == 1;
        let size = if shape.shape.batched && !is_lone { load.in_flight / BATCHES } else { 1 };
        let (next, checks) = (Cell::new(0), Cell::new(0));
        let key = || {
            // A prime, so that each key comes once, and far from the previous one.
            next.set((next.get() + 7919) % keys.len());
            keys[next.get()].as_str()
        };
        let before = self.clocks()?;
        let started = Instant::now();
        let lane = |_| async {
            let mut connection = self.connection.clone();
            // With a round trip for each check, fewer checks take long enough.
            while checks.get() < self.checks && !is_lone || started.elapsed() < SHORTEST {
                let batch: Vec<&str> = std::iter::repeat_with(key).take(size).collect();
                shape.check(&batch, &mut connection).await?;
                checks.set(checks.get() + size);
            }
            anyhow::Ok(())
        };
        try_join_all((0..load.in_flight / size).map(lane)).await?;
        let seconds = started.elapsed().as_secs_f64();
        let after = self.clocks()?;
        let checks = checks.get() as f64;
        let used = |clock: usize| (after[clock] - before[clock]).as_secs_f64() * 1e6 / checks;
        Ok(Run { checks_per_second: checks / seconds, client_us: used(0), redis_us: used(1) })
    }

    fn clocks(&self) -> Result<[Duration; 2]> {
        Ok([cpu::of_process(std::process::id())?, cpu::of_process(self.redis.pid())?])
    }
}

/// A line for each shape, a column for each load.
fn print(shapes: &[Loaded], columns: &[Vec<Vec<Run>>]) -> Result<()> {
    let titles: Vec<&str> = LOADS.iter().map(|load| load.title).collect();
    println!("|  | sent | {} |\n| --- | --- |{}", titles.join(" | "), " --- |".repeat(titles.len()));
    for (index, Loaded { shape, .. }) in shapes.iter().enumerate() {
        let mut line = format!("| {} | {} |", if shape.batched { "batch" } else { "each" }, shape.title);
        for column in columns {
            let median = |number: fn(&Run) -> f64| {
                Spread::of(column[index].iter().map(number)).map(|spread| spread.median).context("there is a round")
            };
            let rate = median(|run| run.checks_per_second)? / 1e3;
            let (client, redis) = (median(|run| run.client_us)?, median(|run| run.redis_us)?);
            line += &format!(" {rate:.0} k, {client:.2}, {redis:.2} |");
        }
        println!("{line}");
    }
    Ok(())
}
