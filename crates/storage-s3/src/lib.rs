//! The object store trait on S3.
