//! Interpolating polynomials and their integrals.

/// The Lagrange polynomial through `nodes` that is 1 at `nodes[j]`, at `t`.
pub fn basis(nodes: &[f64], j: usize, t: f64) -> f64 {
    let others = nodes.iter().enumerate().filter(|(k, _)| *k != j);
    others.map(|(_, node)| (t - node) / (nodes[j] - node)).product()
}

/// The integral of `f` from `a` to `b` by Gauss's rule with `N` points: exact for polynomials of degree `2 N - 1`.
pub fn integral<const N: usize>(a: f64, b: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (centre, half) = ((a + b) / 2.0, (b - a) / 2.0);
    (0..N)
        .map(|i| {
            let (x, weight) = legendre::<N>(i);
            weight * f(centre + half * x)
        })
        .sum::<f64>()
        * half
}

/// Root `i` of the Legendre polynomial of degree `N`, by Newton's method, and the rule's weight there.
fn legendre<const N: usize>(i: usize) -> (f64, f64) {
    let n = N as f64;
    let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
    let mut slope = 1.0;
    for _ in 0..50 {
        let (mut p, mut before) = (1.0, 0.0);
        for k in 1..=N {
            let k = k as f64;
            (p, before) = (((2.0 * k - 1.0) * x * p - (k - 1.0) * before) / k, p);
        }
        slope = n * (x * p - before) / (x * x - 1.0);
        let step = p / slope;
        x -= step;
        if step.abs() < 1e-16 {
            break;
        }
    }
    (x, 2.0 / ((1.0 - x * x) * slope * slope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_exact_for_its_polynomials() {
        let f = |x: f64| 7.0 * x.powi(6) - 3.0 * x * x + 1.0;
        approx::assert_relative_eq!(integral::<4>(-1.0, 2.0, f), 129.0 - 9.0 + 3.0, max_relative = 1e-14);
        approx::assert_relative_eq!(integral::<16>(0.0, 1.0, f64::exp), 1f64.exp() - 1.0, max_relative = 1e-14);
    }

    #[test]
    fn a_basis_polynomial_is_one_at_its_node() {
        let nodes = [3.0, 1.0, 0.5];
        for j in 0..3 {
            for k in 0..3 {
                assert_eq!(basis(&nodes, j, nodes[k]), if j == k { 1.0 } else { 0.0 });
            }
        }
    }
}
