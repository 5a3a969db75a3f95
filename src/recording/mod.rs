//! Finished recordings: taken from where Asterisk writes them, registered, kept, deleted when they are too old.
