// What CUDA C++ has and C++ has not, for a host compiler: indices, barriers, warp collectives, bit casts, atomics.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>

#include "host/runtime.h"

#define DEVICE inline
#define UNROLL
#define KERNEL(name, Params) KERNEL_BOUNDS(name, Params, 1024)
// `Params_layout` stands behind the file, where build/host.rs puts it: names, offsets and sizes of the fields as this
// compiler sees them.
#define KERNEL_BOUNDS(name, Params, ...) KERNEL_FOR(name, Params, 1, __VA_ARGS__, 1)
#define KERNEL_CLUSTER(name, Params, blocks, ...) KERNEL_FOR(name, Params, blocks, __VA_ARGS__, 1)
#define KERNEL_FOR(name, Params, cluster, threads, ...)                                          \
    static ::veridical::host::Layout Params##_layout();                                          \
    static void name##_body([[maybe_unused]] const Params& p);                                   \
    static void name##_run(const void* p) { name##_body(*static_cast<const Params*>(p)); }       \
    extern "C" const ::veridical::host::Kernel* veridical_kernel_##name() {                      \
        static const ::veridical::host::Kernel kernel = {name##_run, Params##_layout, threads, cluster}; \
        return &kernel;                                                                          \
    }                                                                                            \
    static void name##_body([[maybe_unused]] const Params& p)

#define threadIdx (::veridical::host::context.thread)
#define blockIdx (::veridical::host::context.block)
#define blockDim (::veridical::host::context.block_dim)
#define gridDim (::veridical::host::context.grid_dim)

struct alignas(8) uint2 { uint32_t x, y; };
struct alignas(16) uint4 { uint32_t x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace veridical {
namespace host {

// Runtime calls are out of line: they suspend the coroutine, and what a kernel cached of `context` is stale afterwards.
inline void* state() { return context.block_state; }

inline Range locate(uint64_t address, uint32_t element) {
    return address == 0 ? Range{} : runtime->locate(state(), address, element);
}

template <bool SHARED_MEMORY>
inline void check(uintptr_t address, uint32_t bytes, uint32_t align, Range range, bool read) {
    bool inside = address >= range.begin && address <= range.end && range.end - address >= bytes;
    if (__builtin_expect(!inside || (address & (align - 1)) != 0, 0)) {
        Access access = {address, bytes, align, range, SHARED_MEMORY, read};
        runtime->bad_access(state(), &access);
        __builtin_unreachable();
    }
}

// Tells the emulator of a use of shared memory, if it wants to know.
template <bool SHARED>
inline void note(const void* at, uint32_t bytes, bool write) {
    if (SHARED && context.watched) runtime->shared_access(state(), reinterpret_cast<uintptr_t>(at), bytes, write);
}

// An element of shared memory, which reads and writes as T does. Only where it stands: what `auto` made of it would
// still be the element, and not what it held.
template <class T>
class Reference {
    using Value = std::remove_const_t<T>;
    T* at;

