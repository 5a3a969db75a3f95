mod commands;
mod crashes;
mod lifecycle;
mod outages;
