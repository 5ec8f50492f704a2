//! Numbers that are constant expressions: `60 * 5`, `BASE * 2`, `LIMIT.get()`. The compiler evaluates them.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{BinOp, Block, Expr, ExprLit, Lit, Stmt, UnOp};

/// A constant expression that may be a number.
pub(crate) struct Constant {
    expr: Expr,
    /// Whether the expression consists of literals without a type. Then it takes the parameter's type.
    pub(crate) is_untyped: bool,
}

impl Constant {
    /// `None` for an expression that can be no number, or no constant.
    pub(crate) fn parse(expr: &Expr) -> Option<Self> {
        let may_be_number = matches!(
            expr,
            Expr::Binary(_)
                | Expr::Block(_)
                | Expr::Call(_)
                | Expr::Cast(_)
                | Expr::Const(_)
                | Expr::Field(_)
                | Expr::If(_)
                | Expr::Index(_)
                | Expr::Macro(_)
                | Expr::Match(_)
                | Expr::MethodCall(_)
                | Expr::Path(_)
                | Expr::Unary(_)
        );
        may_be_number.then(|| Self { expr: expr.clone(), is_untyped: is_untyped(expr) })
    }

    /// The first token and the last.
    pub(crate) fn ends(&self) -> (Span, Span) {
        let mut tokens = self.expr.to_token_stream().into_iter();
        let first = tokens.next().map_or_else(Span::call_site, |token| token.span());
        (first, tokens.last().map_or(first, |token| token.span()))
    }
}

impl ToTokens for Constant {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.expr.to_tokens(tokens);
    }
}

/// An expression without the parentheses, braces and invisible groups around it. The compiler would warn of them in the output.
pub(crate) fn unwrapped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => unwrapped(&group.expr),
        Expr::Paren(paren) if paren.attrs.is_empty() => unwrapped(&paren.expr),
        Expr::Block(block) if block.attrs.is_empty() && block.label.is_none() => match &block.block.stmts[..] {
            [Stmt::Expr(inner, None)] => unwrapped(inner),
            _ => expr,
        },
        _ => expr,
    }
}

fn is_untyped(expr: &Expr) -> bool {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) => int.suffix().is_empty(),
        Expr::Unary(unary) => matches!(unary.op, UnOp::Neg(_) | UnOp::Not(_)) && is_untyped(&unary.expr),
        Expr::Binary(binary) => match binary.op {
            BinOp::Shl(_) | BinOp::Shr(_) => is_untyped(&binary.left),
            _ => is_untyped(&binary.left) && is_untyped(&binary.right),
        },
        Expr::Paren(paren) => is_untyped(&paren.expr),
        Expr::Group(group) => is_untyped(&group.expr),
        Expr::Block(block) => ends_untyped(&block.block),
        Expr::Const(block) => ends_untyped(&block.block),
        Expr::If(branches) => {
            let otherwise = branches.else_branch.as_ref();
            ends_untyped(&branches.then_branch) && otherwise.is_some_and(|(_, otherwise)| is_untyped(otherwise))
        }
        Expr::Match(branches) => branches.arms.iter().all(|arm| is_untyped(&arm.body)),
        _ => false,
    }
}

fn ends_untyped(block: &Block) -> bool {
    matches!(block.stmts.last(), Some(Stmt::Expr(expr, None)) if is_untyped(expr))
}

#[cfg(test)]
mod tests {
    use proc_macro2::{Delimiter, Group};
    use quote::quote;
    use syn::parse_quote;

    use super::*;

    #[test]
    fn an_expression_of_literals_without_a_type_takes_the_type_of_the_parameter() {
        let fragment = Group::new(Delimiter::None, quote!(5));
        let untyped: [Expr; 12] = [
            parse_quote!(60 * 5),
            parse_quote!(#fragment * 2),
            parse_quote!(10 - -5),
            parse_quote!(!5),
            parse_quote!((5) + 1),
            parse_quote!({ 5 }),
            parse_quote!(const { 5 }),
            parse_quote!(1 << 10u8),
            parse_quote!(1 << SHIFT),
            parse_quote!(1024 >> SHIFT),
            parse_quote!(if cfg!(debug_assertions) { 5 } else { 10 }),
            parse_quote!(match LIMIT {
                300 => 5,
                _ => 10,
            }),
        ];
        let typed: [Expr; 15] = [
            parse_quote!(LIMIT),
            parse_quote!(5u8),
            parse_quote!(5u8 * 2),
            parse_quote!(2 * LIMIT),
            parse_quote!(LIMIT * 2),
            parse_quote!(LIMIT << 2),
            parse_quote!((LIMIT)),
            parse_quote!(-LIMIT),
            parse_quote!(*5),
            parse_quote!({
                5;
            }),
            parse_quote!({ LIMIT }),
            parse_quote!(if cfg!(debug_assertions) { LIMIT } else { 10 }),
            parse_quote!(if cfg!(debug_assertions) { 5 } else { LIMIT }),
            parse_quote!(if cfg!(debug_assertions) {
                5
            }),
            parse_quote!(match LIMIT {
                300 => LIMIT,
                _ => 10,
            }),
        ];
        for (exprs, expected) in [(&untyped[..], true), (&typed[..], false)] {
            for expr in exprs {
                assert_eq!(is_untyped(expr), expected, "{}", expr.to_token_stream());
            }
        }
    }

    #[test]
    fn parentheses_and_braces_that_mean_nothing_are_removed() {
        let removed = |expr: Expr| unwrapped(&expr).to_token_stream().to_string();
        assert_eq!(removed(parse_quote!(({ (5) }))), "5");
        for with_a_meaning in [
            parse_quote!(
                #[cfg(any())]
                (5)
            ),
            parse_quote!(
                #[cfg(any())]
                {
                    5
                }
            ),
            parse_quote!('found: { break 'found 5 }),
            parse_quote!({
                5;
            }),
            parse_quote!({
                let five = 5;
                five
            }),
        ] {
            let before = ToTokens::to_token_stream(&with_a_meaning).to_string();
            assert_eq!(removed(with_a_meaning), before);
        }
    }
}
