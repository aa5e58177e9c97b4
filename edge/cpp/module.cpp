// headway.edge._guard: the guard's arithmetic for Python (see edge/guard_core.py).
//
// The command, and what is sent instead, lie in memory that Python owns: a tick is two calls without
// arguments to speak of. Forward kinematics is the compiled chain's, or a Python function's.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "../../drivers/cpp/kinematics.hpp"
#include "guard.hpp"

namespace nb = nanobind;
template <typename... T>
using Array = nb::ndarray<T..., nb::c_contig, nb::device::cpu>;
using Vector = Array<const double, nb::ndim<1>>;
using Three = Array<const double, nb::shape<3>>;
using Rows = Array<const double, nb::ndim<2>>;
using OutVector = Array<double, nb::ndim<1>>;

namespace {

void want(std::size_t have, std::size_t need, const char* what) {
  if (have != need)
    throw nb::value_error(
        ("wanted " + std::to_string(need) + " " + what + ", found " + std::to_string(have)).c_str());
}

// Forward kinematics: the chain's, else `call`, which reads `q` and writes `p`.
struct Where {
  std::optional<headway::Chain> chain;
  nb::object call;
  std::optional<OutVector> q, p;
  nb::object* error;

  bool operator()(const double* at, headway::Xyz& tcp) {
    if (chain) {
      headway::Frame f[headway::MAX_JOINTS + 1];
      chain->frames(at, f);
      chain->tcp(f[chain->n()], tcp.data());
      return true;
    }
    std::copy_n(at, q->shape(0), q->data());
    try {
      call();
    } catch (nb::python_error& e) {
      if (!e.matches(PyExc_Exception)) throw;  // an interrupt is not the kinematics' fault
      *error = nb::borrow(e.value());
      return false;
    }
    std::copy_n(p->data(), 3, tcp.data());
    return true;
  }
};

class PyGuard {
 public:
  nb::object error = nb::none();  // why forward kinematics failed

  PyGuard(const Rows& joints, double period_s, const Rows& box, double lever_m, bool clamp,
          OutVector command, OutVector out, nb::object fk)
      : command_(std::move(command)), out_(std::move(out)),
        guard_(limits(joints), period_s, corners(box), lever_m, clamp, where(fk, joints.shape(0))) {
    want(command_.shape(0), guard_.n(), "commanded positions");
    want(out_.shape(0), guard_.n(), "positions to send");
  }

  void start() {
    guard_.start(out_.data());
  }
  bool finite() const {
    return std::all_of(command_.data(), command_.data() + guard_.n(),
                       [](double x) { return std::isfinite(x); });
  }
  void pass_over(bool known) { guard_.pass_over(known ? command_.data() : nullptr); }
  bool propose() { return guard_.propose(command_.data()); }
  void send(bool braking) { guard_.send(braking, out_.data()); }
  nb::tuple soft() const { return tuple(guard_.soft); }
  nb::tuple hard() const { return tuple(guard_.hard); }

 private:
  static nb::tuple tuple(const headway::Found& f) {
    const auto& v = f.values;
    return nb::make_tuple(f.reason, f.at, nb::make_tuple(v[0], v[1], v[2], v[3]));
  }

  static std::vector<headway::JointLimits> limits(const Rows& rows) {
    want(rows.shape(1), 8, "numbers per joint");
    std::vector<headway::JointLimits> out;
    for (std::size_t i = 0; i < rows.shape(0); ++i) {
      const double* r = rows.data() + 8 * i;
      out.push_back({r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]});
    }
    return out;
  }

  static headway::Box corners(const Rows& box) {
    want(box.shape(0), 3, "axes of the workspace");
    want(box.shape(1), 2, "faces per axis");
    return {{box(0, 0), box(1, 0), box(2, 0)}, {box(0, 1), box(1, 1), box(2, 1)}};
  }

  // (links (n, 4), cos, sin, tool (3,)) of a chain, or (function, q (n,), p (3,))
  Where where(const nb::object& fk, std::size_t n) {
    nb::tuple given = nb::cast<nb::tuple>(fk);
    Where w{{}, nb::none(), {}, {}, &error};
    if (given.size() == 4) {
      const auto links = nb::cast<Rows>(given[0]);
      const auto tool = nb::cast<Three>(given[3]);
      want(links.shape(0), n, "joints in the chain");
      want(links.shape(1), 4, "numbers per link");
      if (n > headway::MAX_JOINTS) throw nb::value_error("too many joints");
      w.chain.emplace(headway::Chain{{},
                                     nb::cast<double>(given[1]),
                                     nb::cast<double>(given[2]),
                                     {tool(0), tool(1), tool(2)}});
      for (std::size_t i = 0; i < n; ++i)
        w.chain->links.push_back({links(i, 0), links(i, 1), links(i, 2), links(i, 3)});
    } else {
      w.call = nb::borrow(given[0]);
      w.q.emplace(nb::cast<OutVector>(given[1]));
      w.p.emplace(nb::cast<OutVector>(given[2]));
      want(w.q->shape(0), n, "joint positions");
      want(w.p->shape(0), 3, "coordinates");
    }
    return w;
  }

  OutVector command_, out_;
  headway::Guard<Where> guard_;
};

}  // namespace

NB_MODULE(_guard, m) {
  using nb::arg;
  nb::set_leak_warnings(false);  // a guard's function may refer back to it
  m.attr("VERSION") = 1;  // edge/guard_native.py wants this one
  nb::class_<PyGuard>(m, "Core")
      .def(nb::init<const Rows&, double, const Rows&, double, bool, OutVector, OutVector,
                    nb::object>(),
           arg("joints"), arg("period_s"), arg("box"), arg("lever_m"), arg("clamp"),
           arg("command").noconvert(), arg("out").noconvert(), arg("fk"))
      .def("start", &PyGuard::start)
      .def("finite", &PyGuard::finite)
      .def("pass_over", &PyGuard::pass_over, arg("known"))
      .def("propose", &PyGuard::propose)
      .def("send", &PyGuard::send, arg("braking"))
      .def("soft", &PyGuard::soft)
      .def("hard", &PyGuard::hard)
      .def_ro("error", &PyGuard::error);
}
