//! An open connection to a server.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::store::redis::{
    batch::Batch,
    blame::Blame,
    failure::Failure,
    patience::Patience,
    pipeline::{Pipeline, Received},
    probe, script,
    server_clock::ServerClock,
    settings::Settings,
    target::Target,
    transport::{
        address::Address,
        progress::{Progress, Step},
        stream::Stream,
    },
};
use tokio::time::Instant;

/// How long one attempt to connect may take, if the deadline of a check is not longer. An attempt and a pause
/// together are shorter than a second, so that a store is used again within a second of its return.
const ATTEMPT: Duration = Duration::from_millis(300);

/// An open connection, and the server's clock.
pub(crate) struct Session {
    pub(crate) pipeline: Pipeline,
    address: Address,
    pub(crate) clock: ServerClock,
}

impl Session {
    /// Connects, and learns the server's time.
    pub(crate) async fn open(settings: &Settings, target: &Target, progress: &Progress) -> Result<Self, Failure> {
        let (mut stream, address) = connect(settings, target, progress).await?;
        // An answer has the time that one has for a check: a server that is slow, and within that time, is used.
        let sent = Instant::now();
        let time = Patience::new(settings.deadline).wait(stream.ask(redis::cmd("TIME"))).await;
        let (seconds, micros) = time.ok_or(Failure::LateIn(progress.step(), settings.deadline))??;
        let clock = ServerClock::new(script::server_time(seconds, micros), sent.into_std());
        Ok(Self::new(settings, stream, address, clock))
    }

    /// Connects to a server that had failed: it must also show that it counts again, and in time. One that is full, or a replica,
    /// or too slow, would fail the next request.
    pub(crate) async fn open_again(settings: &Settings, target: &Target) -> Result<Self, Failure> {
        let (stream, address) = connect(settings, target, &Progress::default()).await?;
        // The probe tells the time, too: each question less is a turn less of a worker that may be busy.
        let now = Instant::now().into_std();
        let clock = settings.clock.get().unwrap_or_else(|| ServerClock::new(system_time(), now));
        let mut session = Self::new(settings, stream, address, clock);
        for _ in 0..probe::ATTEMPTS {
            let (sent, time) = session.now();
            session.pipeline.push_whole(probe::batch(settings, target), sent, time);
            let Received { batch, reply, read } = session.pipeline.next().await?;
            match reply {
                Ok(reply) => {
                    session.clock.hear(reply.time, batch.sent.into_std(), read.into_std());
                    if probe::is_counted(&batch, &reply)? {
                        break;
                    }
                }
                // It has no slots, and takes none of the checks; but it answers.
                Err(error) if target.redirect(&error).is_some() => break,
                // Whatever keeps it from counting these, it works.
                Err(error) if Blame::of(&error) == Blame::Check => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(session)
    }

    fn new(settings: &Settings, stream: Stream, address: Address, clock: ServerClock) -> Self {
        let pipeline = Pipeline::new(stream, Arc::clone(&settings.names), settings.deadline);
        Self { pipeline, address, clock }
    }

    /// The server's address.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a batch, when the next one that comes back is waited for.
    pub(crate) fn send(&mut self, batch: Batch) {
        let (sent, time) = self.now();
        self.pipeline.push(batch, sent, time);
    }

    /// The time, here and at the server.
    fn now(&self) -> (Instant, Duration) {
        let now = Instant::now();
        (now, self.clock.at(now.into_std()))
    }
}

/// Connects and logs in.
async fn connect(settings: &Settings, target: &Target, progress: &Progress) -> Result<(Stream, Address), Failure> {
    let attempt = ATTEMPT.max(settings.deadline);
    let late = || Failure::LateIn(progress.step(), attempt);
    // Each by itself: a busy worker needs several turns for either.
    progress.begin(Step::Target);
    let endpoint = Patience::new(attempt).wait(target.endpoint()).await.ok_or_else(late)??;
    let stream = Patience::new(attempt).wait(endpoint.open_with(progress)).await.ok_or_else(late)??;
    progress.begin(Step::Question);
    Ok((stream, endpoint.address))
}

/// What the server's time is likely to be, before it has told it.
fn system_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
