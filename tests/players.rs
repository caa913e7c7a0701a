//! The room of games against closed forms and reference values.

#[path = "players/equilibrium.rs"]
mod equilibrium;
#[path = "players/estimators.rs"]
mod estimators;
#[path = "players/triple.rs"]
mod triple;
