async fn sliding(
    __ratelimit_incoming: ::ratelimit_runtime::__private::Incoming,
) -> ::ratelimit_runtime::__private::HttpResponse {
    static __RATELIMIT: ::ratelimit_runtime::__private::Policy = ::ratelimit_runtime::__private::Policy::new(
        &[
            ::ratelimit_runtime::__private::Rule::new(
                    ::ratelimit_runtime::__private::Limit::new(300, 300),
                )
                .sliding_window()
                .stagger()
                .scope(&[::ratelimit_runtime::__private::Scope::Ip]),
        ],
    );
    async fn sliding() -> impl Responder {
        "the last two windows"
    }
    ::ratelimit_runtime::__private::limited(&__RATELIMIT, __ratelimit_incoming, sliding)
        .await
}
async fn bucket(
    __ratelimit_incoming: ::ratelimit_runtime::__private::Incoming,
) -> ::ratelimit_runtime::__private::HttpResponse {
    static __RATELIMIT: ::ratelimit_runtime::__private::Policy = ::ratelimit_runtime::__private::Policy::new(
        &[
            ::ratelimit_runtime::__private::Rule::new(
                    ::ratelimit_runtime::__private::Limit::new(300, 300),
                )
                .gcra(20)
                .scope(&[::ratelimit_runtime::__private::Scope::Ip])
                .cost(5),
            ::ratelimit_runtime::__private::Rule::new(
                    ::ratelimit_runtime::__private::Limit::new(1000, 3600),
                )
                .gcra(1000)
                .scope(&[::ratelimit_runtime::__private::Scope::Ip])
                .cost_function(
                    "weight",
                    |request| ::ratelimit_runtime::__private::cost(request, weight),
                ),
        ],
    );
    async fn bucket() -> impl Responder {
        "a token at a time"
    }
    ::ratelimit_runtime::__private::limited(&__RATELIMIT, __ratelimit_incoming, bucket)
        .await
}
async fn login(
    __ratelimit_incoming: ::ratelimit_runtime::__private::Incoming,
) -> ::ratelimit_runtime::__private::HttpResponse {
    static __RATELIMIT: ::ratelimit_runtime::__private::Policy = ::ratelimit_runtime::__private::Policy::new(
        &[
            ::ratelimit_runtime::__private::Rule::new(
                    ::ratelimit_runtime::__private::Limit::new(5, 60),
                )
                .scope(&[::ratelimit_runtime::__private::Scope::Ip])
                .count_if(failed)
                .exempt(
                    "office",
                    |request| ::ratelimit_runtime::__private::exempt(request, office),
                )
                .methods(&["POST", "PUT"]),
        ],
    );
    async fn login() -> impl Responder {
        "welcome"
    }
    ::ratelimit_runtime::__private::limited(&__RATELIMIT, __ratelimit_incoming, login)
        .await
}
async fn leased(
    __ratelimit_incoming: ::ratelimit_runtime::__private::Incoming,
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
    ::ratelimit_runtime::__private::limited(&__RATELIMIT, __ratelimit_incoming, leased)
        .await
}
async fn leased_const(
    __ratelimit_incoming: ::ratelimit_runtime::__private::Incoming,
) -> ::ratelimit_runtime::__private::HttpResponse {
    static __RATELIMIT: ::ratelimit_runtime::__private::Policy = ::ratelimit_runtime::__private::Policy::new(
        &[
            ::ratelimit_runtime::__private::Rule::new(
                    ::ratelimit_runtime::__private::Limit::new(100000, 60),
                )
                .scope(&[::ratelimit_runtime::__private::Scope::Ip])
                .lease(::ratelimit_runtime::__private::integer(LOT) as i128),
        ],
    );
    async fn leased_const() -> impl Responder {
        "spent locally"
    }
    ::ratelimit_runtime::__private::limited(
            &__RATELIMIT,
            __ratelimit_incoming,
            leased_const,
        )
        .await
}
