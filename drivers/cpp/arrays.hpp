// NumPy arrays as our compiled modules take them: contiguous float64 on the CPU, never a copy.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <string>

namespace nb = nanobind;

namespace headway {

template <typename... T>
using Array = nb::ndarray<T..., nb::c_contig, nb::device::cpu>;
using Vector = Array<const double, nb::ndim<1>>;
using Three = Array<const double, nb::shape<3>>;
using Rows = Array<const double, nb::ndim<2>>;
using OutVector = Array<double, nb::ndim<1>>;

// Raises ValueError unless `have` is `need`.
inline void want(std::size_t have, std::size_t need, const char* what) {
  if (have != need)
    throw nb::value_error(
        ("wanted " + std::to_string(need) + " " + what + ", found " + std::to_string(have)).c_str());
}

}  // namespace headway
