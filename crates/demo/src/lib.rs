//! The webshop that the demo and the tests back up: a generator and a live writer.