    Value read() const {
        note<true>(at, sizeof(T), false);
        return *at;
    }
    void write(Value v) const {
        note<true>(at, sizeof(T), true);
        *at = v;
    }

public:
    explicit Reference(T& element) : at(&element) {}
    Reference(Reference&&) = default;
    operator Value() const&& { return read(); }
    void operator=(Value v) const&& { write(v); }
    void operator=(Reference&& other) const&& { write(other.read()); }
    void operator+=(Value v) const&& { write(read() + v); }
    void operator*=(Value v) const&& { write(read() * v); }
};

inline void* static_shared(const void* site, const char* name, uint64_t bytes) {
    return runtime->static_shared(state(), site, name, bytes);
}
template <class P, class T>
inline P shared_array(T* at, uint64_t bytes) {
    P p;
    p.at = at;
    p.range.begin = reinterpret_cast<uintptr_t>(at);
    p.range.end = p.range.begin + bytes;
    return p;
}
template <class P, class T>
inline P dynamic_shared() {
    return shared_array<P>(reinterpret_cast<T*>(context.dynamic_shared), context.dynamic_bytes);
}

inline void barrier(uint32_t id, uint32_t threads, bool wait) { runtime->barrier(state(), id, threads, wait); }
inline void async_copy(void* to, const void* from, uint32_t bytes) { runtime->async_copy(state(), to, from, bytes); }
inline void async_commit() { runtime->async_commit(state()); }
inline void async_wait(uint32_t pending) { runtime->async_wait(state(), pending); }
inline uint32_t lane_of(const uint3& t) { return t.x % 32; }

template <class To, class From>
inline To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}

// A shuffle: each lane brings a value and the lane it wants to read.
template <class T>
struct Shuffle {
    T value;
    uint32_t source;
    T result;
};
template <class T>
inline T shuffle(const char* what, uint32_t mask, T value, uint32_t source) {
    static_assert(std::is_arithmetic<T>::value, "a shuffle moves a number");
    Shuffle<T> s = {value, source, value};
    runtime->collective(state(), what, mask, &s, [](void* const* lanes, uint32_t mask) {
        for (uint32_t l = 0; l < 32; l++) {
            if ((mask >> l & 1) == 0) continue;
            Shuffle<T>* s = static_cast<Shuffle<T>*>(lanes[l]);
            if (mask >> s->source & 1) {
                s->result = static_cast<Shuffle<T>*>(lanes[s->source])->value;
            } else {
                memset(&s->result, 0xff, sizeof(T));  // undefined on the device: a lane that takes no part was read
            }
        }
    });
    return s.result;
}

// Five xor shuffles and joins in one meeting of the warp: the same operations in the same order, and fewer switches.
template <class T>
struct Butterfly {
    T value;
    T (*join)(T, T);
};
template <class T>
inline T warp_butterfly(T value, T (*join)(T, T)) {
    Butterfly<T> b = {value, join};
    runtime->collective(state(), "a warp reduction", 0xffffffffu, &b, [](void* const* lanes, uint32_t) {
        T v[32], w[32];
        for (uint32_t l = 0; l < 32; l++) v[l] = static_cast<Butterfly<T>*>(lanes[l])->value;
        T (*join)(T, T) = static_cast<Butterfly<T>*>(lanes[0])->join;
        for (uint32_t step = 16; step > 0; step /= 2) {
            for (uint32_t l = 0; l < 32; l++) w[l] = join(v[l], v[l ^ step]);
            memcpy(v, w, sizeof(v));
        }
        for (uint32_t l = 0; l < 32; l++) static_cast<Butterfly<T>*>(lanes[l])->value = v[l];
    });
    return b.value;
}

struct Ballot {
    bool vote;
    uint32_t result;
};
inline uint32_t ballot(const char* what, uint32_t mask, bool vote) {
    Ballot b = {vote, 0};
    runtime->collective(state(), what, mask, &b, [](void* const* lanes, uint32_t mask) {
        uint32_t votes = 0;
        for (uint32_t l = 0; l < 32; l++) {
            if (mask >> l & 1) votes |= (uint32_t)static_cast<Ballot*>(lanes[l])->vote << l;
        }
        for (uint32_t l = 0; l < 32; l++) {
            if (mask >> l & 1) static_cast<Ballot*>(lanes[l])->result = votes;
        }
    });
    return b.result;
}

}  // namespace host
}  // namespace veridical

inline void __syncthreads() { ::veridical::host::barrier(0, 0, true); }
inline void __syncwarp(uint32_t mask = 0xffffffffu) {
    ::veridical::host::runtime->collective(::veridical::host::state(), "__syncwarp", mask, nullptr,
                                           [](void* const*, uint32_t) {});
}
// A fence orders; each thread here already sees its block's writes in order.
inline void __threadfence_block() {}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

