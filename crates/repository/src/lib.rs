//! The repository engine: chunks, packs, index, snapshots, keys, receipts and the stored format.
