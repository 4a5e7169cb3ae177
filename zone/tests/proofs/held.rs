//! The same proofs for a file of held answers: the writer may die after any store, readers stay right
//! while it is killed, and no bytes lead them astray.

#[path = "held/asking.rs"]
mod asking;
#[path = "held/hostile.rs"]
mod hostile;
#[path = "held/race.rs"]
mod race;
#[path = "held/replay.rs"]
mod replay;
#[path = "held/run.rs"]
mod run;
#[path = "held/soak.rs"]
mod soak;
#[path = "held/soak_writer.rs"]
mod soak_writer;
