//! The arguments that are durations: the time to wait for a body, and blocks.

use syn::{Error, Expr, ExprLit, Lit, Result};

use crate::rate::{self, BLOCK, BODY_TIMEOUT};
use crate::value::{bare, integer};

/// The longest time to wait for a body, in seconds.
pub(crate) fn body_timeout(value: &Expr) -> Result<u32> {
    let seconds = match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => rate::duration(&text.value()),
        Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) => integer(int, &BODY_TIMEOUT),
        _ => Err("write a duration, as in `body_timeout = \"5s\"`".to_owned()),
    };
    seconds.map_err(|message| Error::new_spanned(value, message))
}

/// The most durations of a block.
const MOST_BLOCKS: usize = 16;

/// The seconds of the first block, the second and so on.
pub(crate) fn block(value: &Expr) -> Result<Vec<u32>> {
    let values = match value {
        Expr::Array(array) if array.elems.is_empty() || array.elems.len() > MOST_BLOCKS => {
            let message = "write from 1 to 16 durations, as in `block = [\"1m\", \"10m\", \"1h\"]`";
            return Err(Error::new_spanned(value, message));
        }
        Expr::Array(array) => array.elems.iter().cloned().map(bare).collect(),
        _ => vec![value.clone()],
    };
    let mut durations: Vec<u32> = Vec::new();
    for value in &values {
        let seconds = match value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                rate::duration(&text.value()).and_then(|seconds| BLOCK.parse(&seconds.to_string()))
            }
            Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) => integer(int, &BLOCK),
            _ => {
                Err("write a duration, as in `block = \"10m\"`, or several, as in `block = [\"1m\", \"10m\", \"1h\"]`"
                    .to_owned())
            }
        };
        let seconds = seconds.map_err(|message| Error::new_spanned(value, message))?;
        if durations.last().is_some_and(|last| *last >= seconds) {
            let message = "each block is longer than the one before: write the durations in ascending order";
            return Err(Error::new_spanned(value, message));
        }
        durations.push(seconds);
    }
    Ok(durations)
}
