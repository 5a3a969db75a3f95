mod caps;
mod edges;
mod fairness;
mod offers;
mod repairs;
mod settling;
