//! The server of one subject: this program itself, started again as `end_to_end serve …`.

use std::{io::Read, net::Ipv4Addr, process::Command, thread};

use actix_web::{App, HttpServer};
use anyhow::{Context, Result, bail};
use lexopt::prelude::{Long, ValueExt};
use ratelimit_benches::{
    load::{Keys, Load, Verdict},
    processes::{self, Process},
    subject::{self, Subject},
};

use crate::scenario::Scenario;

/// The first argument of a server's process.
pub(crate) const SERVE: &str = "serve";

/// Starts the server of `subject` for `scenario`, in a process of its own.
pub(crate) fn start(subject: &Subject, scenario: &Scenario, redis: Option<&str>) -> Result<Process> {
    let port = processes::free_port()?;
    let mut command = Command::new(std::env::current_exe().context("this program has no path")?);
    command
        .args([SERVE, "--subject", subject.name])
        .args(["--verdict", scenario.load.verdict.name(), "--keys", scenario.load.keys.name()])
        .args(["--workers", &scenario.workers().to_string(), "--port", &port.to_string()]);
    if let Some(url) = redis {
        command.args(["--redis", url]);
    }
    Process::start(command, port)
}

/// Runs the server.
pub(crate) fn serve(mut arguments: lexopt::Parser) -> Result<()> {
    let (mut subject, mut verdict, mut keys, mut redis) = (None, None, None, None);
    let (mut workers, mut port) = (1, 0);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("subject") => subject = subject::find(&arguments.value()?.string()?),
            Long("verdict") => verdict = Verdict::find(&arguments.value()?.string()?),
            Long("keys") => keys = Keys::find(&arguments.value()?.string()?),
            Long("redis") => redis = Some(arguments.value()?.string()?),
            Long("workers") => workers = arguments.value()?.parse()?,
            Long("port") => port = arguments.value()?.parse()?,
            other => bail!(other.unexpected()),
        }
    }
    let subject = subject.context("no subject of this name")?;
    let load = Load { verdict: verdict.context("no such verdict")?, keys: keys.context("no such keys")? };
    end_with_the_measurement();
    actix_web::rt::System::new().block_on(async move {
        let configure = ratelimit_benches::configure(subject, load, redis.as_deref()).await?;
        let server = HttpServer::new(move || App::new().configure(|app| configure(app)));
        Ok(server.workers(workers).bind((Ipv4Addr::LOCALHOST, port))?.run().await?)
    })
}

/// The measurement closes the other end of the standard input when it ends, for whatever reason.
fn end_with_the_measurement() {
    thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}
