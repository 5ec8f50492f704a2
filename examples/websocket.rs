//! A WebSocket that is limited per message, and a limit for how often a user opens one.

use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, error::ErrorUnauthorized, get, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Session};
use ratelimit_examples::{address, announce};
use ratelimit_runtime::{Policy, RateLimiter, Subject, policy, ratelimit};

/// Each message is a check: there is no request that the attribute could count.
static MESSAGES: Policy = policy!("5/minute", key = "messages", scope = "user");

/// The longest message, in bytes.
const LONGEST: usize = 4096;

/// Stands for authentication.
fn user(request: &HttpRequest) -> Option<String> {
    Some(request.headers().get("x-user")?.to_str().ok()?.to_owned()).filter(|user| !user.trim().is_empty())
}

/// The attribute limits how often a user connects. The messages have a limit of their own.
#[get("/chat")]
#[ratelimit("20/minute", scope = "user")]
async fn chat(
    request: HttpRequest,
    body: web::Payload,
    limiter: web::Data<RateLimiter>,
) -> Result<HttpResponse, Error> {
    let user = user(&request).ok_or_else(|| ErrorUnauthorized("say who you are in X-User\n"))?;
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    let messages = messages.max_frame_size(LONGEST).aggregate_continuations().max_continuation_size(LONGEST);
    rt::spawn(converse(user, limiter, session, messages));
    Ok(response)
}

/// Answers messages until either side closes the connection.
async fn converse(
    user: String,
    limiter: web::Data<RateLimiter>,
    mut session: Session,
    mut messages: AggregatedMessageStream,
) {
    let reason = loop {
        let sent = match messages.recv().await {
            Some(Ok(AggregatedMessage::Text(text))) => match answer(&user, &limiter, &text).await {
                Some(answer) => session.text(answer).await,
                None => break Some(CloseCode::Again.into()),
            },
            Some(Ok(AggregatedMessage::Ping(bytes))) => session.pong(&bytes).await,
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Binary(_))) => break Some(CloseCode::Unsupported.into()),
            Some(Ok(AggregatedMessage::Close(reason))) => break reason,
            Some(Err(_)) => break Some(CloseReason::from(CloseCode::Protocol)),
            None => return,
        };
        if sent.is_err() {
            return;
        }
    };
    // The client may be gone already.
    let _ = session.close(reason).await;
}

/// The answer to a message; `None` where the store fails, and a policy says `on_store_error = "deny"`.
async fn answer(user: &str, limiter: &RateLimiter, text: &str) -> Option<String> {
    let state = limiter.check(&MESSAGES, &Subject::new().user(user)).await.ok()?;
    Some(match state.is_admitted() {
        true => format!("{text}, {user}! ({} left)", state.remaining()),
        false => format!("slow down: try again in {} s", state.retry_after().unwrap_or(1)),
    })
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let url = std::env::var("RATELIMIT_URL").unwrap_or_else(|_| "memory://".to_owned());
    // A limiter in `Data` serves the attribute, too, and handlers can extract it.
    let limiter = web::Data::new(RateLimiter::builder().user(user).store(&url).build()?);
    let server = HttpServer::new(move || App::new().app_data(limiter.clone()).service(chat)).bind(address())?;
    announce(&server.addrs(), &["websocat -H 'X-User: alice' ws://{}/chat"]);
    server.run().await
}
