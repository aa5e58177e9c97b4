// Everything that exists once per instruction set; see core.cpp. No include guards here: it is
// included once per set, in a namespace of that set.
// clang-format off
#include "simd.hpp"
#include "derive.hpp"
#include "fft.hpp"
#include "features.hpp"
#include "bins.hpp"
#include "sliding.hpp"
#include "dft.hpp"
#include "stream.hpp"
#include "window.hpp"
// clang-format on

namespace headway::HEADWAY_ISA {

inline std::unique_ptr<Stream> stream(const Robot& r, const Windows& w) {
  return std::make_unique<Incremental>(r, w);
}
inline std::unique_ptr<Window> window(const Robot& r, const Windows& w) {
  return std::make_unique<WholeWindow>(r, w);
}

}  // namespace headway::HEADWAY_ISA
