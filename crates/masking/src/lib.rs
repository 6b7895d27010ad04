//! Masking rules, transformers, the parallel engine and leak verification. Bytes in, bytes out.
