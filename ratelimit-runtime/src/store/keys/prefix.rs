//! The prefix of all keys: which texts are allowed.

use crate::error::Error;

/// The longest prefix, in bytes. It is part of every key and is sent with every check.
const LONGEST: usize = 256;

/// Rejects a prefix that would make keys unusable or hard to use.
pub(crate) fn check(prefix: &str, is_cluster: bool) -> Result<(), Error> {
    let error = |reason| Err(Error::Prefix { reason });
    if prefix.len() > LONGEST {
        return error(format!("it has {} bytes, and every key begins with it; write at most {LONGEST}", prefix.len()));
    }
    let shown = prefix.escape_debug();
    if prefix.contains(char::is_control) {
        return error(format!("`{shown}` has a control character in it, such as the end of a line; write it without"));
    }
    if is_cluster && prefix.contains(['{', '}']) {
        // The first braces in a key choose its slot. They belong to the scope.
        return error(format!(
            "`{shown}` has a brace in it, and braces choose a key's slot in a cluster; write it without"
        ));
    }
    Ok(())
}
