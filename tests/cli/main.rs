//! The whole program, as people and pipelines run it.

mod backup;
mod bad_input;
mod demo;
mod keys;
mod masking;
mod project;
mod readme;
mod recovery;
mod restore;
