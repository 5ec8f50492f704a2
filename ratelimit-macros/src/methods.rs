//! The value of `methods`: what a method is, and what looks like a misspelled one.

use syn::{Error, Expr, LitStr, Result};

use crate::errors::Errors;
use crate::suggest::distance;
use crate::value::{bare, is_token, text};

/// The methods of a request, each once: of RFC 9110 and RFC 5789 as they are written there, or others.
pub(crate) fn methods(value: &Expr, errors: &mut Errors) -> Vec<LitStr> {
    let values = match value {
        Expr::Array(array) if array.elems.is_empty() => {
            errors.push(value, "name a method, as in `methods = [\"POST\"]`, or remove `methods` to count them all");
            Vec::new()
        }
        Expr::Array(array) => array.elems.iter().cloned().map(bare).collect(),
        _ => vec![value.clone()],
    };
    let mut methods: Vec<LitStr> = Vec::new();
    for value in &values {
        match errors.keep(method(value)) {
            Some(method) if methods.iter().any(|other| other.value() == method.value()) => {
                errors.push(value, format!("the method \"{}\" is named twice: keep one of them", method.value()));
            }
            method => methods.extend(method),
        }
    }
    methods
}

fn method(value: &Expr) -> Result<LitStr> {
    const STANDARD: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let message = match text(value) {
        None => "write methods in quotes, as in `methods = [\"POST\", \"PUT\"]`".to_owned(),
        Some(text) => {
            let name = text.value();
            match STANDARD.into_iter().find(|standard| standard.eq_ignore_ascii_case(&name)) {
                Some(standard) if name != standard => format!("methods are case-sensitive: write \"{standard}\""),
                None if !is_token(&name) => {
                    format!("`{name}` is no method: one is \"POST\", and several are [\"POST\", \"PUT\"]")
                }
                Some(_) => return Ok(text.clone()),
                // A misspelled method is a method, too, but no client sends it.
                None => match STANDARD.into_iter().find(|standard| is_misspelled(&name, standard)) {
                    Some(standard) => format!("`{name}` is an unknown method: did you mean \"{standard}\"?"),
                    None => return Ok(text.clone()),
                },
            }
        }
    };
    Err(Error::new_spanned(value, message))
}

/// Whether `name` has the letters of `standard` in another order, or one more or less.
fn is_misspelled(name: &str, standard: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters = text.to_ascii_uppercase().into_bytes();
        letters.sort_unstable();
        letters
    };
    let name = name.to_ascii_uppercase();
    sorted(&name) == sorted(standard) || (name.len() != standard.len() && distance(&name, standard) == 1)
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_method_is_misspelled_if_its_letters_are_in_another_order_or_one_is_too_many_or_too_few() {
        let meant = |name: &str| method(&parse_quote!(#name)).err().map(|error| error.to_string());
        for (name, standard) in [("PSOT", "POST"), ("tpu", "PUT"), ("DELET", "DELETE"), ("GETS", "GET")] {
            assert_eq!(meant(name), Some(format!("`{name}` is an unknown method: did you mean \"{standard}\"?")));
        }
        for other in ["READ", "PUSH", "PURGE", "REPORT"] {
            assert_eq!(meant(other), None, "{other}");
        }
    }
}
