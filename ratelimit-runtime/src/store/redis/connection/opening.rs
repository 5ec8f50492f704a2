//! How a connection is opened, and how a server that failed shows that it works again.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::store::{
    redis::{
        connection::probe,
        failure::Failure,
        pipeline::{AnsweredBatch, Pipeline},
        protocol::reply::server_time,
        server_error::Blame,
        settings::Settings,
        topology::destination::Destination,
        transport::{
            address::ServerAddress,
            patience::Patience,
            progress::{ConnectStep, Progress},
            stream::Stream,
        },
    },
    server_clock::ServerClock,
};

/// The shortest limit for one attempt to connect. A longer deadline extends it. An attempt and a pause together are shorter
/// than a second, so that a store is used again within a second of its return.
const ATTEMPT: Duration = Duration::from_millis(300);

/// Connects, and reads the server's time.
pub(crate) async fn open(
    settings: &Settings,
    destination: &Destination,
    progress: &Progress,
) -> Result<Pipeline, Failure> {
    let (mut stream, address) = connect(settings, destination, progress).await?;
    // The answer has as much time as a check has: a slow server that meets the deadline is used.
    let sent = Instant::now();
    let time = Patience::new(settings.deadline).wait(stream.run(redis::cmd("TIME"))).await;
    let (seconds, micros) = time.ok_or(Failure::LateIn(progress.step(), settings.deadline))??;
    let clock = ServerClock::new(server_time(seconds, micros), sent.into_std());
    Ok(pipeline(settings, stream, address, clock))
}

/// Connects to a server that failed. The server must also count a probe within the deadline: a server that is full, read-only or
/// slow would fail the next request.
pub(crate) async fn reopen(settings: &Settings, destination: &Destination) -> Result<Pipeline, Failure> {
    let (stream, address) = connect(settings, destination, &Progress::default()).await?;
    // The probe's reply contains the time, too. One command less is one turn less of a worker that may be busy.
    let now = Instant::now().into_std();
    let clock = settings.clock.get().unwrap_or_else(|| ServerClock::new(system_time(), now));
    let mut pipeline = pipeline(settings, stream, address, clock);
    for _ in 0..probe::ATTEMPTS {
        pipeline.send_with_source(probe::batch(&settings.names, destination));
        let AnsweredBatch { batch, reply, read } = pipeline.next().await?;
        match reply {
            Ok(reply) => {
                pipeline.observe_time(reply.time, batch.sent, read);
                if probe::is_counted(&batch, &reply)? {
                    break;
                }
            }
            // A node without slots redirects all checks; but it answers.
            Err(error) if destination.redirect(&error).is_some() => break,
            // The server works, whatever it has against these checks.
            Err(error) if Blame::of(&error) == Blame::Check => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(pipeline)
}

fn pipeline(settings: &Settings, stream: Stream, address: ServerAddress, clock: ServerClock) -> Pipeline {
    Pipeline::new(stream, address, clock, Arc::clone(&settings.names), settings.deadline)
}

/// Connects and logs in.
async fn connect(
    settings: &Settings,
    destination: &Destination,
    progress: &Progress,
) -> Result<(Stream, ServerAddress), Failure> {
    let attempt = ATTEMPT.max(settings.deadline);
    let late = || Failure::LateIn(progress.step(), attempt);
    // Each step has its own limit: a busy worker needs several turns for either.
    progress.start(ConnectStep::Endpoint);
    let endpoint = Patience::new(attempt).wait(destination.endpoint()).await.ok_or_else(late)??;
    let stream = Patience::new(attempt).wait(endpoint.open_with(progress)).await.ok_or_else(late)??;
    progress.start(ConnectStep::FirstCommand);
    Ok((stream, endpoint.address))
}

/// An estimate of the server's time, until a reply contains it.
fn system_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
