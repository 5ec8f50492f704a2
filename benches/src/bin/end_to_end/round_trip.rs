//! The round trip to Redis without HTTP: one `INCR` after the other over one connection.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use redis::{AsyncCommands, Client};

/// The median in microseconds, over as many round trips as fit into `seconds`.
pub(crate) fn measure(url: &str, seconds: u32) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut times = runtime.block_on(incr(url, Duration::from_secs(seconds.into()))).context("INCR failed")?;
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    Ok(median.as_secs_f64() * 1e6)
}

async fn incr(url: &str, period: Duration) -> redis::RedisResult<Vec<Duration>> {
    let mut connection = Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut times = Vec::new();
    let started = Instant::now();
    while times.is_empty() || started.elapsed() < period {
        let sent = Instant::now();
        connection.incr::<_, _, u64>("round-trip", 1).await?;
        times.push(sent.elapsed());
    }
    Ok(times)
}
