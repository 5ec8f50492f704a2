async fn sliding(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy("arguments::sliding")
        .rules(
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
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy("arguments::bucket")
        .rules(
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
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy("arguments::login")
        .rules(
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
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy("arguments::leased")
        .rules(
            &[
                __ratelimit::Rule::new(100000, 60)
                    .scope(&[__ratelimit::Scope::Ip])
                    .lease(100),
            ],
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
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy(
            "arguments::leased_const",
        )
        .rules(
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
async fn by_name(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse
where
    String: ::ratelimit_runtime::codegen::FromRequest,
{
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy("arguments::by_name")
        .rules(
            &[
                __ratelimit::Rule::new(5, 60)
                    .scope(
                        &[
                            __ratelimit::Scope::function(
                                "username",
                                &__ratelimit::scope(username),
                            ),
                        ],
                    )
                    .body(16384, 5),
            ],
        );
    async fn by_name(name: String) -> impl Responder {
        name
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, by_name).await
}
async fn planned(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy("arguments::planned")
        .rules(
            &[
                __ratelimit::Rule::with_rate("plan", &__ratelimit::rate(plan))
                    .gcra_of_rate()
                    .scope(&[__ratelimit::Scope::User])
                    .cost(2),
            ],
        );
    async fn planned() -> impl Responder {
        "as often as your plan says"
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, planned).await
}
async fn export(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy("arguments::export")
        .rules(
            &[
                __ratelimit::Rule::new(100, 60).scope(&[__ratelimit::Scope::User]),
                __ratelimit::Rule::concurrency(2, 30).scope(&[__ratelimit::Scope::User]),
            ],
        );
    async fn export() -> impl Responder {
        "two at a time"
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, export).await
}
static LOGIN: Policy = {
    use ::ratelimit_runtime::codegen as __ratelimit;
    __ratelimit::policy("login")
        .rules(
            &[
                __ratelimit::Rule::new(5, 60)
                    .scope(&[__ratelimit::Scope::Ip])
                    .key("login"),
            ],
        )
};
static API: Policy = {
    use ::ratelimit_runtime::codegen as __ratelimit;
    __ratelimit::policy("api")
        .rules(
            &[
                __ratelimit::Rule::new(10, 1)
                    .scope(&[__ratelimit::Scope::Ip])
                    .key("api"),
                __ratelimit::Rule::new(1000, 86400)
                    .scope(&[__ratelimit::Scope::User])
                    .key("api")
                    .cost(2),
            ],
        )
};
async fn shared(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    async fn shared() -> impl Responder {
        "as often as the others together"
    }
    __ratelimit::limited(&LOGIN, __ratelimit_incoming, shared).await
}
async fn combined(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy("arguments::combined")
        .policies(&[&LOGIN, &API])
        .rules(&[__ratelimit::Rule::new(100, 3600).scope(&[__ratelimit::Scope::Ip])]);
    async fn combined() -> impl Responder {
        "one decision"
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, combined).await
}
