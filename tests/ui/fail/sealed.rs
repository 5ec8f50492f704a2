use actix_web::{Error, HttpResponse};
use ratelimit_runtime::{CountFunction, IntoCost, IntoExempt};

struct Own;

impl IntoCost for Own {
    fn into_cost(self) -> Result<u64, Error> {
        Ok(1)
    }
}

impl IntoExempt for Own {
    fn into_exempt(self) -> Result<bool, Error> {
        Ok(true)
    }
}

impl CountFunction for Own {
    fn counts(&self, _: &HttpResponse) -> bool {
        true
    }
}

fn main() {}
