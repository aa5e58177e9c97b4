// The twin of edge/guard/core.py, operation for operation: all joints' checks of one command, the
// workspace, collisions, and the stop when a command is not accepted; and the check of a chunk.
// Plain C++17; O(joints + pairs) per tick; nothing is allocated after construction. Compile without
// fused multiply-add.
#pragma once
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "collision.hpp"
#include "joint.hpp"

namespace headway {

using Xyz = std::array<double, 3>;

struct Box {
  Xyz lo, hi;
};

// Why a command is not sent as it came. `at`: the joint, or for the workspace the axis, plus 3 when
// it is the stop's end that lies outside, or -1 when forward kinematics failed; for a collision the
// pair, plus their number when it is the stop's end. `values`: q1, dq1, ddq1 and ddq of that joint;
// the coordinate; or the distance and what is allowed.
struct Found {
  int reason = OK, at = 0;
  std::array<double, 4> values{};
};

// Where the arm is. Collisions want its frames.
struct Look {
  Xyz tcp;
  Frame frames[MAX_JOINTS + 1];
};

// `Where`: bool operator()(const double* q, Look&), false where forward kinematics failed; it fills
// the frames if there are collisions to check.
template <class Where>
class Guard {
 public:
  Found soft, hard;  // of the last `propose`: softened by clamping, or a refusal

  Guard(const std::vector<JointLimits>& limits, double T, const Box& box, double lever, bool clamp,
        Where where, const std::optional<Scene>& scene)
      : T_(T), lever_(lever), clamp_(clamp), box_(box), where_(std::move(where)), limits_(limits),
        wanted_(limits.size()), at_(limits.size()), v_(limits.size()) {
    for (const auto& l : limits) joints_.emplace_back(l, T);
    if (scene) {
      collisions_.emplace(*scene);
      chunk_collisions_.emplace(*scene);
      near_.resize(collisions_->pairs());
    }
  }

  std::size_t n() const { return joints_.size(); }
  const Joint& joint(std::size_t k) const { return joints_[k]; }

  void start(const double* q) {
    for (auto& joint : joints_) joint.start(*q++);
    wants_ = known_ = false;
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
    if (hard.reason == OK) hard = place();
    return soft.reason == OK && hard.reason == OK;
  }

  // Write the candidate, or the next tick of the stop, to `out`: it is what is sent.
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

  // A chunk of waypoints (h, n), `dt` [s] apart, the first one where the motion starts: the first
  // row with something to say, and what. Touches nothing that the other calls use.
  std::pair<int, Found> check_chunk(const double* q, int h, double dt) {
    const double hz = 1.0 / dt;
    Look start, look;
    for (int row = 0; row < h; ++row, q += n()) {
      for (std::size_t k = 0; k < n(); ++k)
        if (!std::isfinite(q[k])) return {row, {NOT_FINITE, static_cast<int>(k), {q[k]}}};
      for (std::size_t k = 0; k < n(); ++k) {
        const JointLimits& lim = limits_[k];
        const double x = q[k], before = v_[k];
        const int at = static_cast<int>(k);
        const double v = row ? (x - q[static_cast<std::ptrdiff_t>(k - n())]) * hz : 0.0;
        const double a = row > 1 ? (v - before) * hz : 0.0;
        if (!(lim.lo <= x && x <= lim.hi)) return {row, {POSITION, at, {x, v, a}}};
        if (!(std::fabs(v) <= lim.v_max * Joint::ROUND)) return {row, {VELOCITY, at, {x, v, a}}};
        if (!(std::fabs(a) <= lim.a_max * Joint::ROUND))
          return {row, {ACCELERATION, at, {x, v, a}}};
        v_[k] = v;
      }
      Look& here = row ? look : start;
      if (!where_(q, here)) return {row, {WORKSPACE, -1, {}}};
      if (row == 0) {
        if (chunk_collisions_) chunk_collisions_->start(start.frames);
        continue;
      }
      if (Found found = outside(here.tcp, start.tcp, 0); found.reason != OK) return {row, found};
      if (chunk_collisions_)
        if (Found found = too_near(*chunk_collisions_, here, 0); found.reason != OK)
          return {row, found};
    }
    return {h, {}};
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
  bool position(Value value, Look& look) {
    for (std::size_t k = 0; k < n(); ++k) at_[k] = value(joints_[k]);
    return where_(at_.data(), look);
  }

  Found place() {
    const Found failed{WORKSPACE, -1, {}};
    if (!known_) {
      if (!position([](Joint& j) { return j.q; }, look_)) return failed;
      tcp_ = look_.tcp;
      if (collisions_) collisions_->start(look_.frames);
      known_ = true;
    }
    if (!position([](Joint& j) { return j.q1; }, look_)) return failed;
    const Xyz tcp = look_.tcp;
    if (Found found = outside(tcp, tcp_, 0); found.reason != OK) return found;
    if (collisions_) {
      if (Found found = too_near(*collisions_, look_, 0); found.reason != OK) return found;
      near_ = collisions_->found;
    }
    double reach = 0.0;
    for (const auto& joint : joints_) reach += joint.stop_bound();
    reach *= lever_;
    bool far = !collisions_ || !(reach > 0.0);
    for (int i = 0; i < 3; ++i)
      far = far && !(tcp[i] - box_.lo[i] < reach || box_.hi[i] - tcp[i] < reach);
    if (!far) {
      if (!position([](Joint& j) { return j.stop_at(); }, look_)) return failed;
      if (Found found = outside(look_.tcp, tcp_, 3); found.reason != OK) return found;
      if (collisions_) {
        const int end = static_cast<int>(collisions_->pairs());
        if (Found found = too_near(*collisions_, look_, end); found.reason != OK) return found;
      }
    }
    tcp_ = tcp;
    if (collisions_) collisions_->accept(near_);
    return {};
  }

  Found outside(const Xyz& p, const Xyz& before, int end) const {
    for (int i = 0; i < 3; ++i) {
      const double lo = std::min(box_.lo[i], before[i]), hi = std::max(box_.hi[i], before[i]);
      if (!(lo <= p[i] && p[i] <= hi)) return {WORKSPACE, i + end, {p[i]}};
    }
    return {};
  }

  static Found too_near(Collisions& collisions, const Look& look, int end) {
    const int k = collisions.look(look.frames);
    if (k < 0) return {};
    return {COLLISION, k + end, {collisions.found[k], collisions.allowed(k)}};
  }

  double T_, lever_;
  bool clamp_;
  Box box_;
  Where where_;
  std::vector<JointLimits> limits_;
  std::vector<Joint> joints_;
  std::vector<double> wanted_, at_, v_, near_;
  std::optional<Collisions> collisions_, chunk_collisions_;
  Look look_{};
  Xyz tcp_{};  // at the last output, where known
  bool wants_ = false, known_ = false;
};

}  // namespace headway
