// The border between kernels compiled for the host and the emulator (src/backend/emulator/abi.rs, which must agree with
// every declaration here).
#pragma once

#include <stddef.h>
#include <stdint.h>

struct uint3 { uint32_t x, y, z; };
using dim3 = uint3;

namespace veridical {
namespace host {

// First and one past the last byte that a pointer may be used for.
struct Range {
    uintptr_t begin = 0;
    uintptr_t end = 0;
};

// Where the CUDA thread that runs now stands. The scheduler sets it before it lets a thread go on.
struct Context {
    uint3 thread;
    uint3 block;
    uint3 block_dim;
    uint3 grid_dim;
    void* block_state;
    char* dynamic_shared;
    uint64_t dynamic_bytes;
    uint64_t watched;  // whether the emulator wants to know of every use of shared memory
    uint64_t cluster_rank;
};

// An access outside of its range, or at an address that is no multiple of `align`.
struct Access {
    uintptr_t address;
    uint32_t bytes;
    uint32_t align;
    Range range;
    bool shared;
    bool read;
};

// A box of a tensor on its way to shared memory, to `to` and at most to `end`; or to that place in each of the blocks
// of the cluster that have a bit in `blocks`, if it has any.
struct BoxLoad {
    uintptr_t to;
    uintptr_t end;
    const void* map;
    const int32_t* at;
    uint32_t axes;
    uintptr_t barrier;
    uint32_t blocks;
};

// One thread's part in a product of its warpgroup: `count` sums, and of both factors the descriptors, and whether their
// lines stand side by side.
struct WarpgroupMultiply {
    float* sums;
    uint32_t count;
    uint32_t add;
    uint64_t a;
    uint64_t b;
    uint32_t transposed[2];
};

// What kernels ask of the emulator. Every function takes Context::block_state first.
struct Runtime {
    // The allocation that holds `address`; an empty range if none does.
    Range (*locate)(void* state, uint64_t address, uint32_t element);
    // Stops the launch with an error. Does not return.
    void (*bad_access)(void* state, const Access* access);
    // The block's copy of a static shared array, told apart by `site`.
    void* (*static_shared)(void* state, const void* site, const char* name, uint64_t bytes);
    // Barrier `id` among `threads` threads; 0 threads means all of the block.
    void (*barrier)(void* state, uint32_t id, uint32_t threads, bool wait);
    // Waits until every lane of `mask` has come with its `operand`; the last to come calls compute(operands by lane,
    // mask).
    void (*collective)(void* state, const char* what, uint32_t mask, void* operand,
                       void (*compute)(void* const* operands, uint32_t mask));
    // cp.async: `from` null means zeros.
    void (*async_copy)(void* state, void* to, const void* from, uint32_t bytes);
    void (*async_commit)(void* state);
    void (*async_wait)(void* state, uint32_t pending);
    // A use of shared memory, within its range, where these are watched. Does not return if it is a race.
    void (*shared_access)(void* state, uint64_t address, uint32_t bytes, bool write);
    // Hopper's (host/hopper.h).
    void (*mbarrier_init)(void* state, uint64_t address, uint32_t count);
    void (*mbarrier_init_fence)(void* state);
    // One arrival, which announces so many bytes.
    void (*mbarrier_arrive)(void* state, uint64_t address, uint32_t bytes);
    void (*mbarrier_wait)(void* state, uint64_t address, uint32_t parity);
    void (*proxy_fence)(void* state);
    void (*tensor_load)(void* state, const BoxLoad* load);
    uint32_t (*shared_window)(void* state, uint64_t address);
    void (*wgmma_fence)(void* state, float* sums, uint32_t count);
    void (*wgmma)(void* state, const WarpgroupMultiply* multiply);
    void (*wgmma_commit)(void* state);
    void (*wgmma_wait)(void* state, uint32_t pending);
    void (*set_registers)(void* state, uint32_t count, bool more);
    // The barrier of all threads of the cluster, and an arrival at an mbarrier's counterpart in one of its blocks.
    void (*cluster_barrier)(void* state);
    void (*mbarrier_arrive_at)(void* state, uint64_t address, uint32_t rank);
};

// One parameter struct as C++ sees it.
struct Field {
    const char* name;
    uint64_t offset;
    uint64_t size;
};
struct Layout {
    const char* name;
    const Field* fields;
    uint64_t count;
    uint64_t size;
};

// One kernel.
struct Kernel {
    void (*run)(const void* params);
    Layout (*layout)();
    uint32_t max_threads;
    uint32_t cluster;  // blocks that run together
};

// One per OS thread: a block never leaves the thread it started on. (__thread, as extern thread_local costs a call.)
extern __thread Context context;
extern const Runtime* runtime;

}  // namespace host
}  // namespace veridical
