//! The attribute on functions that are no handlers, and arguments that are not known where the policy stands.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Error, HttpRequest};
use ratelimit_runtime::ratelimit;

#[ratelimit("10/s")]
fn routes(config: &mut ServiceConfig) {
    config.route("/", web::get());
}

#[ratelimit("10/s")]
pub fn more_routes(_app: &str, config: &mut web::ServiceConfig) {
    config.route("/", web::get());
}

#[ratelimit("10/s")]
async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    next.call(request).await
}

trait Resource {
    async fn list() -> String;
    async fn show(id: web::Path<u64>) -> String;
}

struct Users;

impl Resource for Users {
    #[ratelimit("10/s")]
    async fn list() -> String {
        String::new()
    }

    #[ratelimit("10/s")]
    async fn show(id: web::Path<u64>) -> String {
        id.to_string()
    }
}

fn of<T>(_: &HttpRequest) -> String {
    std::any::type_name::<T>().to_owned()
}

#[ratelimit("10/s", scope = ["ip", of::<T>])]
async fn generic<T>(_data: web::Data<T>) -> String {
    String::new()
}

#[ratelimit(limit = N as u64 * 2, per = 60)]
async fn generic_over_a_number<const N: usize>() -> String {
    String::new()
}

fn main() {}
