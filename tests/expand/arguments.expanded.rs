async fn leased(
    __ratelimit_request: ::ratelimit_runtime::__private::HttpRequest,
    __ratelimit_payload: ::ratelimit_runtime::__private::Payload,
) -> ::ratelimit_runtime::__private::HttpResponse {
    static __RATELIMIT: ::ratelimit_runtime::__private::Policy = ::ratelimit_runtime::__private::Policy::new(
        &[
            ::ratelimit_runtime::__private::Rule::new(
                    ::ratelimit_runtime::__private::Limit::new(100000, 60),
                )
                .scope(&[::ratelimit_runtime::__private::Scope::Ip])
                .lease(100),
        ],
    );
    async fn leased() -> impl Responder {
        "spent locally"
    }
    ::ratelimit_runtime::__private::limited(
            &__RATELIMIT,
            __ratelimit_request,
            __ratelimit_payload,
            leased,
        )
        .await
}
async fn leased_const(
    __ratelimit_request: ::ratelimit_runtime::__private::HttpRequest,
    __ratelimit_payload: ::ratelimit_runtime::__private::Payload,
) -> ::ratelimit_runtime::__private::HttpResponse {
    static __RATELIMIT: ::ratelimit_runtime::__private::Policy = ::ratelimit_runtime::__private::Policy::new(
        &[
            ::ratelimit_runtime::__private::Rule::new(
                    ::ratelimit_runtime::__private::Limit::new(100000, 60),
                )
                .scope(&[::ratelimit_runtime::__private::Scope::Ip])
                .lease(LOT as i128),
        ],
    );
    async fn leased_const() -> impl Responder {
        "spent locally"
    }
    ::ratelimit_runtime::__private::limited(
            &__RATELIMIT,
            __ratelimit_request,
            __ratelimit_payload,
            leased_const,
        )
        .await
}
