//! Loops on own samples against their exact expectations: the recursion, its limits, and the laws of every family and
//! arm.

mod categorical;
mod families;

use veridical::methods::self_consuming::{Arm, Family, Law, Measured, Plan, Settings, simulate};

/// A plan by the command line's forms.
fn plan(arm: Arm, rounds: usize, alpha: &str, samples: &str, law: Option<&Law>) -> Plan {
    Plan::new(arm, rounds, &alpha.parse().unwrap(), &samples.parse().unwrap(), law).unwrap()
}

fn run<F: Family>(family: &F, plan: &Plan, repeats: u32, seed: u64) -> Vec<Measured> {
    simulate(family, plan, &Settings { repeats, seed, ..Settings::default() }).unwrap().measures
}

/// Every round's mean is within `errors` standard errors of theory.
fn agrees(what: &str, found: &Measured, errors: f64) {
    let theory = found.theory.as_ref().unwrap_or_else(|| panic!("{what}: {} has no theory", found.name));
    assert_eq!(theory.len(), found.mean.len());
    for (t, ((mean, error), theory)) in found.mean.iter().zip(&found.stderr).zip(theory).enumerate() {
        let allowed = errors * error + 1e-12 * theory.abs();
        assert!(
            (mean - theory).abs() <= allowed,
            "{what}: {} in round {t} is {mean} ± {error}, theory {theory}: {:.2} standard errors",
            found.name,
            (mean - theory) / error
        );
    }
}
