async fn quote(
    __ratelimit_request: ::ratelimit_runtime::__private::HttpRequest,
    __ratelimit_payload: ::ratelimit_runtime::__private::Payload,
) -> ::ratelimit_runtime::__private::HttpResponse {
    static __RATELIMIT: ::ratelimit_runtime::__private::Policy = ::ratelimit_runtime::__private::Policy::new(
        &[
            ::ratelimit_runtime::__private::Rule::new(
                    ::ratelimit_runtime::__private::Limit::new(300, 300),
                )
                .scope(&[::ratelimit_runtime::__private::Scope::Ip]),
        ],
    );
    async fn quote() -> impl Responder {
        "Simplicity is prerequisite for reliability."
    }
    ::ratelimit_runtime::__private::limited(
            &__RATELIMIT,
            __ratelimit_request,
            __ratelimit_payload,
            quote,
        )
        .await
}
