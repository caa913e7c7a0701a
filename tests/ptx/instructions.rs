//! Kernels written here by hand: what instructions do, and what is refused.

use veridical::backend::PtxModules;
use veridical::backend::gpu::{Gpu, Launch, Ptr};
use veridical::{Device, params};

params! { pub struct WordsParams { x: Ptr, y: Ptr } }

/// A kernel with the body; `%rd1` and `%rd2` are this thread's words of x and y.
fn kernel(body: &str) -> String {
    format!(
        ".version 9.0\n.target sm_90\n.address_size 64\n\
         .visible .entry test(.param .align 8 .b8 p[16])\n{{\n\
         .reg .pred %p<9>;\n.reg .b16 %rs<9>;\n.reg .b32 %r<19>;\n.reg .b64 %rd<19>;\n.shared .align 16 .b8 tile[512];\n\
         ld.param.u64 %rd1, [p];\nld.param.u64 %rd2, [p+8];\nmov.u32 %r0, %tid.x;\n\
         mad.wide.u32 %rd1, %r0, 4, %rd1;\nmad.wide.u32 %rd2, %r0, 4, %rd2;\n{body}\nret;\n}}\n"
    )
}

/// Runs the body in 32 threads, of which each has one of the words.
fn run(body: &str, x: [u32; 32]) -> veridical::Result<Vec<u32>> {
    let device = Device::ptx_of(&PtxModules::of_text("test", &kernel(body)))?;
    let Device::Gpu(gpu) = device else { panic!("an interpreter is a GPU") };
    launch(&gpu, &x)
}

fn launch(gpu: &Gpu, x: &[u32]) -> veridical::Result<Vec<u32>> {
    let (x, y) = (gpu.upload(bytemuck::cast_slice(x))?, gpu.upload(&[0; 128])?);
    // SAFETY: the interpreter checks every access.
    unsafe { gpu.launch(&Launch::blocks("test", [1, 1, 1], 32), &WordsParams { x: x.ptr(0), y: y.ptr(0) }) }?;
    let mut words = vec![0u32; 32];
    y.download(0, bytemuck::cast_slice_mut(&mut words))?;
    Ok(words)
}

fn refused(body: &str) -> String {
    run(body, [0; 32]).expect_err(body).to_string()
}

const COUNT: fn() -> [u32; 32] = || std::array::from_fn(|i| i as u32);

/// Lanes that leave a loop at different times, and an `if` within it, come together behind them.
#[test]
fn lanes_that_part_come_together_again() {
    let body = "ld.global.u32 %r1, [%rd1];\nmov.u32 %r2, 0;\n\
        L1: setp.eq.u32 %p1, %r1, 0;\n@%p1 bra L3;\nand.b32 %r3, %r1, 1;\nsetp.eq.u32 %p2, %r3, 0;\n@%p2 bra L2;\n\
        add.u32 %r2, %r2, %r1;\nL2: sub.u32 %r1, %r1, 1;\nbra.uni L1;\n\
        L3: shfl.sync.bfly.b32 %r4|%p3, %r2, 1, 31, -1;\nst.global.u32 [%rd2], %r4;";
    // The sum of the odd numbers up to n is the square of how many there are; the neighbour's comes back.
    let expected: Vec<u32> = (0..32u32).map(|i| (i ^ 1).div_ceil(2).pow(2)).collect();
    assert_eq!(run(body, COUNT()).unwrap(), expected);
}

/// 8x8 matrices of 16-bit numbers 8 r + c: what the ISA's figure says that each lane gets.
#[test]
fn ldmatrix_distributes_rows_as_the_isa_draws_it() {
    for (trans, expect) in [("", [0u32, 1]), (".trans", [0, 8])] {
        // Word i of the tile holds the numbers 2i and 2i + 1.
        let body = format!(
            "ld.global.u32 %r1, [%rd1];\nmov.u32 %r2, tile;\nmad.lo.u32 %r3, %r0, 4, %r2;\nst.shared.u32 [%r3], %r1;\n\
             bar.warp.sync -1;\nand.b32 %r4, %r0, 7;\nmad.lo.u32 %r5, %r4, 16, %r2;\n\
             ldmatrix.sync.aligned.m8n8.x1{trans}.shared.b16 {{%r6}}, [%r5];\nst.global.u32 [%rd2], %r6;"
        );
        let got = run(&body, std::array::from_fn(|i| (2 * i) as u32 | ((2 * i + 1) as u32) << 16)).unwrap();
        for (lane, word) in got.into_iter().enumerate() {
            let (group, thread) = (lane as u32 / 4, lane as u32 % 4);
            let first = if trans.is_empty() { 8 * group + 2 * thread } else { 8 * 2 * thread + group };
            let second = first + expect[1] - expect[0];
            assert_eq!([word & 0xffff, word >> 16], [first, second], "lane {lane}{trans}");
        }
    }
}

