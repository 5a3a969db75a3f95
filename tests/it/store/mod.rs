mod connections;
mod history;
mod migration_rules;
mod migrations;
mod numbers;
mod schema;
mod upgrade;
