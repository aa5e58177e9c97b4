// A chain from the arrays that `rows` of drivers/kinematics.py gives.
#pragma once
#include "arrays.hpp"
#include "kinematics.hpp"

namespace headway {

// `steps` (m, 15), `tool` (12,), `joints` (n, 3), `task` (7,): see drivers/kinematics_python.py.
// Raises ValueError for other shapes, and for numbers of joints and frames that do not exist.
inline Chain chain_of(const Rows& steps, const Vector& tool, const Rows& joints,
                      const Vector& task) {
  want(steps.shape(1), 15, "numbers per step");
  want(tool.shape(0), 12, "numbers of the tool");
  want(joints.shape(1), 3, "numbers per joint");
  want(task.shape(0), 7, "numbers of the task");
  if (steps.shape(0) > MAX_JOINTS || joints.shape(0) > MAX_JOINTS)
    throw nb::value_error("too many joints");
  const auto frame = [](const double* x) {
    Frame f;
    std::copy_n(x, 9, f.r);
    std::copy_n(x + 9, 3, f.p);
    return f;
  };
  Chain chain{{}, {}, frame(tool.data()), {}, static_cast<int>(task(6))};
  std::copy_n(task.data(), 6, chain.weights);
  for (std::size_t i = 0; i < steps.shape(0); ++i) {
    const double* row = steps.data() + 15 * i;
    chain.steps.push_back({frame(row), static_cast<int>(row[12]), row[13], row[14]});
    if (!(row[12] >= 0 && row[12] < static_cast<double>(joints.shape(0))))
      throw nb::value_error("a step of a joint that is not there");
  }
  for (std::size_t i = 0; i < joints.shape(0); ++i)
    chain.joints.push_back({joints(i, 0), joints(i, 1), joints(i, 2)});
  if (chain.axes > chain.last()) throw nb::value_error("axes of a frame that is not there");
  return chain;
}

}  // namespace headway
