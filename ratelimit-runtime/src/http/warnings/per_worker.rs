//! A limiter that is made within the closure of `HttpServer::new`. Actix calls it once for each worker and address, so
//! there are as many limiters, each of which admits the whole limit.
//!
//! Such limiters are made at one place of the program, on the threads of one server's workers, and each serves the requests
//! of its own thread. This does not mean limiters of several servers or of tests, or one that the first worker makes for all.

use std::{
    net::SocketAddr,
    panic::Location,
    sync::{Mutex, Once},
    thread,
};

use actix_web::HttpRequest;

use crate::limiter::{
    RateLimiter, WeakLimiter,
    origin::{Maker, Runtime},
};

/// A limiter that has served its first request on the thread that made it.
struct Made {
    maker: Maker,
    address: SocketAddr,
    limiter: WeakLimiter,
}

impl Made {
    /// Whether both were made by one closure of one server: for two of its workers, or for two of its addresses.
    fn is_of_one_server(&self, other: &Self) -> bool {
        let (one, another) = (&self.maker, &other.maker);
        let is_same_thread = one.thread == another.thread;
        let is_same_address = self.address == other.address;
        one.place == another.place && one.runtime == another.runtime && is_same_thread != is_same_address
    }
}

/// Looks at the first request of a limiter.
pub(super) fn look(limiter: &RateLimiter, request: &HttpRequest) {
    /// No more than there are limiters of workers.
    static MADE: Mutex<Vec<Made>> = Mutex::new(Vec::new());
    static REPORTED: Once = Once::new();

    let maker = &limiter.origin().maker;
    if maker.runtime == Runtime::NoWorker || maker.thread != thread::current().id() || REPORTED.is_completed() {
        return;
    }
    let made = Made { maker: *maker, address: request.app_config().local_addr(), limiter: limiter.downgrade() };
    let Ok(mut all) = MADE.lock() else { return };
    all.retain(|other| other.limiter.is_alive());
    if all.iter().any(|other| made.is_of_one_server(other)) {
        REPORTED.call_once(|| log::warn!("{}", message(limiter, maker.place)));
    }
    all.push(made);
}

fn message(limiter: &RateLimiter, place: &Location<'_>) -> String {
    let consequence = if limiter.is_in_memory() {
        "and each admits the whole limit by itself"
    } else {
        "and each has its own connections and caches, and its own counters while the store is down"
    };
    format!(
        "a RateLimiter is made anew at `{place}` for each worker and each address of one server, {consequence}: make it \
         before `HttpServer::new`, and give its closure a clone, `move || App::new().app_data(limiter.clone())` (RL014)"
    )
}

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use super::*;

    fn made(place: &'static Location<'static>, thread: ThreadId, system: usize, port: u16) -> Made {
        let maker = Maker { place, thread, runtime: Runtime::System(system) };
        Made { maker, address: ([127, 0, 0, 1], port).into(), limiter: RateLimiter::in_memory().downgrade() }
    }

    #[test]
    fn limiters_of_one_place_and_system_are_of_one_server_where_thread_or_address_is_the_same() {
        let (here, there) = (Location::caller(), Maker::current().place);
        let threads = [(); 2].map(|()| thread::spawn(|| ()).thread().id());
        let first = made(here, threads[0], 1, 80);
        for (what, other, expected) in [
            ("another worker", made(here, threads[1], 1, 80), true),
            ("another address of one worker", made(here, threads[0], 1, 81), true),
            ("another server", made(here, threads[1], 1, 81), false),
            ("two that one worker makes", made(here, threads[0], 1, 80), false),
            ("another system, as of another test", made(here, threads[1], 2, 80), false),
            ("another place", made(there, threads[1], 1, 80), false),
        ] {
            assert_eq!(first.is_of_one_server(&other), expected, "{what}");
        }
    }
}
