//! Layered configuration: lifeboat.toml, environment overrides, schedules, with the origin of each value.
