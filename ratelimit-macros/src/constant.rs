//! Numbers that are constant expressions: `60 * 5`, `BASE * 2`, `LIMIT.get()`. The compiler evaluates them.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{BinOp, Block, Expr, ExprLit, Lit, Stmt, UnOp};

/// A constant expression that may be a number.
pub(crate) struct Constant {
    expr: Expr,
    /// The expression consists of literals without a type, so it takes the type that the parameter has.
    pub(crate) is_untyped: bool,
}

impl Constant {
    /// `None` for what cannot be a number, or not constant, whatever is in it.
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

/// An expression without the parentheses, braces and invisible groups around it, of which the compiler would say that they are
/// too many.
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