/// One element of a and one of b at a time, so that the place of their product in c shows where each is.
#[test]
fn mma_multiplies_what_the_isa_says_stands_where() {
    // a[row][k] = b[k][column] = 1, all else 0: c[row][column] = 1.
    for (row, k, column) in [(0, 0, 0), (5, 3, 2), (8, 9, 7), (13, 14, 4), (2, 8, 1), (15, 7, 6)] {
        // By the ISA: element i of a is in row g or g + 8, column 2 t + (i & 1) or that + 8.
        let lane_a = row % 8 * 4 + k % 8 / 2;
        let register_a = row / 8 + 2 * (k / 8);
        let lane_b = column * 4 + k % 8 / 2;
        let register_b = k / 8;
        let one = if k % 2 == 0 { 0x3f80u32 } else { 0x3f80 << 16 };
        let body = format!(
            "setp.eq.u32 %p1, %r0, {lane_a};\nselp.b32 %r9, {one}, 0, %p1;\nsetp.eq.u32 %p2, %r0, {lane_b};\n\
             selp.b32 %r10, {one}, 0, %p2;\nmov.b32 %r11, 0;\nmov.b32 %r12, 0;\nmov.b32 %r13, 0;\nmov.b32 %r14, 0;\n\
             mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {{%r1, %r2, %r3, %r4}}, {{{}}}, {{{}}}, \
             {{%r11, %r12, %r13, %r14}};\n\
             mov.b32 %r5, 0;\nsetp.eq.u32 %p3, %r1, 0f3F800000;\nsetp.eq.u32 %p4, %r2, 0f3F800000;\n\
             setp.eq.u32 %p5, %r3, 0f3F800000;\nsetp.eq.u32 %p6, %r4, 0f3F800000;\n@%p3 or.b32 %r5, %r5, 1;\n\
             @%p4 or.b32 %r5, %r5, 2;\n@%p5 or.b32 %r5, %r5, 4;\n@%p6 or.b32 %r5, %r5, 8;\nst.global.u32 [%rd2], %r5;",
            [0, 1, 2, 3].map(|i| if i == register_a { "%r9" } else { "%r11" }).join(", "),
            [0, 1].map(|i| if i == register_b { "%r10" } else { "%r11" }).join(", "),
        );
        let got = run(&body, [0; 32]).unwrap();
        let element = column % 2 + 2 * (row / 8);
        let expected: Vec<u32> = (0..32).map(|lane| u32::from(lane == row % 8 * 4 + column / 2) << element).collect();
        assert_eq!(got, expected, "a[{row}][{k}] b[{k}][{column}]");
    }
}

/// The upper word of `x m + x`, to which the lower word's sum carries.
#[test]
fn carries_go_from_one_instruction_to_the_next() {
    let m = 0xdead_beefu32;
    let body = format!(
        "ld.global.u32 %r1, [%rd1];\nmad.lo.cc.u32 %r3, %r1, {m}, %r1;\nmadc.hi.u32 %r1, %r1, {m}, 0;\n\
         st.global.u32 [%rd2], %r1;"
    );
    let x: [u32; 32] = std::array::from_fn(|i| (i as u32).wrapping_mul(0x0890_1235));
    let sum = |x: u32| u64::from(x) * u64::from(m) + u64::from(x);
    assert_eq!(run(&body, x).unwrap(), x.map(|x| (sum(x) >> 32) as u32));
    let carried = x.iter().filter(|&&x| sum(x) >> 32 != (u64::from(x) * u64::from(m)) >> 32).count();
    assert!((8..24).contains(&carried), "{carried}");
    assert!(refused("madc.hi.u32 %r1, %r2, %r3, 0;").contains("there is no carry"));
}

