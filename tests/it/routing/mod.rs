mod by_hand;
mod caps;
mod edges;
mod fairness;
mod numbers;
mod offers;
mod repairs;
mod settling;
