//! Which arguments go together: within one attribute, and in all attributes of a handler.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::{Error, Path, Signature, parse_quote};

use crate::args::{Args, Limit};
use crate::errors::Errors;
use crate::value::{Algorithm, Cost, Key, Number, OverLimit, Scope, plain};

/// Checks the arguments of one attribute.
pub(crate) fn attribute(args: &Args, errors: &mut Errors) {
    if args.policy.is_some() {
        policy_alone(args, errors);
        return;
    }
    concurrency(args, errors);
    body(args, errors);
    if !counts_places(args) {
        one_rate(args, errors);
        combinations(args, errors);
        block(args, errors);
        amounts(args, errors);
    }
}

/// Refuses arguments beside a policy, which has its own.
fn policy_alone(args: &Args, errors: &mut Errors) {
    for limit in args.limits.iter().filter(|limit| !matches!(limit, Limit::Places { .. })) {
        let message = "a rate cannot stand beside `policy`, which has its own: write another `#[ratelimit]` for it";
        errors.add(Error::new(limit.start(), message));
    }
    for word in args.names.iter().filter(|word| *word != "policy" && *word != "crate") {
        let message =
            format!("`{word}` belongs to a rule: write it in the `policy!`, or in another `#[ratelimit]` with a rate");
        errors.push(word, message);
    }
}

/// Whether one of the rules counts what runs at the same time.
fn counts_places(args: &Args) -> bool {
    args.limits.iter().any(|limit| matches!(limit, Limit::Places { .. }))
}

/// Refuses `hold` without `concurrency`, and beside that the arguments of a rate, for which they have no meaning.
fn concurrency(args: &Args, errors: &mut Errors) {
    let is_given = args.names.iter().any(|word| word == "concurrency");
    let message =
        "`hold` is of a place that a request holds while it runs: write `concurrency = 2` beside it, or remove it";
    refuse_if(!is_given, "hold", message, args, errors);
    if !counts_places(args) {
        return;
    }
    let has_rate = args.limits.iter().any(|limit| !matches!(limit, Limit::Places { .. }));
    let message = "`per` is the window of a rate, and `concurrency` has none: write `hold`, or a `limit`";
    refuse_if(!has_rate, "per", message, args, errors);
    for word in &args.names {
        let example = match word.to_string().as_str() {
            "cost" => "cost = 2",
            "count_if" => "count_if = failed",
            "lease" => "lease = 10",
            "block" => "block = \"10m\"",
            "algorithm" => "algorithm = \"gcra\"",
            "burst" => "algorithm = \"gcra\", burst = 10",
            "stagger" => "stagger = true",
            _ => continue,
        };
        let message = format!(
            "`{word}` is of a rate, and `concurrency` counts what runs at the same time: remove it, or write another \
             attribute for the rate, as in `#[ratelimit(\"100/minute\", {example})]`"
        );
        errors.push(word, message);
    }
}

/// Refuses arguments that need one rate, if there are several.
fn one_rate(args: &Args, errors: &mut Errors) {
    if args.limits.len() > 1 {
        for word in &args.names {
            let example = match word.to_string().as_str() {
                "lease" => "lease = 10",
                "burst" => "algorithm = \"gcra\", burst = 10",
                _ => continue,
            };
            let message = format!(
                "a {word} is of one rate, and here are several: write an attribute for each rate, \
                 as in `#[ratelimit(\"1000/hour\", {example})]`"
            );
            errors.push(word, message);
        }
    }
}

/// Refuses arguments that make no sense beside another. Each is reported at its name.
fn combinations(args: &Args, errors: &mut Errors) {
    let has = |name: &str| args.names.iter().any(|word| word == name);
    let cost_is_asked = matches!(args.cost, Some(Cost::Function(_)));
    let shadow = matches!(args.over_limit, Some(OverLimit::Allow));
    // An unknown algorithm is reported as such.
    let windows =
        !has("algorithm") || matches!(args.algorithm, Some(Algorithm::FixedWindow | Algorithm::SlidingWindow));
    let fixed = !matches!(args.algorithm, Some(Algorithm::SlidingWindow | Algorithm::Gcra));
    let gcra = matches!(args.algorithm, Some(Algorithm::Gcra));
    for (name, nonsense, message) in [
        (
            "burst",
            args.rate.is_some(),
            "`burst` is of a rate, which a function returns here: write `.burst(…)` on that `Rate`",
        ),
        (
            "burst",
            windows && args.rate.is_none(),
            "`burst` is for `algorithm = \"gcra\"`, as a window lets its whole limit pass at once: \
             write that algorithm, or remove `burst`",
        ),
        (
            "stagger",
            args.stagger && gcra,
            "`stagger` moves the ends of windows, and \"gcra\" has none: remove it, or write another `algorithm`",
        ),
        (
            "lease",
            !fixed,
            "`lease` takes tokens before there are requests for them, and this algorithm goes by when each request \
             comes: remove `lease`, or write `algorithm = \"fixed-window\"`",
        ),
        (
            "lease",
            has("count_if"),
            "`lease` cannot stand beside `count_if`, which refunds a request after its response, \
             when the lease that it was taken from may be gone: remove one of them",
        ),
        (
            "lease",
            cost_is_asked,
            "`lease` cannot stand beside a function for `cost`, which may ask for more than a lease holds: \
             write the cost as a number, or remove one of them",
        ),
        (
            "count_if",
            shadow,
            "`count_if` refunds requests so that others pass, and with `over_limit = \"allow\"` all of them pass: \
             remove one of them",
        ),
    ] {
        refuse_if(nonsense, name, message, args, errors);
    }
}

