//! Decisions without I/O: retention, due times, residency, environment rules, objectives.
