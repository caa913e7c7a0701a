// VERIDICAL_FOR_EACH(m, a, x, y, ...) expands to m(a, x) m(a, y) ... for up to 40 names: C++17's preprocessor has no loop.
#pragma once

#define VERIDICAL_CAT_(a, b) a##b
#define VERIDICAL_CAT(a, b) VERIDICAL_CAT_(a, b)
#define VERIDICAL_COUNT(...)                                                                                         \
    VERIDICAL_COUNT_(__VA_ARGS__, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, \
                     19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define VERIDICAL_COUNT_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, \
                         a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, a33, a34, a35, a36, a37, a38, a39, a40,  \
                         n, ...)                                                                                         \
    n
#define VERIDICAL_FOR_EACH(m, a, ...) VERIDICAL_CAT(VERIDICAL_EACH_, VERIDICAL_COUNT(__VA_ARGS__))(m, a, __VA_ARGS__)

#define VERIDICAL_EACH_1(m, a, x) m(a, x)
#define VERIDICAL_EACH_2(m, a, x, ...) m(a, x) VERIDICAL_EACH_1(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_3(m, a, x, ...) m(a, x) VERIDICAL_EACH_2(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_4(m, a, x, ...) m(a, x) VERIDICAL_EACH_3(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_5(m, a, x, ...) m(a, x) VERIDICAL_EACH_4(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_6(m, a, x, ...) m(a, x) VERIDICAL_EACH_5(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_7(m, a, x, ...) m(a, x) VERIDICAL_EACH_6(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_8(m, a, x, ...) m(a, x) VERIDICAL_EACH_7(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_9(m, a, x, ...) m(a, x) VERIDICAL_EACH_8(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_10(m, a, x, ...) m(a, x) VERIDICAL_EACH_9(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_11(m, a, x, ...) m(a, x) VERIDICAL_EACH_10(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_12(m, a, x, ...) m(a, x) VERIDICAL_EACH_11(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_13(m, a, x, ...) m(a, x) VERIDICAL_EACH_12(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_14(m, a, x, ...) m(a, x) VERIDICAL_EACH_13(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_15(m, a, x, ...) m(a, x) VERIDICAL_EACH_14(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_16(m, a, x, ...) m(a, x) VERIDICAL_EACH_15(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_17(m, a, x, ...) m(a, x) VERIDICAL_EACH_16(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_18(m, a, x, ...) m(a, x) VERIDICAL_EACH_17(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_19(m, a, x, ...) m(a, x) VERIDICAL_EACH_18(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_20(m, a, x, ...) m(a, x) VERIDICAL_EACH_19(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_21(m, a, x, ...) m(a, x) VERIDICAL_EACH_20(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_22(m, a, x, ...) m(a, x) VERIDICAL_EACH_21(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_23(m, a, x, ...) m(a, x) VERIDICAL_EACH_22(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_24(m, a, x, ...) m(a, x) VERIDICAL_EACH_23(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_25(m, a, x, ...) m(a, x) VERIDICAL_EACH_24(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_26(m, a, x, ...) m(a, x) VERIDICAL_EACH_25(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_27(m, a, x, ...) m(a, x) VERIDICAL_EACH_26(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_28(m, a, x, ...) m(a, x) VERIDICAL_EACH_27(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_29(m, a, x, ...) m(a, x) VERIDICAL_EACH_28(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_30(m, a, x, ...) m(a, x) VERIDICAL_EACH_29(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_31(m, a, x, ...) m(a, x) VERIDICAL_EACH_30(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_32(m, a, x, ...) m(a, x) VERIDICAL_EACH_31(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_33(m, a, x, ...) m(a, x) VERIDICAL_EACH_32(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_34(m, a, x, ...) m(a, x) VERIDICAL_EACH_33(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_35(m, a, x, ...) m(a, x) VERIDICAL_EACH_34(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_36(m, a, x, ...) m(a, x) VERIDICAL_EACH_35(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_37(m, a, x, ...) m(a, x) VERIDICAL_EACH_36(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_38(m, a, x, ...) m(a, x) VERIDICAL_EACH_37(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_39(m, a, x, ...) m(a, x) VERIDICAL_EACH_38(m, a, __VA_ARGS__)
#define VERIDICAL_EACH_40(m, a, x, ...) m(a, x) VERIDICAL_EACH_39(m, a, __VA_ARGS__)
