//! The runtime under another name.

#![deny(warnings)]

use actix_web::{App, web};

mod facade {
    pub(crate) use ratelimit_runtime as limits;
}

#[facade::limits::ratelimit("10/s", crate = crate::facade::limits)]
#[facade::limits::ratelimit("1000/h")]
async fn reexported(_id: web::Path<u64>) -> &'static str {
    "text"
}

fn main() {
    let _app = App::new().route("/", web::get().to(reexported));
}