#[test]
fn accesses_outside_of_memory_name_instruction_and_lane() {
    let why = refused("st.global.u32 [%rd2+4], %r0;");
    for part in ["test <<<", "block [0, 0, 0]", "`st.global.u32 [%rd2+4], %r0;`", "lane 31", "4 bytes at 0x"] {
        assert!(why.contains(part), "{why}");
    }
    assert!(refused("ld.global.u32 %r1, [%rd1+-4];").contains("lane 0: 4 bytes at 0x"));
    assert!(refused("ld.global.u64 %rd3, [%rd1+4];").contains("no multiple of 8"));
    assert!(refused("ld.shared.u32 %r1, [tile+512];").contains("4 bytes at 512 of 512 bytes of shared memory"));
    assert!(refused("ld.param.u32 %r1, [p+16];").contains("parameter memory"));
    assert!(refused("mov.u64 %rd3, 0;\nld.u32 %r1, [%rd3];").contains("not all in one live allocation"));
}

#[test]
fn lanes_that_should_be_together_are_told_apart() {
    let part = "setp.lt.u32 %p1, %r0, 16;\n@%p1 bra L1;\nmov.u32 %r1, 1;\n";
    assert!(refused(&format!("{part}bar.sync 0;\nL1: mov.u32 %r2, 1;")).contains("all lanes must be here"));
    let why = refused(&format!("{part}shfl.sync.idx.b32 %r2, %r1, 0, 31, -1;\nL1: mov.u32 %r2, 1;"));
    assert!(why.contains("0xffff0000 are here"), "{why}");
    assert!(refused("bar.sync 1, 64;").contains("barrier 1 is for 64 of the block's 32 threads"));
    assert!(refused("bar.sync 16;").contains("no barrier 16"));
    assert!(refused("trap;").contains("must not be reached"));
}

/// What was not waited for, or was never written, is NaN: in shared memory and in a fresh buffer.
#[test]
fn what_is_not_there_yet_is_nan() {
    let copy = "mov.u32 %r2, tile;\nmad.lo.u32 %r3, %r0, 4, %r2;\ncp.async.ca.shared.global [%r3], [%rd1], 4;\n\
        cp.async.commit_group;\n";
    let read = "ld.shared.u32 %r4, [%r3];\nst.global.u32 [%rd2], %r4;";
    assert_eq!(run(&format!("{copy}{read}"), COUNT()).unwrap(), [u32::MAX; 32]);
    assert_eq!(run(&format!("{copy}cp.async.wait_group 1;\n{read}"), COUNT()).unwrap(), [u32::MAX; 32]);
    assert_eq!(run(&format!("{copy}cp.async.wait_group 0;\n{read}"), COUNT()).unwrap(), COUNT());
    assert_eq!(run("ld.shared.u32 %r4, [tile];\nst.global.u32 [%rd2], %r4;", COUNT()).unwrap(), [u32::MAX; 32]);
    // Only part of it is read, and the rest is zeros.
    let short = copy.replace(", 4;\n", ", 4, 2;\n");
    let words = run(&format!("{short}cp.async.wait_all;\n{read}"), [0x1234_5678; 32]).unwrap();
    assert_eq!(words, [0x5678; 32]);
    assert!(refused(&copy.replace(", 4;\n", ", 4, 5;\n")).contains("reads 5"));
    assert!(refused(&copy.replace(", 4;\n", ", 16;\n")).contains("no multiple of 16"));
}

/// Text that is not known, or none at all, is an error before anything runs.
#[test]
fn what_is_not_known_is_named() {
    for body in ["wgmma.mma_async.sp.sync.aligned;", "add.f16 %rs1, %rs2, %rs3;", "ld.global.v8.u32 %r1, [%rd1];"] {
        let why = refused(body);
        assert!(why.contains("not known here") && why.contains(body), "{why}");
    }
    assert!(refused("mov.u32 %q1, 0;").contains("`%q1` is not declared"));
    assert!(refused("bra L9;").contains("no label L9"));
    assert!(refused("add.s32 %r1, %r2;").contains("operands where 2 should stand"));
    for text in ["{", "ret;", ".visible .entry test(.param .b64 p) { ret;", ".entry test() { add.s32 %r1 %r2; }"] {
        let modules = PtxModules::of_text("test", text);
        assert!(Device::ptx_of(&modules).and(modules.check()).is_err(), "{text}");
    }
}

/// Every kernel that nvcc made is read to its end.
#[test]
fn all_kernels_of_this_build_are_known() {
    if super::hardware::ptx().is_none() {
        return;
    }
    let names = PtxModules::of_this_build().unwrap().check().unwrap();
    println!("{} kernels", names.len());
    let declared = veridical::backend::ptx::kernels();
    assert!(!declared.is_empty());
    for (name, _) in declared {
        assert!(names.iter().any(|known| known == name), "{name} is not among what the compiler made");
    }
}
