use ratelimit_runtime::ratelimit;

async fn username(name: String) -> String {
    name
}

#[ratelimit("5/minute", body = "16 KiB")]
async fn without_a_function() -> &'static str {
    ""
}

#[ratelimit("5/minute", scope = username, body_timeout = "5s")]
async fn without_a_body() -> &'static str {
    ""
}

#[ratelimit("5/minute", scope = username, body = "16")]
async fn without_a_unit() -> &'static str {
    ""
}

#[ratelimit("5/minute", scope = username, body = "16 kib")]
async fn in_a_unit_that_does_not_exist() -> &'static str {
    ""
}

#[ratelimit("5/minute", scope = username, body = 0)]
async fn of_nothing() -> &'static str {
    ""
}

#[ratelimit("5/minute", scope = username, body = "2 GiB")]
async fn too_large() -> &'static str {
    ""
}

#[ratelimit("5/minute", scope = username, body = true)]
async fn no_size() -> &'static str {
    ""
}

#[ratelimit("5/minute", scope = username, body = 10, body_timeout = "soon")]
async fn no_duration() -> &'static str {
    ""
}

#[ratelimit("5/minute", scope = username, body = "16 KiB")]
#[ratelimit("5/hour", scope = username, body = "1 KiB")]
async fn of_two_sizes() -> &'static str {
    ""
}

fn main() {}
