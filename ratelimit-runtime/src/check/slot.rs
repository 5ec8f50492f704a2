//! Where the check keeps the state: in the request's extensions, and in a slot for a middleware that may lose the request.
//!
//! An inner middleware may drop the request and return an error in its place. The state in the request's extensions is
//! gone then. So the middleware puts a slot into these extensions before it calls the inner service, and keeps a
//! clone. The check fills the slot of its own request, and no other request has a part in it.

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
};

use actix_web::{HttpMessage, HttpRequest, dev::ServiceRequest};

use crate::decision::state::RateLimitState;

/// The state of one request, shared with the middleware that reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StateSlot(Rc<RefCell<Option<RateLimitState>>>);

impl StateSlot {
    /// The slot in the extensions of `request`, and whether it is new: nested middlewares share that of the outermost.
    pub(crate) fn of(request: &ServiceRequest) -> (Self, bool) {
        let mut extensions = request.extensions_mut();
        if let Some(slot) = extensions.get::<Self>() {
            return (slot.clone(), false);
        }
        (extensions.get_or_insert_with(Self::default).clone(), true)
    }

    /// Out of line, since most requests have no slot.
    #[inline(never)]
    fn fill(&self, state: &RateLimitState) {
        match &mut *self.0.borrow_mut() {
            Some(earlier) => earlier.append(state),
            empty => *empty = Some(state.clone()),
        }
    }

    /// Shows the charges as they are now.
    pub(crate) fn refresh(&self) {
        if let Some(state) = self.0.borrow_mut().as_mut() {
            state.refresh();
        }
    }

    /// The state, if a check has put it there.
    #[inline]
    pub(crate) fn state(&self) -> Option<Ref<'_, RateLimitState>> {
        let state = Ref::filter_map(self.0.borrow(), Option::as_ref).ok()?;
        if state.has_charges() {
            drop(state);
            return self.refreshed_state();
        }
        Some(state)
    }

    #[cold]
    fn refreshed_state(&self) -> Option<Ref<'_, RateLimitState>> {
        self.refresh();
        Ref::filter_map(self.0.borrow(), Option::as_ref).ok()
    }
}

/// Puts the state into the extensions of its request, and into the slot, if there is one. It joins the state of an earlier check, which
/// a middleware has made.
#[inline]
pub(crate) fn keep(request: &HttpRequest, state: RateLimitState) {
    let mut extensions = request.extensions_mut();
    if let Some(slot) = extensions.get::<StateSlot>() {
        slot.fill(&state);
    }
    if let Some(mut earlier) = extensions.insert(state)
        && let Some(state) = extensions.get_mut::<RateLimitState>()
    {
        earlier.append(state);
        *state = earlier;
    }
}

/// Shows the charges as they are now, in the extensions and in the slot.
pub(crate) fn refresh(request: &HttpRequest) {
    let mut extensions = request.extensions_mut();
    if let Some(state) = extensions.get_mut::<RateLimitState>() {
        state.refresh();
    }
    if let Some(slot) = extensions.get::<StateSlot>() {
        slot.refresh();
    }
}
