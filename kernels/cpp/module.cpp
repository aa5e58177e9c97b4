// headway.kernels._native: the C++ features for Python (see kernels/native.py).
//
// A stream is given a row as the Python object that it is. The loop fills one and the same row on
// every tick, so the second time that an object comes its memory is looked up, and from then on a
// tick is one call and no copy; a row that is not the last one again is copied into `slot` first.
// `push`, `features` and `step` hold the GIL: they take one or two microseconds, and letting it go
// and waiting for it again costs a busy process more than that. `batch` and `windows` release it.
// A stream must not be used from two threads at once.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>

#include "robot.hpp"
#include "spec.hpp"

namespace nb = nanobind;
using Doubles = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Cube = nb::ndarray<const double, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

namespace {

using headway::Core;
using headway::Robot;
using headway::Windows;

constexpr std::size_t FEATURES = headway::spec::f_COUNT, MASKS = headway::spec::m_COUNT;

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

Core core_named(const std::string& name) {
  std::string known;
  for (const Core& c : headway::cores()) {
    if (name.empty() || name == c.name) return c;
    known += std::string(known.empty() ? "" : ", ") + c.name;
  }
  throw nb::value_error(("core wants one of " + known + ", found " + name).c_str());
}

// A robot and its windows, checked, and what computes its features.
struct Setup {
  Setup(int joints, double rate, const Doubles& q_min, const Doubles& q_max, const Doubles& dq_max,
        const Doubles& tau_max, double q_tol, double v_max, double stroke, double force_max,
        std::tuple<int, int, int, int> ticks, std::tuple<double, double> band, const Doubles& taps,
        const std::string& core)
      : robot{joints, rate, vec(q_min, joints, "q_min"), vec(q_max, joints, "q_max"),
              vec(dq_max, joints, "dq_max"), vec(tau_max, joints, "tau_max"), q_tol, v_max, stroke,
              force_max},
        windows{std::get<0>(ticks), std::get<1>(ticks), std::get<2>(ticks), std::get<3>(ticks),
                std::get<0>(band), std::get<1>(band), vec(taps, taps.shape(0), "taps")},
        core(core_named(core)) {
    for (int width : headway::spec::WIDTH) columns += width < 0 ? joints : width;
  }

  // The recording as a stream gives it, after each `every` rows.
  void batch(Rows rows, int every, Table out, Table bits) const {
    want(rows.shape(1), columns, "rows");
    if (every < 1) throw nb::value_error("every wants at least 1");
    const std::size_t n = rows.shape(0) / every, width = rows.shape(1);
    outputs(n, out, bits);
    nb::gil_scoped_release unlocked;
    const auto stream = core.stream(robot, windows);
    for (std::size_t i = 0; i < n; ++i) {
      for (int t = 0; t < every; ++t) stream->push(rows.data() + (i * every + t) * width + 1);
      stream->features(out.data() + i * FEATURES, bits.data() + i * MASKS);
    }
  }

  // Many recordings of the same length, each from its first row on; the features after the last.
  void windows_of(Cube rows, int threads, Table out, Table bits) const {
    want(rows.shape(2), columns, "windows");
    const std::size_t n = rows.shape(0), ticks = rows.shape(1), width = rows.shape(2);
    outputs(n, out, bits);
    if (threads < 1 || ticks < 1) throw nb::value_error("threads and ticks want at least 1");
    nb::gil_scoped_release unlocked;
    std::atomic<std::size_t> next{0};
    std::exception_ptr failed;
    std::atomic<bool> any{false};
    const auto work = [&] {
      try {
        const auto window = core.window(robot, windows);
        for (std::size_t i; (i = next.fetch_add(1)) < n;)
          window->features(rows.data() + i * ticks * width, ticks, width,
                           out.data() + i * FEATURES, bits.data() + i * MASKS);
      } catch (...) {
        if (!any.exchange(true)) failed = std::current_exception();
      }
    };
    std::vector<std::thread> others;
    const std::size_t wanted = std::min<std::size_t>(threads, n);
    try {
      for (std::size_t i = 1; i < wanted; ++i) others.emplace_back(work);
    } catch (const std::system_error&) {
      // the system has no thread to give: those that are here do the work
    }
    work();
    for (std::thread& t : others) t.join();
    if (failed) std::rethrow_exception(failed);
  }

  Robot robot;
  Windows windows;
  Core core;
  std::size_t columns = 1;  // t_ns

