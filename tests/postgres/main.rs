//! The whole program against real PostgreSQL servers under load.

mod bad_input;
mod history;
mod pitr;
mod project;
mod receive;
