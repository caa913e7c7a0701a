// Pointers. On the device a gptr or sptr is a pointer and nothing else. On the host it also carries the ends of the
// allocation (or shared array) that it points into, and an access outside stops the launch with an error that names
// kernel, block, thread and address.
#pragma once

#include "core.cuh"

namespace veridical {

// N elements that are loaded or stored by one instruction.
template <class T, int N>
struct alignas(sizeof(T) * N) vec {
    T v[N];
    DEVICE T& operator[](int i) { return v[i]; }
    DEVICE const T& operator[](int i) const { return v[i]; }
};

enum class space { global, shared };

template <class T, space S>
struct checked {
    T* at;
#ifdef VERIDICAL_HOST
    host::Range range;
#endif

    // The address of `count` elements from element i on, checked on the host.
    template <class I>
    DEVICE T* address(I i, [[maybe_unused]] uint32_t count = 1, [[maybe_unused]] uint32_t align = alignof(T)) const {
#ifdef VERIDICAL_HOST
        uintptr_t a = reinterpret_cast<uintptr_t>(at) + static_cast<uintptr_t>(i) * sizeof(T);
        host::check<S == space::shared>(a, count * (uint32_t)sizeof(T), align, range, std::is_const<T>::value);
        return reinterpret_cast<T*>(a);
#else
        return at + i;
#endif
    }
#ifdef VERIDICAL_HOST
    // The emulator is told who reads and who writes shared memory.
    using Reference = std::conditional_t<S == space::shared, host::Reference<T>, T&>;
    template <class I>
    Reference operator[](I i) const { return Reference(*address(i)); }
#else
    template <class I>
    DEVICE T& operator[](I i) const { return *address(i); }
#endif
    DEVICE explicit operator bool() const { return at != nullptr; }
};

template <class T, space S>
struct pointer : checked<T, S> {
    pointer() = default;
    DEVICE explicit pointer(const checked<T, S>& c) : checked<T, S>(c) {}
    // A pointer to T is also a pointer to const T.
    template <class U, class = std::enable_if_t<std::is_same<const U, T>::value>>
    DEVICE pointer(const pointer<U, S>& p) {
        this->at = p.at;
#ifdef VERIDICAL_HOST
        this->range = p.range;
#endif
    }
    // The same bytes read as another type.
    template <class U>
    DEVICE pointer<U, S> cast() const {
        checked<U, S> c;
        c.at = reinterpret_cast<U*>(this->at);
#ifdef VERIDICAL_HOST
        c.range = this->range;
#endif
        return pointer<U, S>(c);
    }
    template <class I>
    DEVICE pointer operator+(I n) const { pointer p = *this; p += n; return p; }
    template <class I>
    DEVICE pointer operator-(I n) const { pointer p = *this; p -= n; return p; }
    // On the host by way of integers: a pointer may stray outside as long as nothing is accessed there.
    template <class I>
    DEVICE pointer& operator+=(I n) {
#ifdef VERIDICAL_HOST
        this->at = reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(this->at) + static_cast<uintptr_t>(n) * sizeof(T));
#else
        this->at += n;
#endif
        return *this;
    }
    template <class I>
    DEVICE pointer& operator-=(I n) {
#ifdef VERIDICAL_HOST
        this->at = reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(this->at) - static_cast<uintptr_t>(n) * sizeof(T));
#else
        this->at -= n;
#endif
        return *this;
    }
};

template <class T> using gptr = pointer<T, space::global>;
template <class T> using sptr = pointer<T, space::shared>;

// A device address as it stands in a parameter struct: 8 bytes, no type. Zero means "not given".
struct buffer {
    uint64_t address;

    template <class T>
    DEVICE gptr<T> as() const {
        checked<T, space::global> c;
        c.at = reinterpret_cast<T*>(address);
#ifdef VERIDICAL_HOST
        c.range = host::locate(address, sizeof(T));
#endif
        return gptr<T>(c);
    }
    DEVICE explicit operator bool() const { return address != 0; }
};

namespace detail {
template <int BYTES> struct word;
template <> struct word<2> { using type = uint16_t; };
template <> struct word<4> { using type = uint32_t; };
template <> struct word<8> { using type = uint2; };
template <> struct word<16> { using type = uint4; };
}  // namespace detail

// N elements from element i on, by one instruction of 2, 4, 8 or 16 bytes. The address must be a multiple of that size.
template <int N, class T, space S, class I>
DEVICE vec<std::remove_const_t<T>, N> load_vec(pointer<T, S> p, I i) {
    using V = vec<std::remove_const_t<T>, N>;
    using W = typename detail::word<N * sizeof(T)>::type;
    const T* from = p.address(i, N, alignof(V));
    V v;
#ifdef VERIDICAL_HOST
    host::note<S == space::shared>(from, sizeof(W), false);
    memcpy(static_cast<void*>(&v), static_cast<const void*>(from), sizeof(W));
#else
    *reinterpret_cast<W*>(&v) = *reinterpret_cast<const W*>(from);
#endif
    return v;
}

template <class T, space S, class I, int N>
DEVICE void store_vec(pointer<T, S> p, I i, const vec<T, N>& v) {
    using W = typename detail::word<N * sizeof(T)>::type;
    T* to = p.address(i, N, alignof(vec<T, N>));
#ifdef VERIDICAL_HOST
    host::note<S == space::shared>(to, sizeof(W), true);
    memcpy(static_cast<void*>(to), static_cast<const void*>(&v), sizeof(W));
#else
    *reinterpret_cast<W*>(to) = *reinterpret_cast<const W*>(&v);
#endif
}

}  // namespace veridical

// SHARED(T, name, count): an array in shared memory, `name` is an sptr<T> to it, aligned to 16 bytes (48 KiB in all).
// SHARED_DYNAMIC(T, name): the shared memory whose size the launch gives, aligned to 1024 bytes. Every SHARED_DYNAMIC
// of a kernel is the same memory.
#ifdef VERIDICAL_HOST
#define SHARED(T, name, count)                                                               \
    static const char name##_site = 0;                                                       \
    ::veridical::sptr<T> name = ::veridical::host::shared_array<::veridical::sptr<T>>(       \
        reinterpret_cast<T*>(::veridical::host::static_shared(&name##_site, #name, sizeof(T) * (count))), \
        sizeof(T) * (count))
#define SHARED_DYNAMIC(T, name) \
    ::veridical::sptr<T> name = ::veridical::host::dynamic_shared<::veridical::sptr<T>, T>()
#else
#define SHARED(T, name, count)                     \
    __shared__ __align__(16) T name##_array[count]; \
    ::veridical::sptr<T> name(::veridical::checked<T, ::veridical::space::shared>{name##_array})
extern __shared__ __align__(1024) unsigned char veridical_dynamic_shared[];
#define SHARED_DYNAMIC(T, name)                                                \
    ::veridical::sptr<T> name(::veridical::checked<T, ::veridical::space::shared>{ \
        reinterpret_cast<T*>(veridical_dynamic_shared)})
#endif
