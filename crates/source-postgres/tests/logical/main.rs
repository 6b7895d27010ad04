//! Logical copies of real databases: everything arrives, in the state of one moment, and the copy takes
//! the old one's place without a moment in between.

mod errors;
mod keys;
mod moment;
mod oddities;
mod publish;
mod speed;
mod support;
