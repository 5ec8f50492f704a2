//! Databases over TLS.

use ratelimit_tests::certificates::{CERTIFICATE, STRANGER};
use ratelimit_tests::sql_server::{Sql, SqlServer};

use super::{Limited, assert_logs};

/// The options of a URL for TLS with a file of authorities; `None` for those that the operating system trusts.
fn options(sql: Sql, authorities: Option<&str>) -> String {
    let (mode, file) = match sql {
        #[cfg(feature = "postgres")]
        Sql::Postgres => ("sslmode=verify-full", "sslrootcert"),
        #[cfg(feature = "mysql")]
        Sql::MariaDb => ("ssl-mode=verify_identity", "ssl-ca"),
    };
    match authorities {
        Some(path) => format!("?{mode}&{file}={}", path.replace(' ', "%20")),
        None => format!("?{mode}"),
    }
}

on_each_server! {
    fn a_server_over_tls_is_used_if_its_certificate_is_trusted(sql: Sql) {
        let server = SqlServer::with_tls(sql);
        let trusted = server.url_of("app", &options(sql, Some(CERTIFICATE)));
        let limited = Limited::migrated(&trusted);
        assert_eq!(limited.remaining("alice"), Some(2));
        for authorities in [Some(STRANGER), None] {
            let url = server.url_of("app", &options(sql, authorities));
            assert!(Limited::new(&url).fails("alice"));
            assert_logs(&url, &["ERROR", "invalid peer certificate", "(RL022)"]);
        }
    }

    fn a_server_without_tls_is_not_used_where_tls_is_wanted(sql: Sql) {
        let server = SqlServer::start(sql);
        let url = server.url_of("app", &options(sql, Some(CERTIFICATE)));
        assert!(Limited::new(&url).fails("alice"));
        assert_logs(&url, &["ERROR", "TLS", "(RL022)"]);
    }
}
