//! The return types of an attribute's functions: each type of `IntoScope` and of `IntoCost`.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use actix_web::{HttpRequest, HttpResponse, Responder, web};
use ratelimit_runtime::ratelimit;
use ratelimit_tests::app::Served;
use ratelimit_tests::http::Server;
use ratelimit_tests::scope_function;
use ratelimit_tests::target::Target;

use crate::in_memory;

macro_rules! scopes {
    ($($module:ident: $type:ty = $value:expr, $text:expr;)*) => {
        $(
            mod $module {
                use super::*;

                pub(super) const KEY: &str = concat!(module_path!(), "::handler");

                pub(super) fn value(_: &HttpRequest) -> $type {
                    $value
                }

                #[ratelimit(limit = 9, per = 60, scope = value)]
                pub(super) async fn handler() -> impl Responder {
                    HttpResponse::Ok()
                }
            }
        )*

        #[test]
        fn a_scope_function_names_its_counter_by_the_text_of_what_it_returns() {
            let (limiter, _clock) = in_memory();
            let server = Served::limited(&limiter, |config| {
                $(config.route(concat!("/", stringify!($module)), web::get().to($module::handler));)*
            });
            let runtime = actix_web::rt::Runtime::new().expect("a runtime");
            $(
                let path = concat!("/", stringify!($module));
                assert_eq!(server.get(path).status, 200, "{path}");
                let target = Target::new($module::KEY, 9, 60).function(scope_function!($module::value), $text);
                let peek = runtime.block_on(target.peek(&limiter)).expect("a store");
                assert_eq!(peek.remaining(), 8, "{path}");
            )*
        }
    };
}

scopes! {
    string: String = String::from("a b"), "a b";
    borrowed: &'static str = "a/b", "a/b";
    copied_if_need_be: Cow<'static, str> = Cow::Borrowed("ab"), "ab";
    largest_u16: u16 = u16::MAX, "65535";
    largest_u32: u32 = u32::MAX, "4294967295";
    largest_u64: u64 = u64::MAX, "18446744073709551615";
    largest_u128: u128 = u128::MAX, "340282366920938463463374607431768211455";
    size: usize = 0, "0";
    least_i32: i32 = i32::MIN, "-2147483648";
    least_i64: i64 = i64::MIN, "-9223372036854775808";
    address: IpAddr = [192, 0, 2, 60].into(), "192.0.2.60";
    mapped_address: IpAddr = Ipv4Addr::new(192, 0, 2, 60).to_ipv6_mapped().into(), "192.0.2.60";
    long_address: IpAddr = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), "2001:db8::1";
    option: Option<u64> = Some(7), "7";
    result: Result<Option<i64>, actix_web::Error> = Ok(Some(-7)), "-7";
}

macro_rules! costs {
    ($($module:ident: $type:ty = $value:expr => $expected:expr;)*) => {
        $(
            mod $module {
                use super::*;

                pub(super) fn value(_: &HttpRequest) -> $type {
                    $value
                }

                #[ratelimit(limit = 9, per = 60, cost = value)]
                pub(super) async fn handler() -> impl Responder {
                    HttpResponse::Ok()
                }
            }
        )*

        #[test]
        fn a_cost_is_never_cut_to_a_smaller_type() {
            let (limiter, _clock) = in_memory();
            let server = Served::limited(&limiter, |config| {
                $(config.route(concat!("/", stringify!($module)), web::get().to($module::handler));)*
            });
            $(
                let path = concat!("/", stringify!($module));
                let reply = server.get(path);
                assert_eq!((reply.status, reply.x_headers().1), $expected, "{path}");
            )*
        }
    };
}

costs! {
    small_u8: u8 = 3 => (200, 6);
    small_u16: u16 = 3 => (200, 6);
    small_u32: u32 = 3 => (200, 6);
    small_u64: u64 = 3 => (200, 6);
    small_u128: u128 = 3 => (200, 6);
    small_usize: usize = 3 => (200, 6);
    small_result: Result<u16, actix_web::Error> = Ok(3) => (200, 6);
    large_u8: u8 = u8::MAX => (429, 9);
    large_u16: u16 = u16::MAX => (429, 9);
    large_u32: u32 = u32::MAX => (429, 9);
    large_u64: u64 = u64::MAX => (429, 9);
    large_u128: u128 = u128::MAX => (429, 9);
    large_usize: usize = usize::MAX => (429, 9);
    // The lower half of each number is a cost that would pass.
    over_u32: u64 = (1 << 32) + 1 => (429, 9);
    over_u64: u128 = (1 << 64) + 1 => (429, 9);
}
