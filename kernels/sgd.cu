// sgd: one step on flat buffers, in place.
//   d = g + decay w; with squares s: s += part (d^2 - s), d = d / (sqrt(s) + eps); with momentum b: b = mu b + d, d =
//   nesterov ? d + mu b : b;
//   w -= lr d, ema += ema_part (w - ema), copy <- bf16(w)
//   weights, momentum, squares, ema [n] f32 (all but the weights may be absent)     copy [n] bf16 or absent
//   gradient [n] f32 or bf16     clip [2] f32 or absent: g is the gradient times clip[1]; if that is not finite,
//   nothing is written
// Four elements a thread, where the addresses allow 16 bytes at a time (`wide`). Each buffer is read once and written
// once. The same bits as src/ops/sgd/cpu.rs.
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
    uint32_t wide;
};

struct SgdElement {
    float w, momentum, square;
};

DEVICE void sgd_element(const SgdParams& p, float g, SgdElement& e) {
    float d = exact_fma(p.decay, e.w, g);
    if (p.squares) {
        e.square = exact_fma(p.part, exact_add(exact_mul(d, d), -e.square), e.square);
        d = exact_div(d, exact_add(exact_sqrt(e.square), p.eps));
    }
    if (p.momentum) {
        e.momentum = exact_fma(p.mu, e.momentum, d);
        d = p.nesterov ? exact_fma(p.mu, e.momentum, d) : e.momentum;
    }
    e.w = exact_fma(-p.lr, d, e.w);
}

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
    uint64_t vectors = p.wide ? p.n / 4 : 0;
    for (uint64_t i = global_thread(); i < vectors; i += grid_threads()) {
        vec<float, 4> vw = load_vec<4>(weights, i * 4), vb = {}, vs = {};
        vec<G, 4> vg = load_vec<4>(gradient, i * 4);
        if (momentum) vb = load_vec<4>(momentum, i * 4);
        if (squares) vs = load_vec<4>(squares, i * 4);
        for (int k = 0; k < 4; ++k) {
            SgdElement e = {vw[k], vb[k], vs[k]};
            sgd_element(p, exact_mul(to_float(vg[k]), factor), e);
            vw[k] = e.w;
            vb[k] = e.momentum;
            vs[k] = e.square;
        }
        store_vec(weights, i * 4, vw);
        if (momentum) store_vec(momentum, i * 4, vb);
        if (squares) store_vec(squares, i * 4, vs);
        if (ema) {
            vec<float, 4> ve = load_vec<4>(ema, i * 4);
            for (int k = 0; k < 4; ++k) ve[k] = follow_weight(p.ema_part, ve[k], vw[k]);
            store_vec(ema, i * 4, ve);
        }
        if (copy) {
            vec<bf16, 4> vc;
            for (int k = 0; k < 4; ++k) vc[k] = from_float<bf16>(vw[k]);
            store_vec(copy, i * 4, vc);
        }
    }
    for (uint64_t i = vectors * 4 + global_thread(); i < p.n; i += grid_threads()) {
        SgdElement e = {weights[i], momentum ? momentum[i] : 0.0f, squares ? squares[i] : 0.0f};
        sgd_element(p, exact_mul(to_float(gradient[i]), factor), e);
        weights[i] = e.w;
        if (momentum) momentum[i] = e.momentum;
        if (squares) squares[i] = e.square;
        if (ema) ema[i] = follow_weight(p.ema_part, ema[i], e.w);
        if (copy) copy[i] = from_float<bf16>(e.w);
    }
}

KERNEL(sgd_fwd_f32, SgdParams) { sgd<float>(p); }
KERNEL(sgd_fwd_bf16, SgdParams) { sgd<bf16>(p); }
