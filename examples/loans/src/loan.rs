//! The table of loans: the service's own rows, in the same database as the runs.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{IntoActiveModel, Schema};
use serde::Serialize;
use squidmesh_core::RunId;

use crate::application::Application;

/// A loan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveEntityModel)]
#[sea_orm(table_name = "loans")]
pub struct Model {
    /// The client's number of the loan.
    #[sea_orm(primary_key, auto_increment = false)]
    pub loan_id: String,
    /// The applicant.
    pub customer: String,
    /// The amount, in cents.
    pub amount_cents: i64,
    /// The state of the loan.
    pub state: State,
    /// Why it was declined.
    pub reason: Option<String>,
    /// The run of the workflow `loan` that decides about it.
    pub run_id: Uuid,
}

/// The state of a loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)")]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Taken in, and not decided yet.
    #[sea_orm(string_value = "applied")]
    Applied,
    /// Approved and paid out. Final.
    #[sea_orm(string_value = "paid_out")]
    PaidOut,
    /// Declined. Final.
    #[sea_orm(string_value = "declined")]
    Declined,
}

/// The table refers to no other.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns the id of the loan's run.
    pub fn run(&self) -> RunId {
        RunId::from_uuid(self.run_id)
    }

    /// Returns whether the row has the contents of this application.
    pub fn is_of(&self, application: &Application) -> bool {
        (self.customer.as_str(), self.amount_cents) == (application.customer.as_str(), application.amount_cents)
    }
}

/// Creates the table if it is missing. A service in production uses migrations.
///
/// # Errors
/// Returns the database's error.
pub async fn create_table(database: &impl ConnectionTrait) -> Result<(), DbErr> {
    let schema = Schema::new(database.get_database_backend());
    database.execute(&schema.create_table_from_entity(Entity).if_not_exists().take()).await.map(drop)
}

/// Returns the row of an application, and whether it is new. An existing row stays as it is.
///
/// # Errors
/// Returns the database's error.
pub async fn insert(
    database: &impl ConnectionTrait,
    application: &Application,
    run: RunId,
) -> Result<(Model, bool), DbErr> {
    let row = Model {
        loan_id: application.loan_id.clone(),
        customer: application.customer.clone(),
        amount_cents: application.amount_cents,
        state: State::Applied,
        reason: None,
        run_id: run.as_uuid(),
    };
    let once = OnConflict::column(Column::LoanId).do_nothing().to_owned();
    let insert = Entity::insert(row.clone().into_active_model()).on_conflict(once);
    match insert.exec_without_returning(database).await? {
        0 => Ok((find(database, &row.loan_id).await?.unwrap_or(row), false)),
        _ => Ok((row, true)),
    }
}

/// Returns a loan.
///
/// # Errors
/// Returns the database's error.
pub async fn find(database: &impl ConnectionTrait, loan_id: &str) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(loan_id).one(database).await
}

/// Writes the final state of a loan.
///
/// # Errors
/// Returns the database's error.
pub async fn close(
    database: &impl ConnectionTrait,
    loan_id: &str,
    state: State,
    reason: Option<String>,
) -> Result<(), DbErr> {
    let loan = Entity::update_many().filter(Column::LoanId.eq(loan_id));
    let closed = loan.col_expr(Column::State, Expr::value(state)).col_expr(Column::Reason, Expr::value(reason));
    closed.exec(database).await.map(drop)
}
