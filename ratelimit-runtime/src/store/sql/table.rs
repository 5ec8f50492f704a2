//! The table of counters: its name, and the SQL that creates it.

use crate::error::Error;

/// How many bytes a name may have. PostgreSQL takes 63, and the index has a longer name than the table.
const LONGEST_NAME: usize = 50;

/// The name of a table, and of its schema if one is set.
#[derive(Clone, Debug)]
pub(crate) struct TableName {
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
}

impl Default for TableName {
    fn default() -> Self {
        Self { schema: None, table: "rate_limits".to_owned() }
    }
}

impl TableName {
    /// Whether the names can be used.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let is_name = |name: &str| (1..=LONGEST_NAME).contains(&name.len()) && !name.contains(char::is_control);
        let names = [("sql_schema", self.schema.as_deref()), ("sql_table", Some(&*self.table))];
        match names.into_iter().find(|(_, name)| name.is_some_and(|name| !is_name(name))) {
            None => Ok(()),
            Some((setting, _)) => Err(Error::Setting {
                setting,
                reason: format!("must have from 1 to {LONGEST_NAME} bytes and no control characters"),
            }),
        }
    }

    /// The name as it stands in SQL. `quote` is the character around each part; within a part it is doubled.
    pub(super) fn quoted(&self, quote: char) -> String {
        let quoted = |name: &str| format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")));
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&self.table)),
            None => quoted(&self.table),
        }
    }

    /// The name of the index. PostgreSQL takes its schema from the table, SQLite from the index.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(super) fn index(&self, with_schema: bool) -> Self {
        Self { schema: self.schema.clone().filter(|_| with_schema), table: format!("{}_expires_at", self.table) }
    }
}

/// The reason of an error that comes from other columns than ours.
pub(super) fn wrong_shape(reason: &str) -> String {
    format!(
        "{reason}; the table is not as RateLimiter::migrate creates it (guide::sql): drop it, or set another `sql_table`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(schema: Option<&str>, table: &str) -> TableName {
        TableName { schema: schema.map(str::to_owned), table: table.to_owned() }
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(TableName::default().quoted('"'), r#""rate_limits""#);
        assert_eq!(
            named(Some("my schema"), r#"a"; DROP TABLE b; --"#).quoted('"'),
            r#""my schema"."a""; DROP TABLE b; --""#
        );
        assert_eq!(named(None, "a`b").quoted('`'), "`a``b`");
    }

    #[test]
    fn a_name_that_no_database_takes_is_an_error() {
        for (name, setting) in [
            (named(None, ""), "sql_table"),
            (named(None, &"x".repeat(51)), "sql_table"),
            (named(None, "a\0b"), "sql_table"),
            (named(Some(""), "a"), "sql_schema"),
        ] {
            let error = name.check().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(setting), "{error}");
        }
        assert_eq!(named(Some("limits"), &"x".repeat(50)).check(), Ok(()));
    }
}
