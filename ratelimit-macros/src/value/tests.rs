//! What is taken as a number, a header name, a function or a path, and what is not.

use syn::parse_quote;

use super::*;

#[test]
fn an_integer_may_have_a_type_and_no_unit() {
    let number = |text: &str| integer(&LitInt::new(text, Span::call_site()), &LIMIT);
    for suffix in ["", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"] {
        assert_eq!(number(&format!("5{suffix}")), Ok(5), "{suffix}");
    }
    for unit in ["s", "m", "h", "d"] {
        assert_eq!(number(&format!("5{unit}")), Err(format!("a unit goes in quotes: \"5{unit}\"")));
    }
    assert_eq!(number("5kb"), Err("`kb` is no type of integers: write `5`".to_owned()));
}

#[test]
fn a_token_has_the_characters_of_rfc_9110() {
    let others = "!#$%&'*+-.^_`|~";
    for char in (0..=255_u8).map(char::from) {
        let is_tchar = char.is_ascii_alphanumeric() || others.contains(char);
        assert_eq!(is_token(&char.to_string()), is_tchar, "{char:?}");
    }
    assert!(!is_token(""));
}

#[test]
fn a_path_in_capitals_is_a_const_and_any_other_a_function() {
    let is_const = |path| in_capitals(&path);
    assert!(is_const(parse_quote!(COST)));
    assert!(is_const(parse_quote!(prices::SEARCH_2)));
    assert!(!is_const(parse_quote!(cost)));
    assert!(!is_const(parse_quote!(Prices::search)));
    assert!(!is_const(parse_quote!(rowsOfPage)));
    // Letters without a case.
    assert!(!is_const(parse_quote!(価格)));
}

#[test]
fn the_name_of_a_function_is_the_last_of_its_path_and_not_raw() {
    assert_eq!(name(&parse_quote!(crate::auth::tenant::<u8>)), "tenant");
    assert_eq!(name(&parse_quote!(r#type)), "type");
}

#[test]
fn the_runtime_is_a_path_of_modules() {
    for path in [parse_quote!(::runtime), parse_quote!("web::runtime"), parse_quote!(crate::runtime)] {
        assert!(module(&path).is_ok(), "{}", plain(&path));
    }
    for other in [parse_quote!(<Api>::runtime), parse_quote!("runtime<u8>"), parse_quote!("")] {
        assert!(module(&other).is_err(), "{}", plain(&other));
    }
}
