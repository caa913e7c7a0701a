//! Forward-backward deconvolution and what stands beside it: the theory on known densities, and whole runs.

#[path = "sfbd/averages.rs"]
mod averages;
#[path = "sfbd/consistency.rs"]
mod consistency;
#[path = "sfbd/contrast.rs"]
mod contrast;
#[path = "sfbd/damage.rs"]
mod damage;
#[path = "sfbd/em.rs"]
mod em;
#[path = "sfbd/losses.rs"]
mod losses;
#[path = "sfbd/runs.rs"]
mod runs;
#[path = "sfbd/sure.rs"]
mod sure;
