// The twin of edge/guard/core.py, operation for operation: see there for what it does and why. Plain
// C++17. A tick takes O(joints + pairs); nothing is allocated after construction. To be compiled
// without fused multiply-add, which would round differently from Python.
#pragma once
#include <array>
#include <utility>
#include <vector>

#include "collision.hpp"
#include "joint.hpp"

namespace headway {

using Xyz = std::array<double, 3>;

struct Box {
  Xyz lo, hi;
};

// Where the arm is: the TCP's position [m] in the base frame, and the frames of its chain.
struct Look {
  Xyz tcp;
  Frame frames[MAX_JOINTS + 1];
};

// `Where` has bool operator()(const double* q, Look&), which returns false where forward kinematics
// failed. It fills the frames if there are collisions to check. A guard has one for commands and
// one for chunks, which other threads may check meanwhile.
template <class Where>
class Guard {
 public:
  Finding clamped, refused;  // what the last `propose` said against its command

  Guard(const std::vector<JointLimits>& limits, double T, const Box& box, double lever, bool clamp,
        Where where, Where chunk_where, const Scene& scene)
      : T_(T), lever_(lever), clamp_(clamp), box_(box), where_(std::move(where)),
        chunk_where_(std::move(chunk_where)),
        collisions_(scene), chunk_collisions_(scene), near_(collisions_.found.size()),
        wanted_(limits.size()), at_(limits.size()), v_(limits.size()) {
    for (const auto& l : limits) joints_.emplace_back(l, T);
  }

  std::size_t n() const { return joints_.size(); }

  void start(const double* q) {
    for (auto& joint : joints_) joint.start(*q++);
    wants_ = known_ = false;
  }

  // This tick's command is not looked at; null where there is none of finite numbers.
  void pass_over(const double* command) {
    wants_ = command != nullptr;
    if (wants_) std::copy_n(command, n(), wanted_.begin());
  }

  // True: `command` (n,) [rad] is the candidate, and nothing is said against it. Else see `clamped`
  // and `refused`.
  bool propose(const double* command) {
    refused = probe(command);
    clamped = clamp_ ? std::exchange(refused, {}) : Finding{};
    if (clamped.reason != OK) follow(command);
    pass_over(command);
    if (refused.reason == OK) refused = place();
    return clamped.reason == OK && refused.reason == OK;
  }

  // Write the candidate, or with `braking` the next tick of the stop, to `out` (n,) [rad]: it is
  // what is sent.
  void send(bool braking, double* out) {
    if (braking) {
      known_ = false;
      for (auto& joint : joints_) joint.brake();
    }
    for (auto& joint : joints_) {
      *out++ = joint.q1;
      joint.commit();
    }
  }

  // The first row of the waypoints `q` (h, n) [rad], `dt` [s] apart, with something against it, and
  // what; (h, OK) if none has. Changes nothing that the other calls use, and may run beside them.
  std::pair<int, Finding> check_chunk(const double* q, int h, double dt) {
    const double hz = 1.0 / dt;
    Look start, look;
    for (int row = 0; row < h; ++row, q += n()) {
      for (std::size_t k = 0; k < n(); ++k)
        if (!std::isfinite(q[k])) return {row, {NOT_FINITE, static_cast<int>(k), false, q[k]}};
      for (std::size_t k = 0; k < n(); ++k) {
        const double x = q[k];
        const double v = row ? (x - q[static_cast<std::ptrdiff_t>(k - n())]) * hz : 0.0;
        const double a = row > 1 ? (v - v_[k]) * hz : 0.0;
        if (const Reason reason = joints_[k].beyond(x, v, a); reason != OK)
          return {row, joints_[k].finding(reason, static_cast<int>(k), {x, v, a, Finding::NONE})};
        v_[k] = v;
      }
      Look& here = row ? look : start;
      if (!chunk_where_(q, here)) return {row, {WORKSPACE}};
      if (row == 0) {
        chunk_collisions_.start(start.frames);
        continue;
      }
      if (Finding found = blocked(here, start.tcp, chunk_collisions_, false); found.reason != OK)
        return {row, found};
    }
    return {h, {}};
  }

 private:
  Finding probe(const double* command) {
    Reason worst = OK;
    int at = 0;
    for (std::size_t k = 0; k < n(); ++k) {
      const Reason reason = joints_[k].probe(command[k]);
      if (reason != OK && (worst == OK || reason < worst)) {
        worst = reason;
        at = static_cast<int>(k);
      }
    }
    if (worst == OK) return {};
    return joints_[at].finding(worst, at, joints_[at].motion());
  }

  void follow(const double* command) {
    const double* before = wants_ ? wanted_.data() : command;
    for (std::size_t k = 0; k < n(); ++k)
      joints_[k].follow(command[k], (command[k] - before[k]) / T_);
  }

  template <class Value>
  bool position(Value value, Look& look) {
    for (std::size_t k = 0; k < n(); ++k) at_[k] = value(joints_[k]);
    return where_(at_.data(), look);
  }

  Finding place() {
    if (!known_) {
      if (!position([](Joint& j) { return j.q; }, look_)) return {WORKSPACE};
      tcp_ = look_.tcp;
      collisions_.start(look_.frames);
      known_ = true;
    }
    if (!position([](Joint& j) { return j.q1; }, look_)) return {WORKSPACE};
    const Xyz tcp = look_.tcp;
    if (Finding found = blocked(look_, tcp_, collisions_, false); found.reason != OK) return found;
    near_ = collisions_.found;
    double reach = 0.0;
    for (const auto& joint : joints_) reach += joint.stop_bound();
    reach *= lever_;
    bool far = near_.empty() || !(reach > 0.0);
    for (int i = 0; i < 3; ++i)
      far = far && !(tcp[i] - box_.lo[i] < reach || box_.hi[i] - tcp[i] < reach);
    if (!far) {
      if (!position([](Joint& j) { return j.stop_at(); }, look_)) return {WORKSPACE};
      if (Finding found = blocked(look_, tcp_, collisions_, true); found.reason != OK) return found;
    }
    tcp_ = tcp;
    collisions_.accept(near_);
    return {};
  }

  Finding blocked(const Look& here, const Xyz& before, Collisions& near, bool stopping) const {
    const Xyz& p = here.tcp;
    for (int i = 0; i < 3; ++i) {
      const double lo = std::min(box_.lo[i], before[i]), hi = std::max(box_.hi[i], before[i]);
      if (!(lo <= p[i] && p[i] <= hi)) return {WORKSPACE, i, stopping, p[i], lo, hi};
    }
    return near.look(here.frames, stopping);
  }

  double T_, lever_;
  bool clamp_;
  Box box_;
  Where where_, chunk_where_;
  std::vector<Joint> joints_;
  Collisions collisions_, chunk_collisions_;
  std::vector<double> near_, wanted_, at_, v_;
  Look look_{};
  Xyz tcp_{};  // at the last output, where known
  bool wants_ = false, known_ = false;
};

}  // namespace headway
