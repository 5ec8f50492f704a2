//! A file of SQLite in a temporary folder.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::sql_client::SqlClient;

/// A path for a file, which does not exist yet. It is deleted when this is dropped.
#[derive(Debug)]
pub struct SqliteFile(TempDir);

impl SqliteFile {
    /// A path in a new folder.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("limits.db")
    }

    /// The URL of the store.
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    /// Another program that uses the file.
    pub fn client(&self) -> SqlClient {
        SqlClient::new("sqlite3", &["-bail", &self.path().display().to_string()])
    }
}
