use ratelimit_runtime::{Policy, policy, ratelimit};

static GOOD: Policy = policy!("5/minute", key = "login");

static WITHOUT_A_KEY: Policy = policy!("5/minute", scope = "ip");
static WITHOUT_A_KEY_BEHIND: Policy = policy!(("5/minute"), ("10/hour"));
static WITH_A_FUNCTION_AS_KEY: Policy = policy!("5/minute", key = tenant);
static WITHOUT_A_LIMIT: Policy = policy!(key = "login");
static WITH_TWO_KEYS: Policy = policy!(("5/minute", key = "one"), ("10/hour"), key = "two");
static WITH_SHARED_ARGUMENTS: Policy = policy!(("5/minute"), ("10/hour"), scope = "user", key = "two");
static WITH_A_POLICY: Policy = policy!(policy = GOOD, key = "login");
static TWICE: Policy = policy!(("5/minute"), ("5/minute"), key = "login");
static MISSPELLED: Policy = policy!("5/minute", kye = "login");
static OUT_OF_RANGE: Policy = policy!("0/minute", key = "login");
static BEHIND: Policy = policy!(key = "login", ("5/minute"), ("10/hour"));
static EMPTY: Policy = policy!();

fn tenant(_: &actix_web::HttpRequest) -> String {
    String::new()
}

#[ratelimit(policy = GOOD, scope = "ip", key = "login")]
async fn with_arguments_of_rules() {}

#[ratelimit("5/minute", policy = GOOD)]
async fn with_a_rate() {}

#[ratelimit(policy = "GOOD")]
async fn in_quotes() {}

#[ratelimit(policy = tenant)]
async fn no_policy() -> &'static str {
    ""
}

#[ratelimit("5/minute")]
#[ratelimit(policy = tenant)]
async fn no_policy_beside_a_rate() -> &'static str {
    ""
}

#[ratelimit(polcy = GOOD)]
async fn misspelled() {}

fn main() {}
