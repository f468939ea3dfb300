//! Opens the database that the command line names, if this program was built for it.

use squidmesh_store::{ConnectError, SeaOrmStore};

use crate::options::Options;

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The program was built without Postgres, and a Postgres was requested.
    #[error(
        "this program was built without Postgres, so it cannot use that --store: run it with \
         `cargo run -p squidmesh-examples --features postgres -- …`"
    )]
    WithoutPostgres,
    /// The database could not be connected.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Opens the store in the database of the options.
pub(crate) async fn open(options: &Options) -> Result<SeaOrmStore, DatabaseError> {
    let url = options.store_url();
    check(&url)?;
    Ok(SeaOrmStore::connect(&url).await?)
}

/// Checks that the program was built for the database of a URL. The store would report only its own feature.
fn check(url: &str) -> Result<(), DatabaseError> {
    let is_postgres = ["postgres:", "postgresql:"].iter().any(|scheme| url.starts_with(scheme));
    if is_postgres && cfg!(not(feature = "postgres")) { Err(DatabaseError::WithoutPostgres) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_the_program_was_not_built_for_says_how_to_build_it() {
        let refusal = |url| check(url).err().map(|error| error.to_string());
        assert_eq!(refusal("sqlite://shop.db"), None);
        for url in ["postgres://shop@host/shop", "postgresql://shop@host/shop"] {
            if cfg!(feature = "postgres") {
                assert_eq!(refusal(url), None);
            } else {
                assert!(refusal(url).unwrap().contains("--features postgres"));
            }
        }
    }
}
