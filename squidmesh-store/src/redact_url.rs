//! Redacts the secrets in a database URL.

/// Returns the URL with its password, and any secret among its parameters, replaced by `***`: fit for messages and
/// logs.
///
/// ```
/// let url = "postgres://shop:s3cret@db.example.com/shop?sslmode=require";
/// assert_eq!(squidmesh_store::redact_url(url), "postgres://shop:***@db.example.com/shop?sslmode=require");
/// ```
pub fn redact_url(url: &str) -> String {
    let (address, parameters) = match url.split_once('?') {
        // A question mark before the last at-sign is part of a password that was not escaped.
        Some((_, parameters)) if parameters.contains('@') => (url, None),
        Some((address, parameters)) => (address, Some(parameters)),
        None => (url, None),
    };
    let mut shown = without_password(address);
    if let Some(parameters) = parameters {
        shown.push('?');
        let parameters: Vec<String> = parameters.split('&').map(without_secret).collect();
        shown.push_str(&parameters.join("&"));
    }
    shown
}

/// The host begins after the last at-sign, even if the password contains others.
fn without_password(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    match rest.rsplit_once('@') {
        None => address.to_owned(),
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{scheme}{user}:***@{host}"),
            None => format!("{scheme}{login}@{host}"),
        },
    }
}

fn without_secret(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _))
            if ["pass", "pwd", "key", "secret", "token"]
                .iter()
                .any(|secret| name.to_ascii_lowercase().contains(secret)) =>
        {
            format!("{name}=***")
        }
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_url_shows_its_password() {
        for url in [
            "postgres://u:S3CRET@h/db",
            "postgres://u:S3CRET@h:5432/db?sslmode=require",
            "postgres://u:S3/CR@ET@h/db",
            "postgres://u:S3?CR@h/db?x=y",
            "postgres://u@h/db?password=S3CRET",
            "postgres://h/db?user=u&PASSWORD=S3CRET&sslkey=S3CRET&sslpassword=S3CRET&passphrase=S3CRET",
            "postgres:u:S3CRET@h",
        ] {
            let shown = redact_url(url);
            assert!(!shown.contains("S3") && !shown.contains("CR") && !shown.contains("ET@"), "{shown}");
        }
    }

    #[test]
    fn a_url_without_secrets_is_shown_as_it_is() {
        for url in ["sqlite::memory:", "sqlite://shop.db?mode=rwc", "postgres://shop@db/shop", "postgres://db/shop"] {
            assert_eq!(redact_url(url), url);
        }
    }
}
