mod caps;
mod fairness;
mod offers;
mod repairs;
mod settling;
