// What differs between nvcc and the host build: there `emulate.hpp` runs every thread as a fibre, so
// that barriers, shuffles and ballots mean the same and the same source is tested without a GPU.
//
// No fast math and no contraction to fused multiply-adds but where it says fmaf: thresholds and
// differences must fall where the float64 oracle's do, and the host build computes the same bits.
#pragma once
#include <cfloat>
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define HW_FN __device__ __forceinline__
#define HW_KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 2)
#define HW_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#define HEADWAY_TABLE __constant__ const
#define HW_UNROLL _Pragma("unroll")
#define HW_UNROLL_8 _Pragma("unroll 8")
#else
#include "emulate.hpp"
#define HW_UNROLL
#define HW_UNROLL_8
#define HEADWAY_TABLE inline constexpr
#endif

#include "spec.hpp"

namespace headway::gpu {

inline constexpr unsigned ALL = 0xffffffffu;

struct alignas(16) Vec4 {
  float x, y, z, w;
};
struct alignas(8) Vec2 {
  float x, y;
};

template <class T>
HW_FN T warp_sum(T x) {
  for (int o = 16; o; o >>= 1) x += __shfl_xor_sync(ALL, x, o);
  return x;
}

HW_FN float warp_max(float x) {
  for (int o = 16; o; o >>= 1) x = fmaxf(x, __shfl_xor_sync(ALL, x, o));
  return x;
}

HW_FN int lane_id() { return int(threadIdx.x) & 31; }
HW_FN int warp_id() { return int(threadIdx.x) >> 5; }

// The highest tick <= t whose bit is `want` in a row of words of 32 ticks, else -1.
HW_FN int last_tick(const std::uint32_t* words, int t, bool want) {
  int i = t >> 5;
  std::uint32_t w = want ? words[i] : ~words[i];
  w &= ALL >> (31 - (t & 31));
  while (!w && i > 0) {
    --i;
    w = want ? words[i] : ~words[i];
  }
  return w ? 32 * i + 31 - __clz(int(w)) : -1;
}

}  // namespace headway::gpu
