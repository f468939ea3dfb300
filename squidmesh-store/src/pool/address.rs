//! Parses the URL of a Postgres database. Parameters that the driver knows are passed to the driver, some more are
//! handled here, and unknown ones are rejected: the driver would ignore them, and log them with their values.

use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnectOptions;
use tracing::subscriber::{NoSubscriber, with_default};

use crate::connect_error::ConnectError;
use crate::redact_url::redact_url;

/// The parameters that the driver knows, besides `options[…]`.
const DRIVERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// A parsed Postgres URL.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) options: PgConnectOptions,
    /// The schemas in which tables are looked up, as `SET search_path` takes them.
    pub(crate) search_path: Option<String>,
    /// How long connecting may take.
    pub(crate) connect: Option<Duration>,
}

/// Parses a URL.
pub(crate) fn read(url: &str) -> Result<Address, ConnectError> {
    let invalid = || ConnectError::InvalidUrl { url: redact_url(url) };
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let behind_host = rest.split_once('/').map_or("", |(_, behind)| behind);
    // Part of a password that was not escaped looks like a path, a parameter or a fragment.
    if behind_host.contains('@') || url.contains('#') {
        return Err(invalid());
    }
    let (mut kept, mut search_path, mut connect) = (Vec::new(), None, None);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = decoded(name).ok_or_else(invalid)?;
        match name.as_str() {
            "search_path" => search_path = Some(decoded(value).ok_or_else(invalid)?),
            "schema" | "currentSchema" => search_path = Some(quoted(&decoded(value).ok_or_else(invalid)?)),
            "connect_timeout" => {
                connect =
                    Some(Duration::from_secs(value.parse().map_err(|_| invalid())?)).filter(|time| !time.is_zero());
            }
            known if DRIVERS.contains(&known) || known.starts_with("options[") => kept.push(parameter),
            _ if parameters.contains('@') => return Err(invalid()),
            _ => return Err(ConnectError::UnsupportedParameter { url: redact_url(address), parameter: name }),
        }
    }
    let url = if kept.is_empty() { address.to_owned() } else { format!("{address}?{}", kept.join("&")) };
    // The driver's message may show the URL.
    let options = with_default(NoSubscriber::default(), || PgConnectOptions::from_str(&url)).map_err(|_| invalid())?;
    Ok(Address { options, search_path, connect })
}

/// Quotes a schema name for SQL.
pub(crate) fn quoted(schema: &str) -> String {
    format!("\"{}\"", schema.replace('"', "\"\""))
}

/// Decodes percent signs and plus signs.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        read(url).expect_err("refused").to_string()
    }

    #[test]
    fn schemas_and_timeouts_are_understood() -> Result<(), ConnectError> {
        let path = |url| read(url).map(|address| address.search_path);
        assert_eq!(path("postgres://u@h/db?sslmode=disable")?, None);
        assert_eq!(path("postgres://u@h/db?schema=my%20Jobs")?.as_deref(), Some("\"my Jobs\""));
        assert_eq!(path("postgres://u@h/db?currentSchema=a%22b&port=1")?.as_deref(), Some("\"a\"\"b\""));
        assert_eq!(path("postgres://u@h/db?search_path=jobs%2Cpublic")?.as_deref(), Some("jobs,public"));
        assert_eq!(read("postgres://u@h/db?connect_timeout=4")?.connect, Some(Duration::from_secs(4)));
        Ok(())
    }

    #[test]
    fn a_parameter_that_nobody_understands_is_refused_by_name() {
        for name in ["sslpassword", "target_session_attrs", "channel_binding"] {
            let error = refused(&format!("postgres://u@h/db?{name}=S3CRET"));
            assert!(error.contains(name) && !error.contains("S3CRET"), "{error}");
        }
    }

    #[test]
    fn a_password_that_nobody_escaped_is_refused_and_not_shown() {
        for url in [
            "postgres://u:12?S3=CR@h/db",
            "postgres://u:12/S3CR@h/db",
            "postgres://u:12#S3CR@h/db",
            "postgres://u:S3?CR@h/db",
        ] {
            let error = refused(url);
            assert!(!error.contains("S3") && !error.contains("CR"), "{error}");
        }
    }
}
