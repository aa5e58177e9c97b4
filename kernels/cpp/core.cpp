// The feature kernels once per instruction set, chosen when a stream is made. Wheels are built for
// the baseline of their architecture; where the processor has AVX2 a second copy of the same code
// runs, with the same bits, since nothing is reordered and nothing is fused.
//
// The standard headers come first: their inline functions must stay those of the baseline.
#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "events.hpp"
#include "robot.hpp"
#include "spec.hpp"

#define HEADWAY_ISA baseline
#include "core.hpp"
#undef HEADWAY_ISA

#if defined(__x86_64__)
#define HEADWAY_AVX2 1
#define HEADWAY_ISA avx2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#include "core.hpp"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef HEADWAY_ISA
#endif

namespace headway {

std::vector<Core> cores() {
  std::vector<Core> found;
#if defined(HEADWAY_AVX2)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) found.push_back({"avx2", avx2::stream, avx2::window});
#endif
  found.push_back({"baseline", baseline::stream, baseline::window});
  return found;
}

}  // namespace headway
