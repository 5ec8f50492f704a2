async fn quote(
    __ratelimit_incoming: ::ratelimit_runtime::codegen::Incoming,
) -> ::ratelimit_runtime::codegen::HttpResponse {
    use ::ratelimit_runtime::codegen as __ratelimit;
    static __RATELIMIT: __ratelimit::Policy = __ratelimit::policy("quickstart::quote")
        .rules(&[__ratelimit::Rule::new(300, 300).scope(&[__ratelimit::Scope::Ip])]);
    async fn quote() -> impl Responder {
        "Simplicity is prerequisite for reliability."
    }
    __ratelimit::limited(&__RATELIMIT, __ratelimit_incoming, quote).await
}
