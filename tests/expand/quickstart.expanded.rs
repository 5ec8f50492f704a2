async fn quote(
    __ratelimit_incoming: ::ratelimit_runtime::__private::Incoming,
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
    ::ratelimit_runtime::__private::limited(&__RATELIMIT, __ratelimit_incoming, quote)
        .await
}
