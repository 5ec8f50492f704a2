//! actix-governor: GCRA in memory.

use std::{convert::Infallible, sync::Arc, time::Duration};

use actix_governor::{Governor, GovernorConfigBuilder, KeyExtractor, SimpleKeyExtractionError};
use actix_web::{dev::ServiceRequest, web};
use anyhow::{Context, Result};

use crate::{
    Configure, handlers,
    load::{self, Keys, Load, Verdict, WINDOW},
};

/// Finishes a builder with and without headers, which makes two types of it.
macro_rules! configure {
    ($builder:expr, $headers:expr) => {{
        let mut builder = $builder;
        if $headers { serve!(builder.use_headers()) } else { serve!(builder) }
    }};
}

macro_rules! serve {
    ($builder:expr) => {{
        let config = $builder.finish().context("neither the burst nor the period is zero")?;
        let configure: Configure = Arc::new(move |app| {
            app.service(web::resource("/").wrap(Governor::new(&config)).route(web::get().to(handlers::bare)));
        });
        configure
    }};
}

pub(super) fn configure(load: Load, headers: bool) -> Result<Configure> {
    let mut builder = GovernorConfigBuilder::default();
    // A token for each nanosecond admits all requests; a token for each window admits the first.
    let period = match load.verdict {
        Verdict::Admitted => Duration::from_nanos(1),
        Verdict::Refused => WINDOW,
    };
    builder.period(period).burst_size(load.verdict.limit());
    Ok(match load.keys {
        Keys::One => configure!(builder, headers),
        Keys::Many => configure!(builder.key_extractor(ByHeader), headers),
    })
}

#[derive(Clone)]
struct ByHeader;

impl KeyExtractor for ByHeader {
    type Key = String;
    type KeyExtractionError = SimpleKeyExtractionError<Infallible>;

    fn extract(&self, request: &ServiceRequest) -> Result<Self::Key, Self::KeyExtractionError> {
        Ok(load::client(request).to_owned())
    }
}
