//! Sends work to a node of a cluster, and follows the redirects until a node answers.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    decision::outcome::Outcomes,
    store::{
        StoreFailed,
        redis::{
            pipeline::check::CheckAnswer,
            transport::patience::Patience,
            work::Work,
            worker::{registry::Workers, route::Route},
        },
    },
};

/// The pause before a check is sent again to nodes that disagree about its slot.
const PAUSE: Duration = Duration::from_millis(5);

/// The end of a route.
pub(crate) enum RouteEnd {
    Decided(Outcomes),
    /// The slot is moving, and the check's counters are on two nodes, or would be created there. No node can decide it alone.
    Split,
}

impl Workers {
    /// Sends work to the node that has the slot, and follows redirects.
    pub(crate) async fn send(&self, slot: u16, work: Work) -> Result<RouteEnd, StoreFailed> {
        let due = Instant::now() + self.settings.deadline;
        let mut route = Route::default();
        if let Some(answer) = self.with(|worker| worker.send(slot, &route, work.clone()))? {
            // Its batch has a deadline already.
            match answer.await {
                Ok(CheckAnswer::Decided(outcomes)) => return Ok(RouteEnd::Decided(outcomes)),
                Ok(CheckAnswer::Redirected(redirect)) => drop(route.follow(redirect)),
                Err(_) => return Err(StoreFailed),
            }
        }
        let mut patience = Patience::until(due, self.settings.deadline / 4);
        patience.wait(self.follow_redirects(slot, work, route)).await.ok_or(StoreFailed)?
    }

    /// Sends work from node to node, as their redirects say.
    async fn follow_redirects(&self, slot: u16, work: Work, mut route: Route) -> Result<RouteEnd, StoreFailed> {
        loop {
            if route.needs_pause() {
                sleep(PAUSE).await;
            }
            let Some(answer) = self.with(|worker| worker.send(slot, &route, work.clone()))? else {
                let mut map = self.with(|worker| worker.map().ok_or(StoreFailed))?;
                map.wait_for(|map| map.is_loaded() || map.is_down()).await.map_err(|_| StoreFailed)?;
                continue;
            };
            let redirect = match answer.await {
                Ok(CheckAnswer::Decided(outcomes)) => return Ok(RouteEnd::Decided(outcomes)),
                Ok(CheckAnswer::Redirected(redirect)) => redirect,
                Err(_) => return Err(StoreFailed),
            };
            if !route.follow(redirect) {
                if work.has_several_counters() {
                    return Ok(RouteEnd::Split);
                }
                // One counter cannot be on two nodes. The check starts again, with pauses.
                route = Route::restarted();
            }
        }
    }
}
