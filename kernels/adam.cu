// adam: one step on flat buffers, in place.
//   m += w1 (g - m), v += w2 (g^2 - v), w <- w - decay w - lr m / (sqrt(v) root + eps), ema += ema_part (w - ema),
//   copy <- bf16(w)
//   weights, m, v, ema [n] f32 (ema may be absent)     copy [n] bf16 or absent     gradient [n] f32 or bf16
//   clip [2] f32 or absent: g is the gradient times clip[1]; if that is not finite, nothing is written
// Bias corrections are in lr and root. Four elements a thread. Each buffer is read once and written once: 28 bytes an
// element with f32 gradients, 8 more with ema, 2 more with copy. The same bits as src/ops/adam/cpu.rs.
#include "device/veridical.cuh"

struct AdamParams {
    buffer weights;
    buffer m;
    buffer v;
    buffer ema;
    buffer copy;
    buffer gradient;
    buffer clip;
    uint64_t n;
    float lr;
    float root;
    float w1;
    float w2;
    float eps;
    float decay;
    float ema_part;
    uint32_t wide;
};

struct AdamElement {
    float w, m, v;
};

DEVICE void adam_element(const AdamParams& p, float g, AdamElement& e) {
    e.m = exact_fma(p.w1, exact_add(g, -e.m), e.m);
    e.v = exact_fma(p.w2, exact_add(exact_mul(g, g), -e.v), e.v);
    float w = exact_fma(-p.decay, e.w, e.w);
    float slope = exact_div(e.m, exact_fma(exact_sqrt(e.v), p.root, p.eps));
    e.w = exact_fma(-p.lr, slope, w);
}

template <class G>
DEVICE void adam(const AdamParams& p) {
    auto weights = p.weights.as<float>();
    auto m = p.m.as<float>();
    auto v = p.v.as<float>();
    auto ema = p.ema.as<float>();
    auto copy = p.copy.as<bf16>();
    auto gradient = p.gradient.as<const G>();
    auto clip = p.clip.as<const float>();
    float factor = clip ? clip[1] : 1.0f;
    if (factor - factor != 0.0f) return;
    uint64_t vectors = p.wide ? p.n / 4 : 0;
    for (uint64_t i = global_thread(); i < vectors; i += grid_threads()) {
        vec<float, 4> vw = load_vec<4>(weights, i * 4), vm = load_vec<4>(m, i * 4), vv = load_vec<4>(v, i * 4);
        vec<G, 4> vg = load_vec<4>(gradient, i * 4);
        for (int k = 0; k < 4; ++k) {
            AdamElement e = {vw[k], vm[k], vv[k]};
            adam_element(p, exact_mul(to_float(vg[k]), factor), e);
            vw[k] = e.w;
            vm[k] = e.m;
            vv[k] = e.v;
        }
        store_vec(weights, i * 4, vw);
        store_vec(m, i * 4, vm);
        store_vec(v, i * 4, vv);
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
        AdamElement e = {weights[i], m[i], v[i]};
        adam_element(p, exact_mul(to_float(gradient[i]), factor), e);
        weights[i] = e.w;
        m[i] = e.m;
        v[i] = e.v;
        if (ema) ema[i] = follow_weight(p.ema_part, ema[i], e.w);
        if (copy) copy[i] = from_float<bf16>(e.w);
    }
}

KERNEL(adam_fwd_f32, AdamParams) { adam<float>(p); }
KERNEL(adam_fwd_bf16, AdamParams) { adam<bf16>(p); }
