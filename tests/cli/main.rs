//! The whole program, as people and pipelines run it.

mod backup;
mod bad_input;
mod demo;
mod masking;
mod project;
mod readme;
mod recovery;
mod schedule;
