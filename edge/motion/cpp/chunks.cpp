// headway.edge.motion._chunks: what a chunk's player does at every tick (see edge/motion/smoother.py, which this
// follows operation by operation, so that both give the same bits).
//
// All memory is taken at construction; outputs are written into arrays that Python owns.
#include <nanobind/stl/vector.h>

#include <cstddef>
#include <vector>

#include "../../../drivers/cpp/arrays.hpp"

using headway::Rows, headway::OutVector, headway::Vector;

namespace {

void joints(std::size_t have, std::size_t need) { headway::want(have, need, "joints"); }

class Smoother {
 public:
  Smoother(std::size_t n, const std::vector<std::size_t>& taps) : n_(n) {
    for (const std::size_t t : taps) {
      if (t < 1) throw nb::value_error("a moving average wants at least one tap");
      stages_.push_back({t, std::vector<double>(t * n), std::vector<double>(n)});
    }
  }

  void rest(const Vector& q) {
    joints(q.shape(0), n_);
    for (Stage& s : stages_) {
      for (std::size_t t = 0; t < s.taps; ++t)
        for (std::size_t j = 0; j < n_; ++j) s.window[t * n_ + j] = q.data()[j];
      add_up(s);
    }
  }

  void step(const Vector& value, OutVector& out) {
    joints(value.shape(0), n_);
    joints(out.shape(0), n_);
    double* y = out.data();
    for (std::size_t j = 0; j < n_; ++j) y[j] = value.data()[j];
    for (Stage& s : stages_) {
      const std::size_t i = tick_ % s.taps;
      double* w = &s.window[i * n_];
      for (std::size_t j = 0; j < n_; ++j) {
        s.sum[j] += y[j];
        s.sum[j] -= w[j];
        w[j] = y[j];
      }
      if (i == 0) add_up(s);  // a running sum drifts by rounding: afresh once per window
      for (std::size_t j = 0; j < n_; ++j) y[j] = s.sum[j] / double(s.taps);
    }
    ++tick_;
  }

 private:
  struct Stage {
    std::size_t taps;
    std::vector<double> window, sum;  // (taps, n), (n)
  };

  void add_up(Stage& s) const {
    for (std::size_t j = 0; j < n_; ++j) s.sum[j] = s.window[j];
    for (std::size_t t = 1; t < s.taps; ++t)
      for (std::size_t j = 0; j < n_; ++j) s.sum[j] += s.window[t * n_ + j];
  }

  std::size_t n_, tick_ = 0;
  std::vector<Stage> stages_;
};

// Between waypoints `k` and `k + 1` of `q` at 0 <= u < 1, past the end the last one, plus what is
// left of an offset.
void waypoint(const Rows& q, std::size_t k, double u, const Vector& offset, double left, OutVector& out) {
  const std::size_t h = q.shape(0), n = q.shape(1);
  joints(offset.shape(0), n);
  joints(out.shape(0), n);
  if (h == 0) throw nb::value_error("wanted waypoints, found none");
  double* y = out.data();
  if (k >= h - 1) {
    for (std::size_t j = 0; j < n; ++j) y[j] = q.data()[(h - 1) * n + j];
  } else {
    const double *a = q.data() + k * n, *b = a + n;
    for (std::size_t j = 0; j < n; ++j) y[j] = a[j] * (1 - u) + b[j] * u;
  }
  if (left > 0)
    for (std::size_t j = 0; j < n; ++j) y[j] += offset.data()[j] * left;
}

}  // namespace

NB_MODULE(_chunks, m) {
  using nb::arg;
  m.attr("VERSION") = 2;  // edge/motion/smoother.py wants this one
  nb::class_<Smoother>(m, "Smoother")
      .def(nb::init<std::size_t, const std::vector<std::size_t>&>(), arg("n"), arg("taps"))
      .def("rest", &Smoother::rest, arg("q").noconvert())
      .def("step", &Smoother::step, arg("value").noconvert(), arg("out").noconvert())
      .def_static("waypoint", &waypoint, arg("q").noconvert(), arg("k"), arg("u"),
                  arg("offset").noconvert(), arg("left"), arg("out").noconvert());
}
