mod commands;
mod crashes;
mod failover;
mod floods;
mod lifecycle;
mod outages;
