mod connections;
mod migrations;
mod schema;
