// headway.kernels._native: the C++ feature stream for Python (see kernels/native.py).
//
// A row reaches `push` through `slot`, one telemetry row of memory that Python owns and fills, so
// that a tick costs one struct copy and one call. `features` and `batch` release the GIL; a stream
// must not be used from two threads at once.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <tuple>

#include "features.hpp"

namespace nb = nanobind;
using Doubles = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

namespace {

std::vector<double> vec(const Doubles& a, std::size_t n, const char* name) {
  if (a.shape(0) != n)
    throw nb::value_error((std::string(name) + " wants " + std::to_string(n) + " values, found " +
                           std::to_string(a.shape(0)))
                              .c_str());
  return {a.data(), a.data() + n};
}

void want(std::size_t have, std::size_t need, const char* name) {
  if (have != need)
    throw nb::value_error((std::string(name) + " wants length " + std::to_string(need) +
                           ", found " + std::to_string(have))
                              .c_str());
}

class PyStream {
 public:
  PyStream(Doubles slot, int joints, double rate, const Doubles& q_min, const Doubles& q_max,
           const Doubles& dq_max, const Doubles& tau_max, double q_tol, double v_max,
           double stroke, double force_max, std::tuple<int, int, int, int> ticks,
           std::tuple<double, double> band, const Doubles& taps)
      : slot_(std::move(slot)),
        stream_(headway::Robot{joints, rate, vec(q_min, joints, "q_min"),
                               vec(q_max, joints, "q_max"), vec(dq_max, joints, "dq_max"),
                               vec(tau_max, joints, "tau_max"), q_tol, v_max, stroke, force_max},
                headway::Windows{std::get<0>(ticks), std::get<1>(ticks), std::get<2>(ticks),
                                 std::get<3>(ticks), std::get<0>(band), std::get<1>(band),
                                 vec(taps, taps.shape(0), "taps")}) {
    want(slot_.shape(0), stream_.d.columns() + 1, "slot");
  }

  void push() { stream_.push(slot_.data() + 1); }
  void reset() { stream_.reset(); }

  void features(Floats out, Floats bits) {
    want(out.shape(0), headway::spec::f_COUNT, "out_features");
    want(bits.shape(0), headway::spec::m_COUNT, "out_mask");
    nb::gil_scoped_release unlocked;
    stream_.features(out.data(), bits.data());
  }

  void batch(Rows rows, int every, Table out, Table bits) {
    want(rows.shape(1), stream_.d.columns() + 1, "rows");
    want(out.shape(1), headway::spec::f_COUNT, "out_features");
    want(bits.shape(1), headway::spec::m_COUNT, "out_mask");
    if (every < 1) throw nb::value_error("every wants at least 1");
    const std::size_t n = rows.shape(0) / every, width = rows.shape(1);
    want(out.shape(0), n, "out_features");
    want(bits.shape(0), n, "out_mask");
    nb::gil_scoped_release unlocked;
    for (std::size_t i = 0; i < n; ++i) {
      for (int t = 0; t < every; ++t) stream_.push(rows.data() + (i * every + t) * width + 1);
      stream_.features(out.data() + i * headway::spec::f_COUNT,
                       bits.data() + i * headway::spec::m_COUNT);
    }
  }

 private:
  Doubles slot_;
  headway::Stream stream_;
};

}  // namespace

NB_MODULE(_native, m) {
  m.attr("SPEC_HASH") = headway::spec::HASH;
  // noconvert: what is written, and the slot, must be the caller's memory, never a converted copy
  using nb::arg;
  nb::class_<PyStream>(m, "Stream")
      .def(nb::init<Doubles, int, double, const Doubles&, const Doubles&, const Doubles&,
                    const Doubles&, double, double, double, double,
                    std::tuple<int, int, int, int>, std::tuple<double, double>, const Doubles&>(),
           arg("slot").noconvert(), arg("joints"), arg("rate_hz"), arg("q_min"), arg("q_max"),
           arg("dq_max"), arg("tau_max"), arg("q_tol"), arg("v_max"), arg("stroke"),
           arg("force_max"), arg("ticks"), arg("band"), arg("taps"))
      .def("push", &PyStream::push)
      .def("reset", &PyStream::reset)
      .def("features", &PyStream::features, arg("out").noconvert(), arg("bits").noconvert())
      .def("batch", &PyStream::batch, arg("rows"), arg("every"), arg("out").noconvert(),
           arg("bits").noconvert());
}
