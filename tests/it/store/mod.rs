mod connections;
mod migrations;
mod numbers;
mod schema;
