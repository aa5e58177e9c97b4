// The twin of edge/guard/joint.py, operation for operation: see there for what it does and why.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "brake.hpp"
#include "reasons.hpp"

namespace headway {

struct JointLimits {  // as edge/guard/joint.py derives them: Joint.constants
  double lo, hi, v_max, a_max, j_max, a_plan, h_plan, far;
};

class Joint {
 public:
  static constexpr double EPS = std::numeric_limits<double>::epsilon();
  static constexpr double ROUND = 1.0 + 5e-10;
  static constexpr double TOUCH = 1e-9;
  static constexpr double REST = 8.0 * EPS;

  double q, dq, ddq, q1, dq1, ddq1;

  Joint(const JointLimits& given, double T)
      : lim_(given), T_(T), hz_(1.0 / T), plan_(given.a_plan, given.h_plan, T),
        trial_(given.a_plan, given.h_plan, T) {
    start(given.lo);
  }

  void start(double at) {
    q = q1 = at;
    dq = ddq = dq1 = ddq1 = 0.0;
    planned_ = braking_ = false;
    i_ = 0;
  }

  Reason probe(double c) {
    braking_ = false;
    q1 = c;
    const double v = dq1 = (c - q) * hz_;
    const double a = ddq1 = (v - dq) * hz_;
    if (const Reason reason = beyond(c, v, a); reason != OK) return reason;
    if (!(std::fabs(a - ddq) * hz_ <= lim_.j_max * ROUND)) return JERK;
    if (!(std::fabs(release_velocity(v, a, trial_.h, T_)) <= lim_.v_max * ROUND)) return VELOCITY;
    if (c - lim_.lo < lim_.far || lim_.hi - c < lim_.far) return leaves(c, v, a) ? POSITION : OK;
    return OK;
  }

  Reason beyond(double q, double dq, double ddq) const {
    if (!(lim_.lo <= q && q <= lim_.hi)) return POSITION;
    if (!(std::fabs(dq) <= lim_.v_max * ROUND)) return VELOCITY;
    return std::fabs(ddq) <= lim_.a_max * ROUND ? OK : ACCELERATION;
  }

  Motion motion() const { return {q1, dq1, ddq1, ddq}; }

  // For a waypoint of a chunk this writes nothing, so another thread may use the joint meanwhile: a
  // stop is planned only for a command, which may be refused for where its stop would lead.
  Finding finding(Reason reason, int joint, const Motion& m) {
    const int k = reason - POSITION;
    const double found[] = {m.q, m.dq, m.ddq, (m.ddq - m.ddq_before) * hz_};
    const double most[] = {lim_.hi, lim_.v_max, lim_.a_max, lim_.j_max};
    Finding f{reason, joint, false, found[k], k ? -most[k] : lim_.lo, most[k], m};
    f.stopping = k < 2 && beyond(m.q, m.dq, m.ddq) != reason;
    if (f.stopping)
      f.found = k ? release_velocity(m.dq, m.ddq, trial_.h, T_) : *leaves(m.q, m.dq, m.ddq);
    return f;
  }

  double stop_at() { return q1 + trial_.plan(dq1, ddq1); }

  double stop_bound() const {
    const double b = std::fabs(ddq1), j = trial_.h * hz_;
    const double v = std::fabs(dq1) + 0.5 * b * b / j + b * T_;
    return v * (v / trial_.a_max + (trial_.a_max + b) / j + 4.0 * T_);
  }

  double brake() {
    if (!planned_) {
      const double tiny = REST * std::max(std::fabs(q), 1.0) * hz_;
      if (std::fabs(dq) <= tiny && std::fabs(ddq) <= 2.0 * tiny * hz_)
        plan_.n = 0;
      else
        plan_.plan(dq, ddq);
      planned_ = true;
      i_ = 0;
    }
    braking_ = true;
    const Int k = i_ + 1;
    const double c = k > plan_.n ? q : q + T_ * (dq + T_ * plan_.at(k));
    q1 = std::min(std::max(c, lim_.lo), lim_.hi);
    dq1 = (q1 - q) * hz_;
    ddq1 = (dq1 - dq) * hz_;
    return q1;
  }

  double follow(double c, double v) {
    c = std::min(std::max(c, lim_.lo), lim_.hi);
    v = std::min(std::max(v, -lim_.v_max), lim_.v_max);
    if (probe(c) == OK) return c;
    const double lo = std::max(ddq - trial_.h, -trial_.a_max);
    const double hi = std::max(lo, std::min(ddq + trial_.h, trial_.a_max));
    double best = land(lo, hi, c, v);
    if (probe(q + T_ * (dq + T_ * best)) == OK) return q1;
    brake();
    double safe = ddq1, good = 0.0;
    bool found = false;
    for (int k = 0; k < 12; ++k) {
      const double mid = 0.5 * (safe + best);
      if (probe(q + T_ * (dq + T_ * mid)) == OK) {
        safe = good = mid;
        found = true;
      } else {
        best = mid;
      }
    }
    if (!found) return brake();
    probe(q + T_ * (dq + T_ * good));
    return q1;
  }

  void commit() {
    q = q1, dq = dq1, ddq = ddq1;
    if (braking_)
      i_ += 1;
    else
      planned_ = false;
  }

 private:
  std::optional<double> leaves(double c, double v, double a) {
    const double d = trial_.plan(v, a);
    if (std::fabs(d) <= REST * std::max(std::fabs(c), 1.0)) return {};
    const double lo = lim_.lo + TOUCH, hi = lim_.hi - TOUCH;
    if (!(d > 0.0 ? c + d <= hi : c + d >= lo)) return c + d;
    const double back = trial_.backswing(v);
    if (back == 0.0 || (back > 0.0 ? c + back <= hi : c + back >= lo)) return {};
    return c + back;
  }

  double land(double lo, double hi, double c, double v) {
    const double x = q - c;
    const auto miss = [&](double a) {
      const double w = dq + T_ * a;
      return x + T_ * w + trial_.plan(w - v, a);
    };
    double f = miss(lo), g = miss(hi);
    if (f >= 0.0) return lo;
    if (g <= 0.0) return hi;
    double mid = lo;
    for (int k = 0; k < 10; ++k) {
      mid = (lo * g - hi * f) / (g - f);
      const double y = miss(mid);
      if (std::fabs(y) < TOUCH) break;
      if (y > 0.0) {
        hi = mid, g = y, f = 0.5 * f;
      } else {
        lo = mid, f = y, g = 0.5 * g;
      }
    }
    return mid;
  }

  JointLimits lim_;
  double T_, hz_;
  Stop plan_, trial_;
  bool planned_ = false, braking_ = false;
  Int i_ = 0;
};

}  // namespace headway
