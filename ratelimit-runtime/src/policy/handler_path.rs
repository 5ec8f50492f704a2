//! The default key of a rule: where its handler stands in the program.

/// `module::function` of a handler, with the type in between for an associated function, from the type name of
/// the function that the attribute nested in it.
///
/// A type name and not `module_path!()`, because two types of one module may both have a handler `list`, and
/// must not share a counter by accident. What is taken away: the nested function itself with its generics,
/// the closure that `async` makes, and the type that `#[get]` puts around a handler.
pub(super) fn handler_path(type_name: &str) -> String {
    let nested = match type_name.split_once("HttpServiceFactory>::register::") {
        Some((service, handler)) => {
            let service = service.strip_prefix('<').unwrap_or(service);
            let path = service.rsplit_once(" as ").map_or(service, |(path, _)| path);
            let outer = handler.split("::").next().unwrap_or_default();
            let nested = handler.strip_prefix(outer).unwrap_or_default();
            format!("{path}{nested}")
        }
        None => type_name.to_owned(),
    };
    let path = nested.replace("::{{closure}}", "");
    let path = without_generics(&path);
    path.rsplit_once("::").map_or(path, |(outer, _)| outer).to_owned()
}

/// `list<Option<Book>>` without the last pair of angle brackets, if it ends with one.
fn without_generics(path: &str) -> &str {
    if !path.ends_with('>') {
        return path;
    }
    let mut depth = 0_u32;
    for (index, char) in path.char_indices().rev() {
        match char {
            // Not the bracket of `->`, which stands behind its hyphen.
            '>' if !path[..index].ends_with('-') => depth += 1,
            '<' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return &path[..index];
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_key_is_the_path_of_the_handler() {
        for (type_name, path) in [
            ("app::quote::{{closure}}::quote", "app::quote"),
            ("app::list::{{closure}}::list<core::option::Option<app::Book>>", "app::list"),
            ("app::api::Users::list::{{closure}}::list", "app::api::Users::list"),
            ("app::Api<_>::list::{{closure}}::list<core::option::Option<u8>>", "app::Api<_>::list"),
            ("app::list::{{closure}}::list<app::Api<_>::local::L>", "app::list"),
            ("app::list::{{closure}}::list<fn(u8) -> alloc::vec::Vec<u8>>", "app::list"),
            ("app::api::Books<_>::list::{{closure}}::list", "app::api::Books<_>::list"),
            ("app::main::{{closure}}::local::{{closure}}::local", "app::main::local"),
            (
                "<app::quote as actix_web::service::HttpServiceFactory>::register::quote::{{closure}}::quote",
                "app::quote",
            ),
            (
                "<app::v1::{{closure}}::a as actix_web::service::HttpServiceFactory>::register::a::{{closure}}::a",
                "app::v1::a",
            ),
        ] {
            assert_eq!(handler_path(type_name), path);
        }
    }
}
