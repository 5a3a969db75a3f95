mod commands;
mod crashes;
mod failover;
mod lifecycle;
mod outages;
