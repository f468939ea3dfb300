//! Goods: reserved for an order, released, picked and shipped.
//!
//! Each function changes the goods of one order in the caller's transaction, and changes nothing when it was done
//! before. Articles are always taken in the same order, so that two orders never deadlock.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder};

use crate::orders::Order;
use crate::tables::reservations::State;
use crate::tables::{reservations, stock};

/// Why goods were not reserved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// There is not enough of an article, or no such article.
    #[error("{sku} is not to be had in that quantity")]
    SoldOut {
        /// The article.
        sku: String,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Reserves the goods of an order.
///
/// # Errors
/// Returns a [`ReserveError`]: roll the transaction back.
pub async fn reserve(database: &impl ConnectionTrait, order: &Order) -> Result<(), ReserveError> {
    let mut lines: Vec<_> = order.lines.iter().collect();
    lines.sort_by_key(|line| &line.sku);
    for line in lines {
        let quantity = i64::from(line.quantity);
        let row = reservations::ActiveModel {
            order_id: Set(order.order_id.clone()),
            sku: Set(line.sku.clone()),
            quantity: Set(quantity),
            state: Set(State::Reserved),
        };
        let key =
            OnConflict::columns([reservations::Column::OrderId, reservations::Column::Sku]).do_nothing().to_owned();
        let inserted = reservations::Entity::insert(row).on_conflict(key).exec_without_returning(database).await?;
        if inserted == 0 {
            continue; // put aside before
        }
        let taken = stock::Entity::update_many()
            .col_expr(stock::Column::OnHand, Expr::col(stock::Column::OnHand).sub(quantity))
            .col_expr(stock::Column::Reserved, Expr::col(stock::Column::Reserved).add(quantity))
            .filter(stock::Column::Sku.eq(&line.sku))
            .filter(stock::Column::OnHand.gte(quantity))
            .exec(database)
            .await?;
        if taken.rows_affected == 0 {
            return Err(ReserveError::SoldOut { sku: line.sku.clone() });
        }
    }
    Ok(())
}

/// Releases the goods of an order to the shelves.
///
/// # Errors
/// Returns the database's error.
pub async fn release(database: &impl ConnectionTrait, order_id: &str) -> Result<(), DbErr> {
    for moved in move_all(database, order_id, State::Reserved, State::Released).await? {
        change_stock(database, &moved, moved.quantity).await?;
    }
    Ok(())
}

/// Picks the goods of an order.
///
/// # Errors
/// Returns the database's error.
pub async fn pick(database: &impl ConnectionTrait, order_id: &str) -> Result<(), DbErr> {
    move_all(database, order_id, State::Reserved, State::Picked).await.map(drop)
}

/// Ships the picked goods of an order.
///
/// # Errors
/// Returns the database's error.
pub async fn ship(database: &impl ConnectionTrait, order_id: &str) -> Result<(), DbErr> {
    for moved in move_all(database, order_id, State::Picked, State::Shipped).await? {
        change_stock(database, &moved, 0).await?;
    }
    Ok(())
}

/// Moves the goods that an order has in one state to another, and returns what moved.
async fn move_all(
    database: &impl ConnectionTrait,
    order_id: &str,
    from: State,
    to: State,
) -> Result<Vec<reservations::Model>, DbErr> {
    let found = reservations::Entity::find()
        .filter(reservations::Column::OrderId.eq(order_id))
        .filter(reservations::Column::State.eq(from))
        .order_by_asc(reservations::Column::Sku)
        .all(database)
        .await?;
    let mut moved = Vec::with_capacity(found.len());
    for row in found {
        // The state is checked again: of two attempts that found the row, only one moves it.
        let update = reservations::Entity::update_many()
            .col_expr(reservations::Column::State, Expr::value(to))
            .filter(reservations::Column::OrderId.eq(order_id))
            .filter(reservations::Column::Sku.eq(&row.sku))
            .filter(reservations::Column::State.eq(from))
            .exec(database)
            .await?;
        if update.rows_affected == 1 {
            moved.push(row);
        }
    }
    Ok(moved)
}

/// Removes reserved goods from the reservations, and returns a part of them to the shelf.
async fn change_stock(
    database: &impl ConnectionTrait,
    reservation: &reservations::Model,
    put_back: i64,
) -> Result<(), DbErr> {
    stock::Entity::update_many()
        .col_expr(stock::Column::Reserved, Expr::col(stock::Column::Reserved).sub(reservation.quantity))
        .col_expr(stock::Column::OnHand, Expr::col(stock::Column::OnHand).add(put_back))
        .filter(stock::Column::Sku.eq(&reservation.sku))
        .exec(database)
        .await
        .map(drop)
}
