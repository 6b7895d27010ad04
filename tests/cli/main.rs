//! The whole program, as people and pipelines run it.

mod backup;
mod bad_input;
mod browse;
mod demo;
mod json;
mod keys;
mod mask_streams;
mod masking;
mod masking_tools;
mod mount;
mod project;
mod prune;
mod readme;
mod recovery;
mod refresh_folder;
mod restore;
mod schedule;