/// Refuses to block where nobody is refused, or where the store is not asked.
fn block(args: &Args, errors: &mut Errors) {
    let shadow = matches!(args.over_limit, Some(OverLimit::Allow));
    let message =
        "`block` is for whom the rule refuses, and with `over_limit = \"allow\"` it refuses nobody: remove one of them";
    refuse_if(shadow, "block", message, args, errors);
    let has_lease = args.names.iter().any(|word| word == "lease");
    let message = "`block` cannot stand beside `lease`, whose tokens are spent without asking the store, where the block is: \
                   remove one of them";
    refuse_if(has_lease, "block", message, args, errors);
}

/// Refuses to read a body for nobody.
fn body(args: &Args, errors: &mut Errors) {
    let cost_is_asked = matches!(args.cost, Some(Cost::Function(_)));
    let has_function = args.scopes.iter().any(|scope| matches!(scope, Scope::Function(_)))
        || matches!(args.key, Some(Key::Function(_)))
        || cost_is_asked
        || args.exempt.is_some()
        || args.rate.is_some();
    let has_body = args.names.iter().any(|word| word == "body");
    for (name, nonsense, message) in [
        (
            "body",
            !has_function,
            "`body` is for a function that extracts the body, and there is none: name it in `scope`, `key`, `cost`, \
             `rate` or `exempt`, or remove `body`",
        ),
        (
            "body_timeout",
            !has_body,
            "`body_timeout` is for a rule that reads the body: write `body`, too, or remove it",
        ),
    ] {
        refuse_if(nonsense, name, message, args, errors);
    }
}

/// Reports an argument at its name.
fn refuse_if(nonsense: bool, name: &str, message: &str, args: &Args, errors: &mut Errors) {
    if let Some(word) = args.names.iter().find(|word| nonsense && *word == name) {
        errors.push(word, message);
    }
}

/// Refuses numbers that do not fit each other, if both are literals. The output asserts the others.
fn amounts(args: &Args, errors: &mut Errors) {
    let literal = |number: &Number| match *number {
        Number::Literal(number, span) => Some((number, span)),
        Number::Constant(_) => None,
    };
    let fixed = |limit: &Limit| match limit {
        Limit::Fixed { limit, .. } => literal(limit).map(|(limit, _)| limit),
        Limit::Function(_) | Limit::Places { .. } => None,
    };
    let limit = args.limits.iter().filter_map(fixed).min();
    let cost = match &args.cost {
        Some(Cost::Number(cost)) => literal(cost),
        _ => None,
    };
    let (most, name) = match (&args.algorithm, &args.burst) {
        (Some(Algorithm::Gcra), Some(burst)) => (literal(burst).map(|(burst, _)| burst), "burst"),
        _ => (limit, "limit"),
    };
    if let (Some((cost, span)), Some(most)) = (cost, most)
        && cost > most
    {
        let message =
            format!("the cost must be at most the {name}, or no request ever passes: write `cost = {most}` or less");
        errors.add(Error::new(span, message));
    }
    // A lease with several rates is reported already.
    if args.limits.len() > 1 {
        return;
    }
    let Some((lease, span)) = args.lease.as_ref().and_then(literal) else { return };
    if let Some(limit) = limit
        && lease > limit
    {
        let message = format!("the lease must be at most the limit: write `lease = {limit}` or less");
        errors.add(Error::new(span, message));
    }
    if let Some((cost, _)) = cost
        && (2..cost).contains(&lease)
    {
        let message = format!("the lease must hold what one request costs: write `lease = {cost}` or more");
        errors.add(Error::new(span, message));
    }
}

