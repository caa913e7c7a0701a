// sgd: one step on flat buffers, in place.
//   d = g + decay w; with squares s: s += part (d^2 - s), d = d / (sqrt(s) + eps); with momentum b: b = mu b + d, d = nesterov ? d + mu b : b;
//   w -= lr d, ema += ema_part (w - ema), copy <- bf16(w)
//   weights, momentum, squares, ema [n] f32 (all but the weights may be absent)     copy [n] bf16 or absent
//   gradient [n] f32 or bf16     clip [2] f32 or absent: g is the gradient times clip[1]; if that is not finite, nothing is written
// One element a thread, neighbours side by side. Each buffer is read once and written once. The same bits as src/ops/sgd/cpu.rs.
#include "device/veridical.cuh"

struct SgdParams {
    buffer weights;
    buffer momentum;
    buffer squares;
    buffer ema;
    buffer copy;
    buffer gradient;
    buffer clip;
    uint64_t n;
    float lr;
    float mu;
    float decay;
    float part;
    float eps;
    float ema_part;
    uint32_t nesterov;
    uint32_t unused;
};
LAYOUT(SgdParams, weights, momentum, squares, ema, copy, gradient, clip, n, lr, mu, decay, part, eps, ema_part, nesterov, unused)

template <class G>
DEVICE void sgd(const SgdParams& p) {
    auto weights = p.weights.as<float>();
    auto momentum = p.momentum.as<float>();
    auto squares = p.squares.as<float>();
    auto ema = p.ema.as<float>();
    auto copy = p.copy.as<bf16>();
    auto gradient = p.gradient.as<const G>();
    auto clip = p.clip.as<const float>();
    float factor = clip ? clip[1] : 1.0f;
    if (factor - factor != 0.0f) return;
    for (uint64_t i = global_thread(); i < p.n; i += grid_threads()) {
        float w = weights[i];
        float d = exact_fma(p.decay, w, exact_mul(to_float(gradient[i]), factor));
        if (squares) {
            float s = squares[i];
            s = exact_fma(p.part, exact_add(exact_mul(d, d), -s), s);
            squares[i] = s;
            d = exact_div(d, exact_add(exact_sqrt(s), p.eps));
        }
        if (momentum) {
            float b = exact_fma(p.mu, momentum[i], d);
            momentum[i] = b;
            d = p.nesterov ? exact_fma(p.mu, b, d) : b;
        }
        w = exact_fma(-p.lr, d, w);
        weights[i] = w;
        if (ema) ema[i] = follow_weight(p.ema_part, ema[i], w);
        if (copy) copy[i] = from_float<bf16>(w);
    }
}

KERNEL(sgd_fwd_f32, SgdParams) { sgd<float>(p); }
KERNEL(sgd_fwd_bf16, SgdParams) { sgd<bf16>(p); }
