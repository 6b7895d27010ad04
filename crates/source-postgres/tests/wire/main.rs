//! What goes over the wire, against real servers of every installed version.

mod base_backup;
mod connect;
mod encryption;
mod heartbeat;
mod log;
mod receive;
mod receive_on;
mod support;
