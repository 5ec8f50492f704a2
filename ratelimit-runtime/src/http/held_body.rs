//! The body of a response whose request holds places until the body ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    web::Bytes,
};

use crate::check::places::Places;

/// A body with places, which are released when it was sent or is dropped: by a stream that ends, or a client that is gone.
struct HeldBody {
    body: BoxBody,
    places: Option<Box<Places>>,
}

/// The response, whose body holds the places.
#[cold]
pub(crate) fn hold(response: HttpResponse, places: Box<Places>) -> HttpResponse {
    response.map_body(|_, body| held(body, places))
}

/// The body, which holds the places.
pub(crate) fn held(body: BoxBody, places: Box<Places>) -> BoxBody {
    BoxBody::new(HeldBody { body, places: Some(places) })
}

impl MessageBody for HeldBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        if matches!(next, Poll::Ready(None)) {
            self.places = None;
        }
        next
    }
}
