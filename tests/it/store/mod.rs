mod migrations;
mod numbers;
mod schema;
