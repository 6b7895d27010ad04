//! Reads SQLite databases consistently under concurrent writers, fingerprints them and puts them back.