template <class T>
inline T __shfl_sync(uint32_t mask, T v, uint32_t source, uint32_t width = 32) {
    uint32_t l = ::veridical::host::lane_of(threadIdx);
    return ::veridical::host::shuffle("__shfl_sync", mask, v, (l & ~(width - 1)) | (source & (width - 1)));
}
template <class T>
inline T __shfl_xor_sync(uint32_t mask, T v, uint32_t lane_mask, uint32_t width = 32) {
    uint32_t l = ::veridical::host::lane_of(threadIdx), source = l ^ lane_mask;
    return ::veridical::host::shuffle("__shfl_xor_sync", mask, v, source <= (l | (width - 1)) ? source % 32 : l);
}
template <class T>
inline T __shfl_down_sync(uint32_t mask, T v, uint32_t delta, uint32_t width = 32) {
    uint32_t l = ::veridical::host::lane_of(threadIdx), source = l + delta;
    return ::veridical::host::shuffle("__shfl_down_sync", mask, v, source <= (l | (width - 1)) ? source : l);
}
template <class T>
inline T __shfl_up_sync(uint32_t mask, T v, uint32_t delta, uint32_t width = 32) {
    uint32_t l = ::veridical::host::lane_of(threadIdx);
    return ::veridical::host::shuffle("__shfl_up_sync", mask, v, (l & (width - 1)) >= delta ? l - delta : l);
}
inline uint32_t __ballot_sync(uint32_t mask, int vote) {
    return ::veridical::host::ballot("__ballot_sync", mask, vote != 0);
}
inline int __any_sync(uint32_t mask, int vote) { return ::veridical::host::ballot("__any_sync", mask, vote != 0) != 0; }
inline int __all_sync(uint32_t mask, int vote) {
    return ::veridical::host::ballot("__all_sync", mask, vote != 0) == mask;
}

inline uint32_t __float_as_uint(float f) { return ::veridical::host::bit_cast<uint32_t>(f); }
inline int32_t __float_as_int(float f) { return ::veridical::host::bit_cast<int32_t>(f); }
inline float __uint_as_float(uint32_t u) { return ::veridical::host::bit_cast<float>(u); }
inline float __int_as_float(int32_t i) { return ::veridical::host::bit_cast<float>(i); }
inline int64_t __double_as_longlong(double d) { return ::veridical::host::bit_cast<int64_t>(d); }
inline double __longlong_as_double(int64_t i) { return ::veridical::host::bit_cast<double>(i); }
// The rounded operations, which no compiler may contract (the host build has -ffp-contract=off).
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }
inline float __uint2float_rn(uint32_t u) { return (float)u; }
inline float __int2float_rn(int32_t i) { return (float)i; }
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return (uint32_t)((uint64_t)a * b >> 32); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) { return (uint64_t)((unsigned __int128)a * b >> 64); }
inline int __popc(uint32_t u) { return __builtin_popcount(u); }
inline int __clz(uint32_t u) { return u == 0 ? 32 : __builtin_clz(u); }
inline int __ffs(uint32_t u) { return __builtin_ffs((int)u); }

template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }

// Integer atomics (blocks may run on several OS threads). Float atomics are left out on purpose: their sum depends on
// the order.
template <class T>
inline std::enable_if_t<std::is_integral<T>::value, T> atomicAdd(T* p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }
template <class T>
inline std::enable_if_t<std::is_integral<T>::value, T> atomicOr(T* p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); }
template <class T>
inline std::enable_if_t<std::is_integral<T>::value, T> atomicExch(T* p, T v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
template <class T>
inline std::enable_if_t<std::is_integral<T>::value, T> atomicCAS(T* p, T expected, T v) {
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return expected;
}
template <class T>
inline std::enable_if_t<std::is_integral<T>::value, T> atomicMax(T* p, T v) {
    T old = __atomic_load_n(p, __ATOMIC_SEQ_CST);
    while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    return old;
}
