//! The first part of all keys: what it may be.

use crate::error::Error;

/// Every key begins with it, and is sent at each check.
const LONGEST: usize = 256;

/// Refuses a prefix with which keys could not be used, or hardly.
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
        // The slot of a key is that of what stands in its first braces, which is the scope.
        return error(format!(
            "`{shown}` has a brace in it, and braces choose a key's slot in a cluster; write it without"
        ));
    }
    Ok(())
}
