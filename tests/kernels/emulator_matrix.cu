// ldmatrix and mma.sync as they are, one warp each, and together as the smallest product of matrices.
#include "device/veridical.cuh"

struct TestMatrixParams {
    buffer a;
    buffer b;
    buffer c;
    uint32_t trans;
    uint32_t count;
};

// c[lane][j] = register j after loading `count` matrices of a [32 rows][8]; lane l gives row b[l].
KERNEL(test_ldmatrix, TestMatrixParams) {
    SHARED(bf16, tile, 32 * 8);
    auto rows = p.b.as<const uint32_t>();
    auto out = p.c.as<uint32_t>() + 4 * lane();
    store_vec(tile, 8 * lane(), load_vec<8>(p.a.as<const bf16>(), 8 * lane()));
    __syncwarp();
    auto row = tile + 8 * rows[lane()];
    if (p.count == 4) {
        uint32_t r[4];
        if (p.trans) {
            ldmatrix_x4_trans(r, row);
        } else {
            ldmatrix_x4(r, row);
        }
        for (int j = 0; j < 4; j++) out[j] = r[j];
    } else if (p.count == 2) {
        uint32_t r[2];
        if (p.trans) {
            ldmatrix_x2_trans(r, row);
        } else {
            ldmatrix_x2(r, row);
        }
        for (int j = 0; j < 2; j++) out[j] = r[j];
    } else {
        uint32_t r[1];
        if (p.trans) {
            ldmatrix_x1_trans(r, row);
        } else {
            ldmatrix_x1(r, row);
        }
        out[0] = r[0];
    }
}

// Registers in, registers out: a [lane][4] and b [lane][2] pairs of bf16, c [lane][4] f32, in place.
KERNEL(test_mma, TestMatrixParams) {
    uint32_t a[4], b[2];
    float c[4];
    for (int j = 0; j < 4; j++) a[j] = p.a.as<const uint32_t>()[4 * lane() + j];
    for (int j = 0; j < 2; j++) b[j] = p.b.as<const uint32_t>()[2 * lane() + j];
    for (int j = 0; j < 4; j++) c[j] = p.c.as<const float>()[4 * lane() + j];
    mma_m16n8k16(c, a, b);
    for (int j = 0; j < 4; j++) p.c.as<float>()[4 * lane() + j] = c[j];
}

// c [16, 8] = a [16, 16] b, with b [16, 8] row by row (trans) or [8, 16] column by column, all by ldmatrix.
KERNEL(test_tile_product, TestMatrixParams) {
    SHARED(bf16, a_tile, 16 * 16);
    SHARED(bf16, b_tile, 16 * 8);
    for (uint32_t i = lane(); i < 256; i += 32) a_tile[i] = p.a.as<const bf16>()[i];
    for (uint32_t i = lane(); i < 128; i += 32) b_tile[i] = p.b.as<const bf16>()[i];
    __syncwarp();
    uint32_t a[4], b[2];
    ldmatrix_x4(a, a_tile + (lane() % 16) * 16 + (lane() / 16) * 8);
    if (p.trans) {
        ldmatrix_x2_trans(b, b_tile + (lane() % 16) * 8);
    } else {
        ldmatrix_x2(b, b_tile + (lane() % 8) * 16 + (lane() / 8 % 2) * 8);
    }
    float c[4] = {};
    mma_m16n8k16(c, a, b);
    auto out = p.c.as<float>();
    uint32_t g = lane() / 4, t = lane() % 4;
    out[g * 8 + 2 * t] = c[0];
    out[g * 8 + 2 * t + 1] = c[1];
    out[(g + 8) * 8 + 2 * t] = c[2];
    out[(g + 8) * 8 + 2 * t + 1] = c[3];
}
