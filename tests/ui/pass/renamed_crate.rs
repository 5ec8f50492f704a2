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

mod inner {
    use ratelimit_runtime as own;

    #[own::ratelimit("10/s", crate = self::own, scope = own_scope)]
    pub(crate) async fn relative() -> &'static str {
        "text"
    }

    #[own::ratelimit("10/s", crate = "super::inner::own")]
    pub(crate) async fn relative_in_quotes() -> &'static str {
        "text"
    }

    fn own_scope(_: &actix_web::HttpRequest) -> &'static str {
        "text"
    }
}

fn main() {
    use ratelimit_runtime as local;

    #[local::ratelimit("10/s", crate = local)]
    async fn in_a_block() -> &'static str {
        "text"
    }

    let _app = App::new()
        .route("/", web::get().to(reexported))
        .route("/1", web::get().to(inner::relative))
        .route("/2", web::get().to(inner::relative_in_quotes))
        .route("/3", web::get().to(in_a_block));
}
