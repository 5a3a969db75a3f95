//! POSTs that may be repeated.
