//! Reads TOML that people write into typed values, collecting every problem with its place.
//!
//! [`parse`] gives a tree in which each value knows the file and bytes it came from, so that
//! layers can be merged without forgetting who said what. [`Reader`] takes typed values out of a
//! table, notes a problem for each one that does not fit, and at the end for each key nobody asked
//! for. Nothing here stops at the first mistake.

mod duration;
mod reader;
mod tree;

pub use duration::{InvalidDuration, parse_duration};
pub use reader::{Reader, suggest};
pub use tree::{Key, Node, Origin, Table, Value, parse};