 private:
  static void outputs(std::size_t n, const Table& out, const Table& bits) {
    want(out.shape(1), FEATURES, "out_features");
    want(bits.shape(1), MASKS, "out_mask");
    want(out.shape(0), n, "out_features");
    want(bits.shape(0), n, "out_mask");
  }
};

// Where features are written: looked up once, known again by the identity of the two arrays.
struct Outputs {
  nb::object arrays[2];
  float* at[2] = {nullptr, nullptr};

  void find(nb::handle out, nb::handle bits) {
    if (out.ptr() == arrays[0].ptr() && bits.ptr() == arrays[1].ptr()) return;
    float* f = data(out, FEATURES, "out_features");
    float* b = data(bits, MASKS, "out_mask");
    arrays[0] = nb::borrow(out);
    arrays[1] = nb::borrow(bits);
    at[0] = f;
    at[1] = b;
  }

 private:
  static float* data(nb::handle array, std::size_t n, const char* name) {
    Floats found;
    // no conversion: what is written must be the caller's memory, never a converted copy
    if (!nb::try_cast<Floats>(array, found, false))
      throw nb::type_error((std::string(name) + " wants a contiguous, writable float32 array of " +
                            std::to_string(n))
                               .c_str());
    want(found.shape(0), n, name);
    return found.data();
  }
};

class PyStream {
 public:
  // `take(row)` checks a row and copies it into `slot`; `view(row)` gives its memory or None.
  PyStream(const Setup& setup, Doubles slot, nb::object take, nb::object view)
      : slot_(std::move(slot)), take_(std::move(take)), view_(std::move(view)),
        stream_(setup.core.stream(setup.robot, setup.windows)) {
    want(slot_.shape(0), setup.columns, "slot");
  }

  void push(nb::handle row) { stream_->push(where(row)); }
  void reset() { stream_->reset(); }

  void features(nb::handle out, nb::handle bits) {
    asked_.find(out, bits);
    stream_->features(asked_.at[0], asked_.at[1]);
  }

  void bind(nb::handle out, nb::handle bits) {
    bound_.find(out, bits);
    pair_ = nb::make_tuple(bound_.arrays[0], bound_.arrays[1]);
  }

  nb::object step(nb::handle row) {
    if (!pair_.is_valid()) throw nb::value_error("step wants outputs: call bind first");
    stream_->push(where(row));
    stream_->features(bound_.at[0], bound_.at[1]);
    return pair_;
  }

 private:
  const double* where(nb::handle row) {
    if (row.ptr() == known_.ptr()) return memory_.data() + 1;
    if (row.ptr() == last_.ptr()) {
      nb::object view = view_(row);
      Doubles found;
      if (!view.is_none() && nb::try_cast<Doubles>(view, found, false)) {
        want(found.shape(0), slot_.shape(0), "row");
        memory_ = std::move(found);
        known_ = nb::borrow(row);
        return memory_.data() + 1;
      }
    }
    take_(row);
    last_ = nb::borrow(row);
    return slot_.data() + 1;
  }

  Doubles slot_, memory_;
  nb::object take_, view_, known_, last_, pair_;
  Outputs asked_, bound_;
  std::unique_ptr<headway::Stream> stream_;
};

}  // namespace

NB_MODULE(_native, m) {
  m.attr("VERSION") = headway::spec::HASH;
  m.def("cores", [] {
    std::vector<std::string> names;
    for (const Core& c : headway::cores()) names.emplace_back(c.name);
    return names;
  });
  using nb::arg;
  nb::class_<Setup>(m, "Setup")
      .def(nb::init<int, double, const Doubles&, const Doubles&, const Doubles&, const Doubles&,
                    double, double, double, double, std::tuple<int, int, int, int>,
                    std::tuple<double, double>, const Doubles&, const std::string&>(),
           arg("joints"), arg("rate_hz"), arg("q_min"), arg("q_max"), arg("dq_max"),
           arg("tau_max"), arg("q_tol"), arg("v_max"), arg("stroke"), arg("force_max"),
           arg("ticks"), arg("band"), arg("taps"), arg("core"))
      .def("batch", &Setup::batch, arg("rows"), arg("every"), arg("out").noconvert(),
           arg("bits").noconvert())
      .def("windows", &Setup::windows_of, arg("windows"), arg("threads"), arg("out").noconvert(),
           arg("bits").noconvert());
  nb::class_<PyStream>(m, "Stream")
      .def(nb::init<const Setup&, Doubles, nb::object, nb::object>(), arg("setup"),
           arg("slot").noconvert(), arg("take"), arg("view"))
      .def("push", &PyStream::push)
      .def("reset", &PyStream::reset)
      .def("features", &PyStream::features)
      .def("bind", &PyStream::bind)
      .def("step", &PyStream::step);
}
