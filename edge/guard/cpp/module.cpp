// headway.edge.guard._guard: the guard's arithmetic for Python (see edge/guard/core.py).
//
// The command, and what is sent instead, lie in memory that Python owns, so a tick is two calls that
// convert no array. Forward kinematics is the compiled chain's, or a Python function's.
#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "../../../drivers/cpp/chain_arrays.hpp"
#include "guard.hpp"

using headway::Array, headway::Vector, headway::Rows, headway::OutVector;
using headway::want;
using Six = Array<const double, nb::shape<6>>;

namespace {

headway::Segment segment(const double* r) { return {{r[0], r[1], r[2]}, {r[3], r[4], r[5]}}; }

// Forward kinematics: the chain's; without a chain, `call` reads `q` (n,) [rad] and writes `p` (3,)
// [m]. `error` is set to the exception that `call` raised.
struct Where {
  std::optional<headway::Chain> chain;
  nb::object call;
  std::optional<OutVector> q, p;
  nb::object* error;

  bool operator()(const double* at, headway::Look& look) {
    if (chain) {
      chain->frames(at, look.frames);
      chain->tcp_position(look.frames[chain->last()], look.tcp.data());
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
    std::copy_n(p->data(), 3, look.tcp.data());
    return true;
  }
};

class PyGuard {
 public:
  PyGuard(const Rows& joints, double period_s, const Rows& box, double lever_m, bool clamp,
          OutVector command, OutVector out, nb::object fk, const nb::tuple& scene)
      : command_(std::move(command)), out_(std::move(out)),
        guard_(limits(joints), period_s, corners(box), lever_m, clamp,
               where(fk, joints.shape(0), 0), where(fk, joints.shape(0), 1), parts(scene)),
        releases_(nb::len(fk) == 4) {
    want(command_.shape(0), guard_.n(), "commanded positions");
    want(out_.shape(0), guard_.n(), "positions to send");
  }

  void start() { guard_.start(out_.data()); }
  bool finite() const {
    return std::all_of(command_.data(), command_.data() + guard_.n(),
                       [](double x) { return std::isfinite(x); });
  }
  void pass_over(bool known) { guard_.pass_over(known ? command_.data() : nullptr); }
  bool propose() { return guard_.propose(command_.data()); }
  // (row, finding); other threads may run meanwhile if no Python is needed
  nb::tuple check_chunk(const Rows& q, double dt) {
    want(q.shape(1), guard_.n(), "joint positions");
    const int h = static_cast<int>(q.shape(0));
    std::pair<int, headway::Finding> found;
    if (releases_) {
      nb::gil_scoped_release unlocked;
      found = guard_.check_chunk(q.data(), h, dt);
    } else {
      found = guard_.check_chunk(q.data(), h, dt);
    }
    return nb::make_tuple(found.first, record(found.second, errors_[1]));
  }
  void send(bool braking) { guard_.send(braking, out_.data()); }
  nb::object clamped() const { return record(guard_.clamped, errors_[0]); }
  nb::object refused() const { return record(guard_.refused, errors_[0]); }

