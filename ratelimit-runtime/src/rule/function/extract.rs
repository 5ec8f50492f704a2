//! The extractors of a function that is asked about a request. Unless a rule reads the body, it belongs to the handler, so they get none, and one
//! that asks for it is a mistake to report: to an extractor in an `Option`, a missing body looks like a client that
//! sent nothing, and the limit would be switched off without a word.

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError, dev::Payload, http::StatusCode,
    web::Bytes,
};

use crate::rule::reported::Reported;

/// The arguments of `function`, out of everything but the request's body.
///
/// # Errors
/// [`ExtractsBody`], if one of the extractors asks for the body, whether or not it would read it; or else the error of
/// an extractor.
pub(super) async fn extract<Args: FromRequest>(request: &HttpRequest, function: &'static str) -> Result<Args, Error> {
    let body = request.extensions().get::<ReadBody>().map(|body| body.0.clone());
    if let Some(body) = body {
        let args = Args::from_request(request, &mut Payload::from(body)).await;
        return args.map_err(|error| NotExtracted::or_itself(error.into()));
    }
    let nothing: Payload = Payload::None;
    // An extractor takes the payload and leaves `None` in its place, or does not need it. Its future cannot borrow the
    // payload, so it cannot do so later.
    let mut payload: Payload = Payload::Stream { payload: Box::pin(nothing) };
    let args = Args::from_request(request, &mut payload);
    if matches!(payload, Payload::None) {
        return Err(ExtractsBody { function }.into());
    }
    args.await.map_err(Into::into)
}

/// The body of a request, in its extensions while functions are asked that may extract it.
pub(crate) struct ReadBody(pub(crate) Bytes);

/// A body that was read has not the form that a function extracts.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotExtracted(Error);

impl NotExtracted {
    /// Tells a malformed body from what else may fail in a function's extractors, such as data that the application lacks, or a client that is
    /// not signed in.
    fn or_itself(error: Error) -> Error {
        match error.as_response_error().status_code() {
            StatusCode::BAD_REQUEST
            | StatusCode::LENGTH_REQUIRED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => Self(error).into(),
            _ => error,
        }
    }
}

impl ResponseError for NotExtracted {
    fn error_response(&self) -> HttpResponse {
        self.0.error_response()
    }
}

/// A function of an attribute has an extractor that takes the body: answered 500.
#[derive(Debug, thiserror::Error)]
#[error("`{function}` extracts the request's body")]
pub(crate) struct ExtractsBody {
    function: &'static str,
}

impl ExtractsBody {
    /// Tells the log once for each handler and function.
    pub(crate) fn report(&self, handler: &'static str) {
        static REPORTED: Reported = Reported::by_name();
        if REPORTED.is_new(&format!("{handler} {}", self.function)) {
            log::error!(
                "#[ratelimit] on `{handler}`: {self}, which the handler alone can read, so requests are answered 500: \
                 write `body = \"16 KiB\"` in the rule, or let the function use the path, the query or a header (RL010)"
            );
        }
    }
}
