mod history;
mod migrations;
mod schema;
