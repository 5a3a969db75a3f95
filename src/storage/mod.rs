//! Where finished recordings are kept: a directory, or S3-compatible object storage.
