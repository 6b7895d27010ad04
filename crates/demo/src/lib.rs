//! The webshop that the demo and the tests back up: a generator and a live writer.
//!
//! It owns an ordinary SQLite database with people in it who never lived, and a program that keeps
//! writing to it the way a shop does. It must never know what a repository, a backup or a masking
//! rule is: what it makes has to be as foreign to Lifeboat as any customer's database.
//!
//! Everything is drawn from a seed, so that one seed always gives the same shop.

mod config_folder;
mod country;
mod error;
mod notes;
mod numbers;
mod orders;
mod originals;
mod people;
mod schema;
mod shop;
mod writer;

pub use config_folder::ConfigFolder;
pub use error::DemoError;
pub use originals::originals;
pub use schema::INVARIANT_SQL;
pub use shop::{Shop, ShopOptions, ShopStats};
pub use writer::{Commit, ShopWriter};
