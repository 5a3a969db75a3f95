mod crashes;
mod lifecycle;
mod outages;
