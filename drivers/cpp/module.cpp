// headway.drivers._kinematics: compiled chains for Python (see drivers/kinematics.py).
//
// What is written is always the caller's memory, of exactly the stated shape and float64. A chain
// has no state: any number of threads may use one. `ik` and `ik_chunk` release the GIL.
#include <string>

#include "chain_arrays.hpp"

using headway::Array, headway::Vector, headway::Three, headway::Rows, headway::OutVector;
using headway::want;
using Square = Array<const double, nb::shape<3, 3>>;
using OutThree = Array<double, nb::shape<3>>;
using OutFour = Array<double, nb::shape<4>>;
using OutSix = Array<double, nb::shape<6>>;
using OutSquare = Array<double, nb::shape<3, 3>>;
using OutRows = Array<double, nb::ndim<2>>;

namespace {

class PyChain {
 public:
  PyChain(const Rows& steps, const Vector& tool, const Rows& joints, const Vector& task)
      : chain_(headway::chain_of(steps, tool, joints, task)) {}

  void fk(const Vector& q, OutSquare R, OutThree p) const {
    want(q.shape(0), n(), "joint positions");
    chain_.fk(q.data(), R.data(), p.data());
  }

  void position(const Vector& q, OutThree p) const {
    want(q.shape(0), n(), "joint positions");
    double R[9];
    chain_.fk(q.data(), R, p.data());
  }

  void frames(const Vector& q, OutRows out) const {
    want(q.shape(0), n(), "joint positions");
    const auto count = static_cast<std::size_t>(chain_.last()) + 1;
    want(out.shape(0), count, "frames");
    want(out.shape(1), 12, "numbers per frame");
    headway::Frame f[headway::MAX_JOINTS + 1];
    chain_.frames(q.data(), f);
    double* to = out.data();
    for (std::size_t i = 0; i < count; ++i, to += 12) {
      std::copy_n(f[i].r, 9, to);
      std::copy_n(f[i].p, 3, to + 9);
    }
  }

  void state(const Vector& q, OutSquare R, OutThree p, OutRows J) const {
    want(q.shape(0), n(), "joint positions");
    want(J.shape(0), 6, "rows of the Jacobian");
    want(J.shape(1), n(), "columns of the Jacobian");
    chain_.state(q.data(), R.data(), p.data(), J.data());
  }

  void pose(const Vector& q, OutThree p, OutFour quat) const {
    want(q.shape(0), n(), "joint positions");
    chain_.pose(q.data(), p.data(), quat.data());
  }

  void motion(const Vector& q, const Vector& dq, OutThree p, OutFour quat, OutSix twist) const {
    want(q.shape(0), n(), "joint positions");
    want(dq.shape(0), n(), "joint velocities");
    chain_.motion(q.data(), dq.data(), p.data(), quat.data(), twist.data());
  }

  double ik(const Square& R, const Three& p, OutVector q, int iterations, double tol,
            double damping, double max_step) const {
    want(q.shape(0), n(), "joint positions");
    nb::gil_scoped_release unlocked;
    return chain_.ik(R.data(), p.data(), q.data(), {iterations, tol, damping, max_step});
  }

  double ik_chunk(const Square& R, const Three& p, const Rows& actions, OutRows q, int iterations,
                  double tol, double damping, double max_step) const {
    want(q.shape(1), n(), "joint positions");
    want(q.shape(0), actions.shape(0) + 1, "rows of joint positions");
    if (actions.shape(1) < 6) want(actions.shape(1), 6, "numbers per action");
    nb::gil_scoped_release unlocked;
    return chain_.ik_chunk(R.data(), p.data(), actions.data(), static_cast<int>(actions.shape(0)),
                           static_cast<int>(actions.shape(1)), q.data(),
                           {iterations, tol, damping, max_step});
  }

 private:
  std::size_t n() const { return chain_.joints.size(); }
  headway::Chain chain_;
};

}  // namespace

NB_MODULE(_kinematics, m) {
  using nb::arg;
  nb::set_leak_warnings(false);  // chains are module constants: they live until the process ends
  m.attr("VERSION") = 4;  // drivers/native.py wants this one
  m.attr("MAX_JOINTS") = headway::MAX_JOINTS;
  nb::class_<PyChain>(m, "Chain")
      .def(nb::init<const Rows&, const Vector&, const Rows&, const Vector&>(), arg("steps"),
           arg("tool"), arg("joints"), arg("task"))
      .def("fk", &PyChain::fk, arg("q"), arg("R").noconvert(), arg("p").noconvert())
      .def("position", &PyChain::position, arg("q"), arg("p").noconvert())
      .def("frames", &PyChain::frames, arg("q"), arg("out").noconvert())
      .def("state", &PyChain::state, arg("q"), arg("R").noconvert(), arg("p").noconvert(),
           arg("J").noconvert())
      .def("pose", &PyChain::pose, arg("q"), arg("p").noconvert(), arg("quat").noconvert())
      .def("motion", &PyChain::motion, arg("q"), arg("dq"), arg("p").noconvert(),
           arg("quat").noconvert(), arg("twist").noconvert())
      .def("ik", &PyChain::ik, arg("R"), arg("p"), arg("q").noconvert(), arg("iterations"),
           arg("tol"), arg("damping"), arg("max_step"))
      .def("ik_chunk", &PyChain::ik_chunk, arg("R"), arg("p"), arg("actions"),
           arg("q").noconvert(), arg("iterations"), arg("tol"), arg("damping"), arg("max_step"));
}
