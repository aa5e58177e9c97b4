// The twin of edge/guard/joint.py, operation for operation: see there for what it does and why.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "brake.hpp"

namespace headway {

// Numbers as in edge/guard/joint.py.
enum Reason {
  OK = 0, NOT_FINITE = 3, POSITION = 7, VELOCITY, ACCELERATION, JERK, WORKSPACE, COLLISION = 21
};

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
    if (!(lim_.lo <= c && c <= lim_.hi)) return POSITION;
    const double v_max = lim_.v_max * ROUND;
    if (!(-v_max <= v && v <= v_max)) return VELOCITY;
    if (!(std::fabs(a) <= lim_.a_max * ROUND)) return ACCELERATION;
    if (!(std::fabs(a - ddq) * hz_ <= lim_.j_max * ROUND)) return JERK;
    const double h = trial_.h, b = std::fabs(a);
    const Int m = static_cast<Int>(b / h);
    if (m) {
      const double left = v + std::copysign(T_ * m * (b - 0.5 * h * (m + 1)), a);
      if (!(-v_max <= left && left <= v_max)) return VELOCITY;
    }
    if (c - lim_.lo < lim_.far || lim_.hi - c < lim_.far)
      return stops_inside(c, v, a) ? OK : POSITION;
    return OK;
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
  bool stops_inside(double c, double v, double a) {
    const double d = trial_.plan(v, a);
    if (std::fabs(d) <= REST * std::max(std::fabs(c), 1.0)) return true;
    const double lo = lim_.lo + TOUCH, hi = lim_.hi - TOUCH;
    if (!(d > 0.0 ? c + d <= hi : c + d >= lo)) return false;
    const double back = trial_.backswing(v);
    return back == 0.0 || (back > 0.0 ? c + back <= hi : c + back >= lo);
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
