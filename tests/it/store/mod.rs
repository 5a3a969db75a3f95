mod history;
mod migration_rules;
mod migrations;
mod schema;
mod upgrade;
