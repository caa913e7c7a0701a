//! The functions of exponential integrators.

/// `phi_0(z) = e^z`, `phi_{k+1}(z) = (phi_k(z) - 1/k!) / z`, and `phi_k(0) = 1/k!`.
pub fn phi(k: u32, z: f64) -> f64 {
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    if z.abs() < 1.0 {
        // The recursion loses digits here: sum_j z^j / (j + k)!
        let mut term = 1.0 / factorial(k);
        let mut sum = term;
        for j in 1..25 {
            term *= z / f64::from(j + k);
            sum += term;
        }
        return sum;
    }
    (0..k).fold(z.exp(), |phi, j| (phi - 1.0 / factorial(j)) / z)
}

#[cfg(test)]
mod tests {
    use super::phi;

    #[test]
    fn both_ways_agree_where_they_meet() {
        for k in 0..5 {
            for sign in [-1.0, 1.0] {
                let (inside, outside) = (phi(k, sign * (1.0 - 1e-12)), phi(k, sign));
                approx::assert_relative_eq!(inside, outside, max_relative = 1e-11);
            }
        }
        approx::assert_relative_eq!(phi(1, 2.0), (2f64.exp() - 1.0) / 2.0, max_relative = 1e-15);
        assert_eq!(phi(3, 0.0), 1.0 / 6.0);
    }
}
