//! The shop's side of the database: opening it, and the transactions of its steps.
//!
//! Knows the database and the catalogue. Knows nothing of workflows, though they are stored in the same database.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait};
use squidmesh_core::port::StoreError;
use squidmesh_store::SeaOrmStore;
use uuid::Uuid;

use crate::tables::{self, account, stock};

/// The articles that the shop sells, with the price of each in cents.
pub const CATALOGUE: [(&str, u32); 12] = [
    ("anchor", 18_900),
    ("barometer", 7_450),
    ("compass", 4_999),
    ("diving-bell", 129_900),
    ("fender", 1_275),
    ("flare", 899),
    ("ink-bottle", 349),
    ("lantern", 3_120),
    ("net", 2_240),
    ("oar", 1_999),
    ("sextant", 24_995),
    ("tide-table", 1_050),
];

/// The initial stock of each article.
const FIRST_DELIVERY: i64 = 100_000;

/// The shop's tables. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shop {
    store: SeaOrmStore,
}

impl Shop {
    /// Opens the shop in the database of the store: creates the missing tables, and fills the shelves of a new one.
    ///
    /// # Errors
    /// Returns a [`ShopError`]: the database's error.
    pub async fn open(store: SeaOrmStore) -> Result<Shop, ShopError> {
        let shop = Shop { store };
        let transaction = shop.begin().await?;
        tables::create(&transaction).await?;
        let account = account::ActiveModel { id: Set(1), merchant: Set(Uuid::new_v4().to_string()) };
        let once = OnConflict::column(account::Column::Id).do_nothing().to_owned();
        account::Entity::insert(account).on_conflict(once).exec_without_returning(&transaction).await?;
        let shelves = CATALOGUE.map(|(sku, _)| stock::ActiveModel {
            sku: Set(sku.to_owned()),
            received: Set(FIRST_DELIVERY),
            on_hand: Set(FIRST_DELIVERY),
            reserved: Set(0),
        });
        let once = OnConflict::column(stock::Column::Sku).do_nothing().to_owned();
        stock::Entity::insert_many(shelves).on_conflict(once).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(shop)
    }

    /// Returns the gateway's name for the shop.
    ///
    /// # Errors
    /// Returns the database's error.
    pub async fn merchant(&self) -> Result<String, DbErr> {
        let account = account::Entity::find_by_id(1).one(self.connection()).await?;
        account.map(|account| account.merchant).ok_or_else(|| DbErr::RecordNotFound("the shop's account".to_owned()))
    }

    /// Returns the store that shares the database.
    pub fn store(&self) -> &SeaOrmStore {
        &self.store
    }

    /// Returns a connection for reading.
    pub fn connection(&self) -> &DatabaseConnection {
        self.store.connection()
    }

    /// Begins a transaction that writes. Dropped without a commit, it is rolled back.
    ///
    /// # Errors
    /// Returns the store's error: the database cannot be reached or is too busy.
    pub async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        self.store.begin().await
    }
}

/// Why the shop did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShopError {
    /// No transaction could be begun.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tables could not be created or filled.
    #[error("the shop's tables could not be made or filled")]
    Tables(#[from] DbErr),
}
