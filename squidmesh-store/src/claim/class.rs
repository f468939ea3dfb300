//! The classes of intents in claim order, as conditions of the indexes that are walked for them.

use squidmesh_core::port::{ClaimRequest, Takeover};

use crate::sql::{Kept, Sql};

/// The classes. An expired lease comes first: its step has already waited for the lease to expire, and must not
/// wait for a backlog as well. The number in a condition is the priority; the condition on the time is that of the
/// index.
pub(crate) const CLASSES: [&str; 4] = [
    "lease IS NOT NULL",
    "lease IS NULL AND priority = 0 AND available_at >= -9223372036854775807",
    "lease IS NULL AND priority = 1 AND available_at >= -9223372036854775807",
    "lease IS NULL AND priority = 2 AND available_at >= -9223372036854775807",
];

/// On SQLite, a column may hold a value of any type: a row without a valid id or due time cannot be claimed, and
/// must not block the claims of others.
const SOUND: &str = " AND typeof(run_id) = 'blob' AND length(run_id) = 16 AND typeof(available_at) = 'integer'";

/// Adds the condition of a class.
pub(crate) fn of_class(sql: Sql, class: usize) -> Sql {
    sound(sql.push(CLASSES.get(class).copied().unwrap_or("false")))
}

/// Adds to a condition: only rows that can be claimed.
pub(crate) fn sound(sql: Sql) -> Sql {
    sql.on_sqlite(SOUND)
}

/// The class of leased intents.
const HELD: usize = 0;

/// Which leased intents may be claimed once their leases have expired, in a numbered statement.
#[derive(Clone, Copy, Debug)]
enum Expired {
    All,
    Nothing,
    /// All but those held under these tokens.
    Except(Kept),
}

/// The queues and versions that a process serves, in a numbered statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub(crate) queues: Kept,
    pub(crate) versions: Kept,
    expired: Expired,
}

impl Served {
    /// Stores those of a claim, with the leased intents that it may take over.
    pub(super) fn of(sql: Sql, request: &ClaimRequest) -> (Sql, Served) {
        let (sql, served) = Served::keep(sql, &request.queues, &request.fingerprints);
        match &request.takeover {
            Takeover::Except(own) => {
                let own = sql.token_list(own);
                let (sql, own) = sql.keep(own);
                (sql, Served { expired: Expired::Except(own), ..served })
            }
            _ => (sql, Served { expired: Expired::Nothing, ..served }),
        }
    }

    /// Stores queues and versions for a statement that takes over all leased intents.
    pub(super) fn keep(sql: Sql, queues: &[impl ToString], versions: &[impl ToString]) -> (Sql, Served) {
        let (sql, queues) = sql.keep_texts(queues.iter().map(ToString::to_string));
        let (sql, versions) = sql.keep_texts(versions.iter().map(ToString::to_string));
        (sql, Served { queues, versions, expired: Expired::All })
    }

    /// Adds the condition of a class, without intents that must not be taken over.
    pub(crate) fn of_class(self, sql: Sql, class: usize) -> Sql {
        let sql = of_class(sql, class);
        match self.expired {
            Expired::Nothing if class == HELD => sql.push(" AND FALSE"),
            Expired::Except(own) if class == HELD => sql.push(" AND ").none_of("lease", |sql| sql.put(own)),
            _ => sql,
        }
    }

    /// Adds the condition that an intent belongs to these queues and versions.
    ///
    /// SQLite builds a table of the names before it compares the first one, which costs more than the rest of a
    /// claim if there are many. Most of the rows examined are wanted, and are found in the text of the list; the
    /// table is built for those that are not. A name that contains a quotation mark differs in that text.
    pub(crate) fn condition(self, sql: Sql) -> Sql {
        let sql = if sql.is_postgres() {
            sql.push("(")
        } else {
            let sql = sql.push("((instr(queue, '\"') = 0 AND instr(").put(self.queues);
            let sql = sql.push(", '\"' || queue || '\"') > 0 AND instr(").put(self.versions);
            sql.push(", '\"' || fingerprint || '\"') > 0) OR (")
        };
        let sql = sql.push("queue").among(self.queues).push(" AND fingerprint").among(self.versions).push(")");
        sql.on_sqlite(")")
    }
}
