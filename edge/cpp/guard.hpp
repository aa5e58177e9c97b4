// The twin of edge/guard_core.py, operation for operation: all joints' checks of one command, the
// workspace, and the stop when a command is not accepted. Plain C++17; O(joints) per tick; nothing
// is allocated after construction. Compile without fused multiply-add.
#pragma once
#include <array>
#include <utility>
#include <vector>

#include "joint.hpp"

namespace headway {

using Xyz = std::array<double, 3>;

struct Box {
  Xyz lo, hi;
};

// Why a command is not sent as it came. `at`: the joint, or for the workspace the axis, plus 3 when
// it is the stop's end that lies outside, or -1 when forward kinematics failed. `values`: q1, dq1,
// ddq1 and ddq of that joint; or the coordinate.
struct Found {
  int reason = OK, at = 0;
  std::array<double, 4> values{};
};

// `Where`: bool operator()(const double* q, Xyz& tcp), false where forward kinematics failed.
template <class Where>
class Guard {
 public:
  Found soft, hard;  // of the last `propose`: softened by clamping, or a refusal

  Guard(const std::vector<JointLimits>& limits, double T, const Box& box, double lever, bool clamp,
        Where where)
      : T_(T), lever_(lever), clamp_(clamp), box_(box), where_(std::move(where)),
        wanted_(limits.size()), at_(limits.size()) {
    for (const auto& l : limits) joints_.emplace_back(l, T);
  }

  std::size_t n() const { return joints_.size(); }
  const Joint& joint(std::size_t k) const { return joints_[k]; }

  void start(const double* q) {
    for (auto& joint : joints_) joint.start(*q++);
    wants_ = tcp_known_ = false;
  }

  // A command that is not looked at: null where there was none.
  void pass_over(const double* command) {
    wants_ = command != nullptr;
    if (wants_) std::copy_n(command, n(), wanted_.begin());
  }

  // True: `command` is the candidate, and nothing is said against it. Else see `soft` and `hard`.
  bool propose(const double* command) {
    soft = hard = Found{};
    const Found found = probe(command);
    if (found.reason != OK && clamp_) {
      soft = found;
      follow(command);
    } else {
      hard = found;
    }
    pass_over(command);
    if (hard.reason == OK) hard = workspace();
    return soft.reason == OK && hard.reason == OK;
  }

  // Write the candidate, or the next tick of the stop, to `out`: it is what is sent.
  void send(bool braking, double* out) {
    if (braking) {
      tcp_known_ = false;
      for (auto& joint : joints_) joint.brake();
    }
    for (auto& joint : joints_) {
      *out++ = joint.q1;
      joint.commit();
    }
  }

 private:
  Found probe(const double* command) {
    int worst = OK, at = 0;
    for (std::size_t k = 0; k < n(); ++k) {
      const int reason = joints_[k].probe(command[k]);
      if (reason != OK && (worst == OK || reason < worst)) {
        worst = reason;
        at = static_cast<int>(k);
      }
    }
    if (worst == OK) return {};
    const Joint& j = joints_[at];
    return {worst, at, {j.q1, j.dq1, j.ddq1, j.ddq}};
  }

  void follow(const double* command) {
    const double* before = wants_ ? wanted_.data() : command;
    for (std::size_t k = 0; k < n(); ++k)
      joints_[k].follow(command[k], (command[k] - before[k]) / T_);
  }

  template <class Value>
  bool position(Value value, Xyz& tcp) {
    for (std::size_t k = 0; k < n(); ++k) at_[k] = value(joints_[k]);
    return where_(at_.data(), tcp);
  }

  Found workspace() {
    const Found failed{WORKSPACE, -1, {}};
    if (!tcp_known_ && !position([](Joint& j) { return j.q; }, tcp_)) return failed;
    tcp_known_ = true;
    Xyz tcp, end;
    if (!position([](Joint& j) { return j.q1; }, tcp)) return failed;
    if (Found found = outside(tcp, 0); found.reason != OK) return found;
    double reach = 0.0;
    for (const auto& joint : joints_) reach += joint.stop_bound();
    reach *= lever_;
    for (int i = 0; i < 3; ++i) {
      if (tcp[i] - box_.lo[i] < reach || box_.hi[i] - tcp[i] < reach) {
        if (!position([](Joint& j) { return j.stop_at(); }, end)) return failed;
        if (Found found = outside(end, 3); found.reason != OK) return found;
        break;
      }
    }
    tcp_ = tcp;
    return {};
  }

  Found outside(const Xyz& p, int end) const {
    for (int i = 0; i < 3; ++i) {
      const double lo = std::min(box_.lo[i], tcp_[i]), hi = std::max(box_.hi[i], tcp_[i]);
      if (!(lo <= p[i] && p[i] <= hi)) return {WORKSPACE, i + end, {p[i]}};
    }
    return {};
  }

  double T_, lever_;
  bool clamp_;
  Box box_;
  Where where_;
  std::vector<Joint> joints_;
  std::vector<double> wanted_, at_;
  Xyz tcp_{};
  bool wants_ = false, tcp_known_ = false;
};

}  // namespace headway