 private:
  // The `Finding` of edge/guard/reasons.py; `error`: why forward kinematics failed.
  nb::object record(const headway::Finding& f, const nb::object& error) const {
    if (f.reason == headway::OK) return reasons_.attr("FINE");
    nb::object motion = nb::none(), cause = nb::none();
    if (const auto& m = f.motion)
      motion = reasons_.attr("Motion")(m->q, m->dq, m->ddq, m->ddq_before);
    if (f.reason == headway::COLLISION) cause = names_[f.index];
    if (f.reason == headway::WORKSPACE && f.index < 0) cause = error;
    return reasons_.attr("Finding")(reasons_.attr("Reason")(static_cast<int>(f.reason)), f.index,
                                    f.stopping, f.found, f.least, f.most, motion, cause);
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

  // (capsules (m, 8), fixed (s, 6), boxes (b, 6), pairs (p, 5), floor, margin, names of the pairs):
  // edge/guard/collision.py
  headway::Scene parts(const nb::tuple& t) {
    names_ = t[6];
    headway::Scene scene{{}, {}, {}, nb::cast<double>(t[4]), nb::cast<double>(t[5]), {}};
    each(t[0], 8, [&](const double* r) {
      scene.capsules.push_back({static_cast<int>(r[0]), segment(r + 1)});
    });
    each(t[1], 6, [&](const double* r) { scene.fixed.push_back(segment(r)); });
    each(t[2], 6, [&](const double* r) { scene.boxes.push_back(segment(r)); });
    each(t[3], 5, [&](const double* r) {
      scene.pairs.push_back({static_cast<headway::Pair::Kind>(static_cast<int>(r[0])),
                             static_cast<int>(r[1]), static_cast<int>(r[2]), r[3], r[4]});
    });
    return scene;
  }

  template <class Take>
  static void each(const nb::object& given, std::size_t width, Take take) {
    const auto rows = nb::cast<Rows>(given);
    want(rows.shape(1), width, "numbers per row");
    for (std::size_t i = 0; i < rows.shape(0); ++i) take(rows.data() + i * width);
  }

  // For commands (`use` 0) or chunks (1). `fk`: `rows` of a chain (drivers/kinematics.py), or for
  // each of the two (function, q (n,), p (3,))
  Where where(const nb::object& fk, std::size_t n, std::size_t use) {
    nb::tuple given = nb::cast<nb::tuple>(fk);
    Where w{{}, nb::none(), {}, {}, &errors_[use]};
    if (given.size() == 4) {
      w.chain.emplace(headway::chain_of(nb::cast<Rows>(given[0]), nb::cast<Vector>(given[1]),
                                        nb::cast<Rows>(given[2]), nb::cast<Vector>(given[3])));
      want(w.chain->joints.size(), n, "joints in the chain");
    } else {
      given = nb::cast<nb::tuple>(given[use]);
      w.call = nb::borrow(given[0]);
      w.q.emplace(nb::cast<OutVector>(given[1]));
      w.p.emplace(nb::cast<OutVector>(given[2]));
      want(w.q->shape(0), n, "joint positions");
      want(w.p->shape(0), 3, "coordinates");
    }
    return w;
  }

  nb::object reasons_ = nb::module_::import_("headway.edge.guard.reasons");
  nb::object names_ = nb::none();  // of the pairs of bodies
  nb::object errors_[2] = {nb::none(), nb::none()};  // why forward kinematics failed, by use
  OutVector command_, out_;
  headway::Guard<Where> guard_;
  bool releases_;
};

}  // namespace

NB_MODULE(_guard, m) {
  using nb::arg;
  nb::set_leak_warnings(false);  // a guard's function may refer back to it
  m.attr("VERSION") = 5;  // edge/guard/native.py wants this one
  // squared distances [m^2] of a segment (two ends) to another, and to a box (two corners)
  m.def("segments_apart", [](const Six& a, const Six& b) {
    return headway::segments_apart(segment(a.data()), segment(b.data()));
  });
  m.def("box_apart", [](const Six& a, const Six& b) {
    return headway::box_apart(segment(a.data()), segment(b.data()));
  });
  nb::class_<PyGuard>(m, "Core")
      .def(nb::init<const Rows&, double, const Rows&, double, bool, OutVector, OutVector,
                    nb::object, const nb::tuple&>(),
           arg("joints"), arg("period_s"), arg("box"), arg("lever_m"), arg("clamp"),
           arg("command").noconvert(), arg("out").noconvert(), arg("fk"),
           arg("scene"))
      .def("start", &PyGuard::start)
      .def("finite", &PyGuard::finite)
      .def("pass_over", &PyGuard::pass_over, arg("known"))
      .def("propose", &PyGuard::propose)
      .def("check_chunk", &PyGuard::check_chunk, arg("q"), arg("dt"))
      .def("send", &PyGuard::send, arg("braking"))
      .def_prop_ro("clamped", &PyGuard::clamped)
      .def_prop_ro("refused", &PyGuard::refused);
}
