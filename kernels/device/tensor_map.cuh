// The copy engine (TMA): one thread asks for a box of a tensor in global memory, and goes on. What of the box lies
// outside of the tensor is zeros, at whatever coordinates, and counts as any other byte. All bytes of the box are
// counted by an mbarrier's present phase, and are there for who has waited for it.
#pragma once

#include "bf16.cuh"
#include "mbarrier.cuh"

namespace veridical {

// What a tensor is, as src/backend/tensor_map.rs describes it: a field of a parameter struct, and used where it stands.
struct alignas(64) TensorMap {
    uint64_t words[16];
};

// Starts to copy the box at `at`, counted from the axis whose elements stand side by side, to `to`, a multiple of 128
// bytes (1024, if it is swizzled and wgmma is to read it): its lines one after the other. Swizzled, unit u of 16 bytes
// of the line that is number r in its 1024 bytes stands at u ^ r % 8.
template <int AXES>
DEVICE void tensor_load(sptr<bf16> to, const TensorMap& map, const int32_t (&at)[AXES], sptr<uint64_t> barrier) {
    static_assert(AXES >= 2 && AXES <= 4, "tensor_load knows tensors of 2 to 4 axes");
#ifdef VERIDICAL_HOST
    host::tensor_load(to.address(0, 64, 128), to.range.end, &map, at, AXES, barrier.address(0, 1, 8));
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
    uint32_t shared = shared_address(to), counts = shared_address(barrier);
    uint64_t from = reinterpret_cast<uint64_t>(&map);
    if constexpr (AXES == 2) {
        asm volatile(
            "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
            "[%0], [%1, {%3, %4}], [%2];" ::"r"(shared), "l"(from), "r"(counts), "r"(at[0]), "r"(at[1])
            : "memory");
    } else if constexpr (AXES == 3) {
        asm volatile(
            "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
            "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared), "l"(from), "r"(counts), "r"(at[0]), "r"(at[1]), "r"(at[2])
            : "memory");
    } else {
        asm volatile(
            "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
            "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared), "l"(from), "r"(counts), "r"(at[0]), "r"(at[1]),
            "r"(at[2]), "r"(at[3])
            : "memory");
    }
#else
    __trap();
#endif
}

}  // namespace veridical
