//! The store: a file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

use actix_web::rt::task::spawn_blocking;
use ratelimit_runtime::{Applied, Operation, Store, StoreError, Value};

/// A file with a line for each counter: when it expires, its key, and its value. It is read and written as a whole, so it is for hundreds of
/// counters, not for millions.
pub(crate) struct FileStore(pub(crate) PathBuf);

impl Store for FileStore {
    async fn update(&self, operation: Operation) -> Result<Applied, StoreError> {
        let path = self.0.clone();
        // Files block their thread, so this is done in another one.
        let updated = spawn_blocking(move || update(&path, &operation)).await;
        updated.unwrap_or_else(|error| Err(StoreError::of_store(error)))
    }
}

fn update(path: &Path, operation: &Operation) -> Result<Applied, StoreError> {
    // No other operation comes between reading and writing. The end of the function unlocks the file.
    let lock = File::create(path.with_extension("lock")).map_err(StoreError::of_store)?;
    lock.lock().map_err(StoreError::of_store)?;
    let now = SystemTime::UNIX_EPOCH.elapsed().map_err(StoreError::of_store)?;
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(StoreError::of_store(error)),
    };
    let mut counters: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for line in text.lines() {
        let (expires_at, key, value) = read(line)
            .ok_or_else(|| StoreError::of_store(format_args!("{} is no file of counters", path.display())))?;
        if expires_at > now.as_secs() {
            counters.insert(key, (expires_at, value));
        }
    }
    let keys: Vec<&str> = operation.keys().collect();
    let held: Vec<_> = keys.iter().map(|key| Some(Value::from_bytes(counters.get(key)?.1.as_bytes()))).collect();
    let applied = operation.apply(now, &held)?;
    for write in applied.writes() {
        match write.value() {
            Some(value) => counters.insert(keys[write.index()], (write.expires_at(), value.as_str())),
            None => counters.remove(keys[write.index()]),
        };
    }
    if !applied.writes().is_empty() {
        let lines = counters.iter().map(|(key, (expires_at, value))| format!("{expires_at} {key} {value}\n"));
        // After a crash, there is the old file or the new one.
        let new = path.with_extension("new");
        let written = fs::write(&new, lines.collect::<String>()).and_then(|()| fs::rename(new, path));
        written.map_err(StoreError::of_store)?;
    }
    Ok(applied)
}

/// Reads a line. Keys have no blanks.
fn read(line: &str) -> Option<(u64, &str, &str)> {
    let mut parts = line.splitn(3, ' ');
    Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?))
}
