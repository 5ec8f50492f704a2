//! An Actix application in this process, on a real socket.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use actix_web::dev::{Server as ActixServer, ServerHandle};
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer, rt};
use ratelimit_runtime::{RateLimitHeaders, RateLimiter};

use crate::http::Server;

/// Registers the routes of an application.
type Routes = dyn Fn(&mut ServiceConfig) + Send + Sync;

/// A running application; it stops when this is dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Runs the server that `build` makes of a listener on a free port of 127.0.0.1, on a thread of its own.
    pub fn start<F>(build: F) -> Self
    where
        F: FnOnce(TcpListener) -> ActixServer + Send + 'static,
    {
        Self::run(Box::new(build))
    }

    /// It is not generic, so that an Actix server is compiled once and not for each test.
    fn run(build: Box<dyn FnOnce(TcpListener) -> ActixServer + Send>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("the port that was given");
        let (started, handle) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            rt::System::new().block_on(async move {
                let server = build(listener);
                started.send(server.handle()).expect("the test waits for this");
                server.await.expect("the server runs");
            });
        });
        let handle = handle.recv().expect("the server starts");
        Self { address, handle, thread: Some(thread) }
    }

    /// Runs an application with this limiter, `RateLimitHeaders`, and these routes.
    pub fn limited<C>(limiter: &RateLimiter, routes: C) -> Self
    where
        C: Fn(&mut ServiceConfig) + Send + Sync + 'static,
    {
        Self::limited_by(limiter, 2, routes)
    }

    /// As [`Served::limited`], with a number of worker threads.
    pub fn limited_by<C>(limiter: &RateLimiter, workers: usize, routes: C) -> Self
    where
        C: Fn(&mut ServiceConfig) + Send + Sync + 'static,
    {
        Self::run_limited(limiter.clone(), workers, Arc::new(routes))
    }

    /// It is not generic for the same reason.
    fn run_limited(limiter: RateLimiter, workers: usize, routes: Arc<Routes>) -> Self {
        Self::start(move |listener| {
            let app = move || {
                let routes = Arc::clone(&routes);
                App::new()
                    .app_data(limiter.clone())
                    .wrap(RateLimitHeaders::default())
                    .configure(move |config| routes(config))
            };
            HttpServer::new(app).workers(workers).listen(listener).expect("the server listens").run()
        })
    }
}

impl Server for Served {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The call sends the command. The future only waits for the end.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // A server that failed has reported it on its own thread.
            let _ = thread.join();
        }
    }
}