/// Checks what the rules of one policy say together, and gives the path of the runtime.
pub(crate) fn policy(all: &[Args], errors: &mut Errors) -> Path {
    let mut rules = Vec::new();
    for args in all {
        for limit in &args.limits {
            let rule = describe(args, limit);
            if rules.contains(&rule) {
                let message = "the same rule stands here twice: \
                               remove one of them, or give it a `key` or a `scope` of its own";
                errors.add(Error::new(limit.start(), message));
            }
            rules.push(rule);
        }
    }
    let mut bodies = all.iter().filter_map(|args| args.body.map(|body| (body, args)));
    if let Some((first, _)) = bodies.next() {
        for (_, args) in bodies.filter(|(body, _)| *body != first) {
            for word in args.names.iter().filter(|word| *word == "body") {
                errors.push(
                    word,
                    format!("the body is read once, and another rule says {first} bytes: write the same here"),
                );
            }
        }
    }
    let mut runtimes = all.iter().filter_map(|args| args.runtime.as_ref());
    let Some(first) = runtimes.next() else {
        return parse_quote!(::ratelimit_runtime);
    };
    for other in runtimes.filter(|other| plain(*other) != plain(first)) {
        errors.push(other, format!("another rule says `crate = {}`: give it once", plain(first)));
    }
    first.clone()
}

/// Refuses arguments that name a type or a constant of the handler, since the policy stands outside of it.
pub(crate) fn surroundings(all: &[Args], sig: &Signature, errors: &mut Errors) {
    let parameters: Vec<&Ident> =
        sig.generics.type_params().map(|it| &it.ident).chain(sig.generics.const_params().map(|it| &it.ident)).collect();
    for name in all.iter().flat_map(|args| first_names(&args.values)) {
        if name == "Self" {
            errors.push(name, "write the name of the type in place of `Self`, which is not known here");
        } else if parameters.contains(&&name) {
            let message = format!(
                "`{name}` is a parameter of the handler, whose instances all share one policy: \
                 write something that does not depend on it"
            );
            errors.push(name, message);
        }
    }
}

/// The names that begin a path.
pub(crate) fn first_names(tokens: &TokenStream) -> impl Iterator<Item = Ident> {
    let mut names = Vec::new();
    collect_first_names(tokens.clone(), &mut names);
    names.into_iter()
}

fn collect_first_names(tokens: TokenStream, names: &mut Vec<Ident>) {
    let mut follows_separator = false;
    for token in tokens {
        let follows = std::mem::take(&mut follows_separator);
        match token {
            TokenTree::Group(group) => collect_first_names(group.stream(), names),
            TokenTree::Ident(name) if !follows => names.push(name),
            TokenTree::Punct(punct) => follows_separator = matches!(punct.as_char(), ':' | '.' | '\''),
            TokenTree::Ident(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The identity of a rule, as text. Two rules of a handler must differ in it.
fn describe(args: &Args, limit: &Limit) -> String {
    let scopes: Vec<String> = args.scopes.iter().map(Scope::to_string).collect();
    let key = match &args.key {
        None => String::new(),
        Some(Key::Literal(key)) => format!("{:?}", key.value()),
        Some(Key::Function(path)) => plain(path),
    };
    let cost = match &args.cost {
        None => "1".to_owned(),
        Some(Cost::Number(number)) => number.to_string(),
        Some(Cost::Function(path)) => plain(path),
    };
    let function = |path: &Option<_>| path.as_ref().map(plain).unwrap_or_default();
    let (count_if, exempt) = (function(&args.count_if), function(&args.exempt));
    let mut methods: Vec<String> = args.methods.iter().map(|method| method.value()).collect();
    methods.sort_unstable();
    let algorithm = match (&args.algorithm, &args.burst) {
        (None | Some(Algorithm::FixedWindow), _) => "fixed".to_owned(),
        (Some(Algorithm::SlidingWindow), _) => "sliding".to_owned(),
        (Some(Algorithm::Gcra), burst) => match (burst, limit) {
            (Some(burst), _) | (None, Limit::Fixed { limit: burst, .. }) => format!("gcra {burst}"),
            (None, Limit::Function(_) | Limit::Places { .. }) => "gcra".to_owned(),
        },
    };
    let rate = match limit {
        Limit::Fixed { limit, per } => format!("{limit}/{per}"),
        Limit::Function(path) => plain(path),
        Limit::Places { places, hold } => format!("{places} at once {hold}"),
    };
    format!("{rate} {} {key} {cost} {count_if} {exempt} {methods:?} {algorithm}", scopes.join("+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_names_are_those_that_begin_a_path() {
        let tokens = quote::quote!(first + second::no::no(third.no(), [fourth; 5]) + 'no: { fifth });
        let names: Vec<String> = first_names(&tokens).map(|name| name.to_string()).collect();
        assert_eq!(names, ["first", "second", "third", "fourth", "fifth"]);
    }
}
