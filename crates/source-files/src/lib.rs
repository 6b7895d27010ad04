//! Reads folders for a backup and puts them back.
