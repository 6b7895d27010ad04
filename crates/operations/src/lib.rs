//! One file per verb: backup, restore, verify, replicate, refresh, status.
