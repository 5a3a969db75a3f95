mod config;
mod ops;
