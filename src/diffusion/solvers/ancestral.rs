//! The split of a step into a deterministic one that goes too far and noise that comes back.

/// `(down, up)` of a step from noise level `a` to `b`: solve to `down`, then add noise of standard deviation `up`.
///
/// `up = min(b, eta sqrt(b^2 (a^2 - b^2) / a^2))` and `down = sqrt(b^2 - up^2)`; with eta = 1 the noise is that of the
/// posterior of the forward process (Song, Meng & Ermon 2021, arXiv 2010.02502, equation 16), with 0 there is none.
pub fn ancestral_step(a: f64, b: f64, eta: f64) -> (f64, f64) {
    if eta == 0.0 {
        return (b, 0.0);
    }
    let up = b.min(eta * (b * b * (a * a - b * b) / (a * a)).sqrt());
    ((b * b - up * up).max(0.0).sqrt(), up)
}
