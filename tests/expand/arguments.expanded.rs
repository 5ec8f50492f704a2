async fn sliding(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::Policy::new(
        "arguments::sliding",
        &[
            __ratelimit::Rule::new(300, 300)
                .sliding_window()
                .stagger()
                .scope(&[__ratelimit::Scope::Ip]),
        ],
    );
    async fn sliding() -> impl Responder {
        "the last two windows"
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, sliding).await
}
async fn bucket(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::Policy::new(
        "arguments::bucket",
        &[
            __ratelimit::Rule::new(300, 300)
                .gcra(20)
                .scope(&[__ratelimit::Scope::Ip])
                .cost(5),
            __ratelimit::Rule::new(1000, 3600)
                .gcra(1000)
                .scope(&[__ratelimit::Scope::Ip])
                .cost_function("weight", &__ratelimit::cost(weight)),
        ],
    );
    async fn bucket() -> impl Responder {
        "a token at a time"
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, bucket).await
}
async fn login(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::Policy::new(
        "arguments::login",
        &[
            __ratelimit::Rule::new(5, 60)
                .scope(&[__ratelimit::Scope::Ip])
                .count_if(&__ratelimit::count_if(failed))
                .exempt("office", &__ratelimit::exempt(office))
                .methods(&["POST", "PUT"]),
        ],
    );
    async fn login() -> impl Responder {
        "welcome"
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, login).await
}
async fn leased(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::Policy::new(
        "arguments::leased",
        &[__ratelimit::Rule::new(100000, 60).scope(&[__ratelimit::Scope::Ip]).lease(100)],
    );
    async fn leased() -> impl Responder {
        "spent locally"
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, leased).await
}
async fn leased_const(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::Policy::new(
        "arguments::leased_const",
        &[
            __ratelimit::Rule::new(100000, 60)
                .scope(&[__ratelimit::Scope::Ip])
                .lease(const { __ratelimit::number(LOT).get() as __ratelimit::i128 }),
        ],
    );
    async fn leased_const() -> impl Responder {
        "spent locally"
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, leased_const).await
}
