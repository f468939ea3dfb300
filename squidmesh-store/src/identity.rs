//! The identity of a database.
//!
//! It consists of a random number in the database and of its location: a copy has the same number at another
//! location, such as another file, or another database or schema of the server.

use squidmesh_core::port::StoreError;
use uuid::Uuid;

use crate::database::Database;
use crate::error::failed;
use crate::sql::Sql;

const DOING: &str = "identifying the database";

/// Returns the identity, and creates it if the database has none yet.
pub(crate) async fn identity(database: &Database) -> Result<Option<String>, StoreError> {
    let number = match number(database).await? {
        Some(number) => number,
        None => {
            let fresh = Uuid::new_v4().simple().to_string();
            let sql =
                Sql::on(database.writer()).push("INSERT INTO squidmesh_identity (place, id) VALUES (1, ").bind(fresh);
            sql.push(") ON CONFLICT DO NOTHING").execute(database.writer()).await.map_err(failed(DOING))?;
            // Another process may have been first.
            let (what, reason) =
                ("the identity of the database".to_owned(), "is missing after it was written".to_owned());
            number(database).await?.ok_or(StoreError::Corrupt { what, reason })?
        }
    };
    Ok(Some(format!("{number}-{}", location(database).await?)))
}

async fn number(database: &Database) -> Result<Option<String>, StoreError> {
    let sql = Sql::on(database.reader()).push("SELECT id FROM squidmesh_identity WHERE place = 1");
    let rows = sql.fetch(database.reader()).await.map_err(failed(DOING))?;
    rows.first().map(|row| row.try_get_by("id").map_err(failed(DOING))).transpose()
}

/// Returns the location of the database, as far as it distinguishes copies.
async fn location(database: &Database) -> Result<String, StoreError> {
    let reader = database.reader();
    if database.is_sqlite() {
        let file = reader.file().await.map_err(failed(DOING))?;
        return Ok(format!("{:016x}", fingerprint(&file.unwrap_or_default())));
    }
    let sql = Sql::on(reader).push(
        "SELECT concat((SELECT oid FROM pg_database WHERE datname = current_database()), '-', \
         'squidmesh_identity'::regclass::oid) AS location",
    );
    let rows = sql.fetch(reader).await.map_err(failed(DOING))?;
    rows.first().map(|row| row.try_get_by("location")).transpose().map(Option::unwrap_or_default).map_err(failed(DOING))
}

/// Returns the same hash for the same text in every version and process (FNV-1a).
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
